"""A command in a fresh process, measured from outside: how long it takes, and the most memory that it holds.

What a contender costs before it works (imports, the model, a runner) is what the same command takes on a file of one
short document. The rest is work, and speed is the tokens of the other documents over the seconds beyond that: the same
rule for everyone, whatever goes on inside. Memory is the resident memory of the process and its children together, in
which pages that they share count for each of them.
"""

import contextlib
import dataclasses
import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SAMPLE_S = 0.1
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore",
}


class ContenderError(Exception):
    """A contender did not end well."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One process.

    Attributes:
      seconds: from its start to its end.
      peak_mib: most memory of it and its children.
      output: what it printed.
    """

    seconds: float
    peak_mib: float
    output: str

    @property
    def answer(self):
        """The JSON of its last line; empty for commands that speak to people."""
        try:
            return json.loads(self.output.strip().rpartition("\n")[2])
        except ValueError:
            return {}


def run_fresh(command, *, cores=()):
    """Runs a command in a process of its own.

    Args:
      command: its words.
      cores: numbers of the cores that it may use; empty for all of ours.

    Raises:
      ContenderError: it ended with another status than 0.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        with _pinned(cores):
            process = subprocess.Popen(
                command, stdout=output, stderr=errors, cwd=ROOT, env={**os.environ, **_ENVIRONMENT}
            )
        with _watching(process.pid) as sampled:
            try:
                # wait4 tells the peak of this child alone.
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:
                # Whoever stops the benchmark wants its contender stopped too.
                process.kill()
                raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (output, errors):
            stream.seek(0)
        if process.returncode:
            raise ContenderError(f"exit status {process.returncode} ({_reason(errors.read())})")
        return Run(seconds, max(usage.ru_maxrss / 1024, *sampled), output.read())


def _reason(errors):
    """The last line of an error: all of our own, of others the kind, since the rest may quote the corpus."""
    last = errors.strip().rpartition("\n")[2]
    return last.removeprefix("spanmill: ") if last.startswith("spanmill: ") else last.partition(":")[0][:80]


@contextlib.contextmanager
def _pinned(cores):
    """Lets this process, and so the child that it starts, run on some cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(cores) or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _watching(pid):
    """A list that fills with the MiB of a process and its children; of zeros where psutil is not installed."""
    samples = [0.0, 0.0]
    stopped = threading.Event()

    def sample():
        while not stopped.wait(_SAMPLE_S):
            samples[1] = max(samples[1], _tree_mib(pid))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stopped.set()
        thread.join()


def _tree_mib(pid):
    try:
        import psutil
    except ImportError:
        return 0.0
    total = 0
    for process in find_tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total / 2**20


def find_tree(pid):
    """A process and its descendants as psutil has them; none once it is gone."""
    import psutil

    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
