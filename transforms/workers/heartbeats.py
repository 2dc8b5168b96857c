"""Signs of life: what a supervisor hears of a worker while it annotates.

A worker that is at work and silent for longer than a document may take hangs. One that loads a model or waits for a
store is not at work.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

Sign = tuple[str, str]
"""What is said: `work` and the slice's id, `beat`, or `rest`."""

_LEAST_INTERVAL_S = 0.2


class _Heart:
    """The one of this process; silent until someone listens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tell: Callable[[Sign], object] | None = None
        self._last = 0.0

    def connect(self, tell: Callable[[Sign], object]) -> None:
        self._tell = tell

    def say(self, word: str, slice_id: str = "") -> None:
        if self._tell is None:
            return
        with self._lock:
            now = time.monotonic()
            if word == "beat" and now - self._last < _LEAST_INTERVAL_S:
                return
            self._last = now
            self._tell((word, slice_id))


_heart = _Heart()


def connect(tell: Callable[[Sign], object]) -> None:
    """From now on, signs of life of this process are told to somebody."""
    _heart.connect(tell)


def beat() -> None:
    """Says that work goes on."""
    _heart.say("beat")


@contextlib.contextmanager
def at_work(slice_id: str) -> Iterator[None]:
    """Says that documents of a slice are annotated while the body runs."""
    _heart.say("work", slice_id)
    try:
        yield
    finally:
        _heart.say("rest")
