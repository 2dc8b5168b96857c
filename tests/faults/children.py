"""Processes to be broken, each in a session of its own, and what they leave behind.

Most are forked from a server that has imported everything and run nothing, so that one takes a fraction of a second;
what has to be a command of its own, under strace or without a network, is started afresh.
"""

import atexit
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

INJECTION = Path(__file__).with_name("injection")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.warm"])
_PATIENCE_S = 120


@dataclasses.dataclass(frozen=True)
class Ended:
    """A process that has ended.

    Attributes:
      status: as a shell's, but negative for a signal.
      out: what it printed.
      err: the same for errors.
      seconds: how long it ran.
      meter: what the meter was told, a list of words for each line.
    """

    status: int
    out: str
    err: str
    seconds: float
    meter: tuple[tuple[str, ...], ...]

    def count(self, word: str) -> int:
        """How often the meter was told of something."""
        return sum(line[0] == word for line in self.meter)

    def total(self, word: str) -> int:
        """The sum of what the meter was told with a number."""
        return sum(int(line[1]) for line in self.meter if line[0] == word)

    def last_words(self) -> str:
        """What it said in the end, or what ended it."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else f"exit status {self.status}"

    def reason(self) -> str:
        """The one line that a failed run says.

        Raises:
          AssertionError: it said more, or something else.
        """
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, f"expected one line, found {self.err[-2000:]!r}"
        assert lines[0].startswith("spanmill: "), lines[0]
        return lines[0].removeprefix("spanmill: ")


class Child:
    """A process that runs.

    Args:
      process: as multiprocessing or subprocess gives it.
      folder: holds its `out`, `err`, `meter`, and `tmp`, the folder for its temporary files.
    """

    def __init__(self, process: Any, folder: Path) -> None:
        self.pid: int = process.pid
        self._process = process
        self._folder = folder
        self._started = time.monotonic()

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._status(0) is None

    def is_stopped(self) -> bool:
        """Whether a signal has stopped it for now."""
        return _read_state(self.pid)[0] == "T"

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self, *, is_tidy: bool = True) -> Ended:
        """Waits for its end; if it `is_tidy`, it leaves no temporary file behind, unless it was killed.

        Raises:
          AssertionError: it hangs, or leaves something behind.
        """
        status = self._status(_PATIENCE_S)
        seconds = time.monotonic() - self._started
        if status is None:
            self.kill()
            raise AssertionError(f"a process hung for {_PATIENCE_S} s")
        deadline = time.monotonic() + 2
        while (orphans := find_session(self.pid) + find_workers(self._folder)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not orphans, f"{len(orphans)} processes were left behind"
        litter = [path.name for path in (self._folder / "tmp").rglob("*")]
        assert not is_tidy or not litter or status == -signal.SIGKILL, f"left {litter[:3]} among temporary files"
        meter = self._folder / "meter"
        lines = meter.read_text().splitlines() if meter.exists() else []
        # One that was killed at once may have written none.
        paths = [self._folder / name for name in ("out", "err")]
        out, err = (path.read_text() if path.exists() else "" for path in paths)
        return Ended(status, out, err, seconds, tuple(tuple(line.split()) for line in lines))

    def _status(self, seconds: float) -> int | None:
        if isinstance(self._process, subprocess.Popen):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return self._process.returncode
        self._process.join(seconds)
        return self._process.exitcode


def fork(call: Callable[..., int | None], arguments: Sequence[Any], folder: Path, broken: Sequence[str] = ()) -> Child:
    """Starts a function in a process of its own; what it returns is the exit status.

    Args:
      call: the function, of a module that can be imported.
      arguments: its arguments.
      folder: a new folder for what it prints and tells.
      broken: patches (see injection.hooks).
    """
    environment = _prepare(folder, broken)
    process = _CONTEXT.Process(target=_work, args=(call, arguments, environment, folder))
    process.start()
    with contextlib.suppress(ProcessLookupError):
        while os.getsid(process.pid) != process.pid:
            time.sleep(0.001)
    return Child(process, folder)


def spawn(words: Sequence[str], folder: Path, broken: Sequence[str] = (), *, under: Sequence[str] = ()) -> Child:
    """Starts `python -m pipelines` with some words, under another command if one is given; see `fork`."""
    environment = {**os.environ, **_prepare(folder, broken)}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [*under, sys.executable, "-m", "pipelines", *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    return Child(process, folder)


def find_session(leader: int) -> list[int]:
    """Processes of a session that are not dead."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    states = {pid: _read_state(pid) for pid in pids}
    return [pid for pid, (state, session) in states.items() if session == leader and state not in "ZX"]


def find_workers(folder: Path) -> list[int]:
    """Processes that were started on behalf of one, in sessions of their own, and are not dead."""
    own = f"SPANMILL_METER={folder / 'meter'}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            pid = int(path.parent.name)
            if own in path.read_bytes().split(b"\0") and _read_state(pid)[0] not in "ZX":
                found.append(pid)
    return found


def find_listeners(pid: int) -> list[str]:
    """Addresses, as the kernel writes them, at which a process listens beyond this machine; none once it is gone."""
    found = []
    with contextlib.suppress(OSError):
        links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
        inodes = {link.removeprefix("socket:[").rstrip("]") for link in links}
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                _, address, _, state, *rest = line.split()
                if state == "0A" and rest[5] in inodes and address.partition(":")[0] not in _LOOPBACK:
                    found.append(address)
    return found


_LOOPBACK = ("0100007F", "00000000000000000000000001000000")


def _read_state(pid: int) -> tuple[str, int]:
    """A process's state and session; one that is gone is dead."""
    try:
        state, _, _, session, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return "X", 0
    return state, int(session)


def _prepare(folder: Path, broken: Sequence[str]) -> Mapping[str, str]:
    (folder / "tmp").mkdir(parents=True)
    paths = [str(INJECTION), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "HF_HUB_OFFLINE": "1",
        # Beam starts workers by the name of the interpreter alone.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "SPANMILL_BROKEN": "/".join(broken),
        "SPANMILL_MARKS": str(folder.parent),
        "SPANMILL_METER": str(folder / "meter"),
        "TMPDIR": str(folder / "tmp"),
    }


def _work(call: Callable[..., int | None], arguments: Sequence[Any], environment: Mapping[str, str], folder: Path):
    """What a forked process does: become a command of its own, and then the call."""
    from tests.faults.injection.hooks import install, tell

    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(environment)
    tempfile.tempdir = None
    os.chdir(ROOT)
    # The server ignores it, so that Ctrl-C ends what a person started first.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    install()
    # The peak of a fork would be that of the server.
    Path("/proc/self/clear_refs").write_text("5")
    try:
        sys.exit(call(*arguments))
    finally:
        atexit._run_exitfuncs()
        tell("peak", _read_peak())


def _read_peak() -> int:
    """Most memory that this process held, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
