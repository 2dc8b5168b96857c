"""Child processes that talk over a pipe, open no port, and never outlive their parent."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from schemas.failures import describe_error

_LAST_WORDS_S = 1.0
_PR_SET_PDEATHSIG = 1
_ROOT = Path(__file__).resolve().parent.parent.parent


class Child:
    """A process that runs one function, in a process group of its own.

    What it says on its error stream goes to that of this process, also where that is none of the system's, as with
    `--log-format json`. An error that it does not catch is said in one line.

    Args:
      function: what it runs, at the top of a module; its first argument is the child's end of the pipe.
      arguments: its other arguments, which are pickled.

    Attributes:
      connection: the parent's end of the pipe.
    """

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self.connection, theirs = Pipe()
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                stderr=None if _is_file(sys.stderr) else subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._pump: threading.Thread | None = None
        if self._process.stderr:
            self._pump = threading.Thread(target=_pump, args=(self._process.stderr, sys.stderr), daemon=True)
            self._pump.start()
        # One that is dead already is found so when it is listened to.
        with contextlib.suppress(OSError):
            self.connection.send((function, arguments))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """Ends it and what is in its process group, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Waits for its end and returns its exit status, negative for a signal."""
        status = self._process.wait()
        if self._pump:
            self._pump.join(_LAST_WORDS_S)
        self.connection.close()
        return status


def describe_status(status: int) -> str:
    """An exit status in words.

    >>> describe_status(-9), describe_status(1)
    ('SIGKILL', 'exit status 1')
    """
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"


def _main(file_descriptor: int, parent: int) -> None:
    _die_with(parent)
    with Connection(file_descriptor) as connection:
        function, arguments = connection.recv()
        try:
            function(connection, *arguments)
        except Exception as error:  # noqa: BLE001 - Python would say it with its words
            sys.exit(f"spanmill: a process was stopped: {describe_error(error)}")


def _is_file(stream: Any) -> bool:
    """Whether a stream is one of the system's, that a process can be given."""
    try:
        stream.fileno()
    except (AttributeError, OSError):
        return False
    return True


def _pump(source: Any, target: Any) -> None:
    """Hands on lines until there are no more, or nobody takes them."""
    with source as lines, contextlib.suppress(ValueError, OSError):
        for line in lines:
            target.write(line.decode(errors="replace"))


def _die_with(parent: int) -> None:
    """Makes the system end this process with its parent; where it cannot, looks after the parent every second."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
