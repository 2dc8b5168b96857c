import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.text.packing import pack_windows, round_lengths

_LENGTHS = st.lists(st.integers(1, 60), max_size=60)
_MOST = 60


def _pack(lengths, budget):
    return pack_windows(np.array(lengths, dtype=np.int64), budget, most_tokens=_MOST)


@given(_LENGTHS, st.integers(1, 200))
def test_pack_windows_puts_every_window_into_one_batch(lengths, budget):
    batches = _pack(lengths, budget)
    assert sorted(index for batch in batches for index in batch.windows.tolist()) == list(range(len(lengths)))


@given(_LENGTHS, st.integers(1, 200))
def test_pack_windows_never_breaks_the_budget(lengths, budget):
    for batch in _pack(lengths, budget):
        assert len(batch.windows) == 1 or batch.longest * len(batch.windows) <= budget


@given(_LENGTHS, st.integers(60, 200))
def test_pack_windows_wastes_no_room_that_the_next_window_would_fit(lengths, budget):
    for batch in _pack(lengths, budget)[:-1]:
        assert batch.longest * (len(batch.windows) + 1) > budget


@given(_LENGTHS, st.integers(1, 200))
def test_pack_windows_gives_every_window_room(lengths, budget):
    array = np.array(lengths, dtype=np.int64)
    for batch in _pack(lengths, budget):
        assert array[batch.windows].max() <= batch.longest <= _MOST


def test_pack_windows_gives_a_window_over_the_budget_a_batch_of_its_own():
    batches = pack_windows(np.array([100, 5, 5]), 50, most_tokens=100)
    assert [batch.windows.tolist() for batch in batches] == [[0], [1, 2]]


def test_pack_windows_meets_few_shapes_however_many_lengths_there_are():
    lengths = np.random.default_rng(0).integers(3, 513, 50_000)
    batches = pack_windows(lengths, 2048, most_tokens=512)
    assert len({(len(batch.windows), batch.longest) for batch in batches}) < 200


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_round_lengths_adds_less_than_a_sixteenth_and_keeps_within_the_model(length, most):
    (padded,) = round_lengths(np.array([length]), most).tolist()
    assert length <= padded < length * 17 / 16 + 1
    assert padded <= max(length, most)


@given(st.integers(1, 5000))
def test_round_lengths_leaves_what_is_rounded(length):
    once = round_lengths(np.array([length]), 8192)
    assert round_lengths(once, 8192).tolist() == once.tolist()
