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
        assert batch.rows == 1 or batch.longest * batch.rows <= budget


@given(_LENGTHS, st.integers(60, 200))
def test_pack_windows_wastes_no_room_that_the_next_window_would_fit(lengths, budget):
    for batch in _pack(lengths, budget)[:-1]:
        assert batch.longest * (len(batch.windows) + 1) > budget


@given(_LENGTHS, st.integers(1, 200))
def test_pack_windows_gives_every_window_room(lengths, budget):
    array = np.array(lengths, dtype=np.int64)
    for batch in _pack(lengths, budget):
        assert array[batch.windows].max() <= batch.longest <= _MOST


@given(_LENGTHS, st.integers(1, 200))
def test_pack_windows_runs_as_many_rows_of_a_length_each_time_unless_one_batch_holds_all(lengths, budget):
    batches = _pack(lengths, budget)
    for batch in batches:
        alone = len(batches) == 1
        assert batch.rows == (len(batch.windows) if alone else max(1, budget // batch.longest))


def test_pack_windows_gives_a_window_over_the_budget_a_batch_of_its_own():
    batches = pack_windows(np.array([100, 5, 5]), 50, most_tokens=100)
    assert [batch.windows.tolist() for batch in batches] == [[0], [1, 2]]


def test_pack_windows_meets_few_shapes_however_many_lengths_there_are():
    lengths = np.random.default_rng(0).integers(3, 513, 50_000)
    batches = pack_windows(lengths, 2048, most_tokens=512)
    assert len({(batch.rows, batch.longest) for batch in batches}) < 60


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_round_lengths_adds_less_than_an_eighth_and_keeps_within_the_model(length, most):
    (padded,) = round_lengths(np.array([length]), most).tolist()
    assert length <= padded < length * 9 / 8 + 1
    assert padded <= max(length, most)


@given(st.integers(1, 5000))
def test_round_lengths_leaves_what_is_rounded(length):
    once = round_lengths(np.array([length]), 8192)
    assert round_lengths(once, 8192).tolist() == once.tolist()
