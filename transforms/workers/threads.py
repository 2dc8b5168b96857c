"""Many small waits at once: a store answers a thousand requests in the time of a few, if it is asked by threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

THREADS = 16


def map_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, threads: int = THREADS, block: int = 32
) -> Iterator[_Result]:
    """The built-in `map`, some blocks of items ahead in threads, in order and in bounded memory.

    What a function raises is raised where its result would come; what is begun by then is finished and dropped.

    Args:
      function: what is done to each item.
      items: any number of them; no more are taken than are needed.
      threads: how many work at once.
      block: how many items a thread takes at a time, so that handing them over costs little.
    """
    left = iter(items)
    ahead: deque[Future[list[_Result]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            while len(ahead) < 2 * threads and (taken := list(islice(left, block))):
                ahead.append(pool.submit(_map_block, function, taken))
            if not ahead:
                return
            yield from ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _map_block(function: Callable[[_Item], _Result], items: list[_Item]) -> list[_Result]:
    return [function(item) for item in items]
