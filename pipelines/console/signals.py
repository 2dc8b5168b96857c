"""What SIGINT and SIGTERM do to a job: it ends at once, workers included, and says how to go on."""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

BEFORE_END: list[Callable[[int], None]] = []
"""What is told the exit status before a signal ends this process."""


@contextlib.contextmanager
def stopping_on_signals(advice: str, *, scratch: Path | None = None) -> Iterator[None]:
    """While the body runs, both signals end this process and its workers with status 130 or 143.

    Args:
      advice: what is said then.
      scratch: a folder that is removed then.
    """

    def stop(number: int, _: object) -> None:
        print(f"\nspanmill: stopped; {advice}", file=sys.stderr, flush=True)
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
        for tell in BEFORE_END:
            with contextlib.suppress(Exception):
                tell(128 + number)
        os._exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _children() -> list[int]:
    """Process ids of this process's descendants, where the system tells."""
    found, queue = [], [os.getpid()]
    while queue:
        parent = queue.pop()
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(word) for word in path.read_text().split()]
                found += children
                queue += children
    return found
