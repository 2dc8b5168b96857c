"""What a process has used since it was last asked: each second of it is told once, however many threads ask."""

import os
import sys
import threading
import time
from typing import NamedTuple


class _Reading(NamedTuple):
    """Clocks of this process: wall time, and time on cores of it and of children that have ended."""

    wall_s: float
    core_s: float

    @classmethod
    def now(cls) -> "_Reading":
        times = os.times()
        return cls(time.monotonic(), times.user + times.system + times.children_user + times.children_system)


class Meter:
    """Counts from the moment that its first user opens it, until the last one closes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._last = _Reading.now()

    def open(self) -> None:
        """Begins to count, unless somebody did before."""
        with self._lock:
            if not self._n_users:
                self._last = _Reading.now()
            self._n_users += 1

    def close(self) -> None:
        """The inverse of `open`."""
        with self._lock:
            self._n_users -= 1

    def read(self) -> dict[str, float]:
        """Seconds since the last call: of this worker, of cores, and of a GPU that this process holds, by name."""
        with self._lock:
            now = _Reading.now()
            wall_s, core_s = now.wall_s - self._last.wall_s, now.core_s - self._last.core_s
            self._last = now
        used = {"worker": wall_s, "core": core_s}
        return used | {"gpu": wall_s} if _holds_gpu() else used


METER = Meter()
"""That of this process."""


def _holds_gpu() -> bool:
    """Whether this process holds memory of a GPU, which nobody else has then."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())
