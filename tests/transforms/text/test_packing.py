import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.text.packing import pack_windows

_LENGTHS = st.lists(st.integers(1, 60), max_size=60)


@given(_LENGTHS, st.integers(1, 200))
def test_pack_windows_puts_every_window_into_one_batch(lengths, budget):
    batches = pack_windows(np.array(lengths, dtype=np.int64), budget)
    assert sorted(index for batch in batches for index in batch.tolist()) == list(range(len(lengths)))


@given(_LENGTHS, st.integers(1, 200))
def test_pack_windows_never_breaks_the_budget(lengths, budget):
    array = np.array(lengths, dtype=np.int64)
    for batch in pack_windows(array, budget):
        assert len(batch) == 1 or array[batch].max() * len(batch) <= budget


@given(_LENGTHS, st.integers(60, 200))
def test_pack_windows_wastes_no_room_that_the_next_window_would_fit(lengths, budget):
    array = np.array(lengths, dtype=np.int64)
    batches = pack_windows(array, budget)
    for batch in batches[:-1]:
        assert array[batch].max() * (len(batch) + 1) > budget


def test_pack_windows_gives_a_window_over_the_budget_a_batch_of_its_own():
    batches = pack_windows(np.array([100, 5, 5]), 50)
    assert [batch.tolist() for batch in batches] == [[0], [1, 2]]
