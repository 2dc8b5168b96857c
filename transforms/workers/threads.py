"""Many small waits at once: a store answers a thousand requests in the time of a few, if it is asked by threads."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

THREADS = 16
_LOOK_S = 0.05
_IDLE, _BUSY = 0.7, 0.9


def map_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, threads: int = THREADS, block: int = 32
) -> Iterator[_Result]:
    """The built-in `map`, some blocks of items ahead in threads, in order and in bounded memory.

    What a function raises is raised where its result would come; what is begun by then is finished and dropped.

    Args:
      function: what is done to each item.
      items: any number of them; no more are taken than are needed.
      threads: how many work at once, at most; see `_Pace`.
      block: how many items a thread takes at a time, at most, so that handing them over costs little. The first blocks
        are smaller, so that few items are shared out too.
    """
    left = iter(items)
    ahead: deque[Future[list[_Result]]] = deque()
    pace = _Pace(2 * threads, time.perf_counter(), time.process_time())
    n_taken = 0
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            while len(ahead) < pace.blocks and (taken := list(islice(left, min(block, 1 + n_taken // (2 * threads))))):
                n_taken += len(taken)
                ahead.append(pool.submit(_map_block, function, taken))
            if not ahead:
                return
            yield from ahead.popleft().result()
            pace.adjust(time.perf_counter(), time.process_time())
    finally:
        pool.shutdown(cancel_futures=True)


class _Pace:
    """How many blocks are ahead: many while this process waits for answers, few while it computes.

    Threads that compute hinder each other, since each call into a library leaves and takes Python's lock: 16 of them
    read footers of local files at half the speed of one.
    """

    def __init__(self, most: int, wall_s: float, cpu_s: float) -> None:
        self.blocks = most
        self._most = most
        self._wall_s, self._cpu_s = wall_s, cpu_s

    def adjust(self, wall_s: float, cpu_s: float) -> None:
        """Takes the time and the time on cores by now, and goes by how busy the process was since, after a while."""
        passed_s = wall_s - self._wall_s
        if passed_s < _LOOK_S:
            return
        busy = (cpu_s - self._cpu_s) / passed_s
        if busy > _BUSY:
            self.blocks = max(1, self.blocks // 2)
        elif busy < _IDLE:
            self.blocks = min(self._most, 2 * self.blocks)
        self._wall_s, self._cpu_s = wall_s, cpu_s


def _map_block(function: Callable[[_Item], _Result], items: list[_Item]) -> list[_Result]:
    return [function(item) for item in items]
