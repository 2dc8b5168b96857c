"""The map that works ahead in threads."""

import itertools
import threading
import time

import pytest

from transforms.workers.threads import _Pace, map_ahead


@pytest.mark.parametrize("n_items", [0, 1, 31, 32, 33, 5000])
def test_map_ahead_gives_what_map_gives(n_items):
    assert list(map_ahead(lambda n: n * n, range(n_items))) == [n * n for n in range(n_items)]


def test_map_ahead_keeps_the_order_of_items_that_take_longer():
    def wait(n):
        time.sleep(0.02 * (n % 3 == 0))
        return n

    assert list(map_ahead(wait, range(60), threads=8, block=1)) == list(range(60))


def test_map_ahead_works_in_several_threads():
    together = threading.Barrier(4, timeout=60)
    assert len(list(map_ahead(lambda _: together.wait(), range(4), threads=4, block=1))) == 4


def test_map_ahead_shares_out_items_that_would_fill_one_block():
    together = threading.Barrier(4, timeout=60)
    assert len(list(map_ahead(lambda _: together.wait(), range(4), threads=4, block=32))) == 4


@pytest.mark.parametrize(
    ("busy", "blocks"),
    [
        ([1.0, 1.2, 1.0, 1.0, 1.0], [16, 8, 4, 2, 1]),
        ([1.0] * 6 + [0.1, 0.1], [16, 8, 4, 2, 1, 1, 2, 4]),
        ([0.1, 0.5], [32, 32]),
        ([1.0, 0.8, 0.8], [16, 16, 16]),
    ],
    ids=["computing", "computing, then waiting", "waiting", "neither"],
)
def test_fewer_blocks_are_ahead_while_the_process_computes(busy, blocks):
    pace = _Pace(32, 0.0, 0.0)
    found = []
    for second, cpu_s in enumerate(itertools.accumulate(busy), 1):
        pace.adjust(float(second), cpu_s)
        found.append(pace.blocks)
    assert found == blocks


def test_the_pace_stays_until_there_is_something_to_go_by():
    pace = _Pace(32, 0.0, 0.0)
    pace.adjust(0.001, 0.001)
    assert pace.blocks == 32


def test_map_ahead_takes_no_more_items_than_it_is_ahead():
    taken = itertools.count()
    results = map_ahead(lambda n: n, (next(taken) for _ in iter(int, 1)), threads=2, block=3)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert next(taken) <= 2 * 2 * 3 + 3
    results.close()


def test_map_ahead_raises_where_the_result_would_come():
    def divide(n):
        return 6 // (n - 2)

    results = map_ahead(divide, range(5), block=1)
    assert [next(results), next(results)] == [-3, -6]
    with pytest.raises(ZeroDivisionError):
        next(results)
