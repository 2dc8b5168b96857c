"""Two systems on the same documents."""

import numpy as np
import pytest
from scipy import stats

from transforms.scoring.intervals import interval, resample
from transforms.scoring.significance import Difference, difference, mcnemar


def test_a_system_does_not_differ_from_itself():
    replicates = np.random.default_rng(0).random(200)
    assert difference(replicates, replicates) == Difference(low=0.0, high=0.0, p_value=1.0)


def test_the_other_way_round_the_interval_changes_its_sign():
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.80, 0.02, size=(2, 300))
    there, back = difference(first, second), difference(second, first)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p_value == back.p_value


def test_p_value_by_hand():
    first = np.zeros(99)
    second = np.array([-1.0] * 3 + [0.0] * 1 + [1.0] * 95)
    assert difference(first, second).p_value == pytest.approx(2 * 5 / 100)
    assert difference(first, first + 1).p_value == pytest.approx(2 / 100)


def _replicates(is_right: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Share of right outcomes in every replicate, for (n_documents, n_entities) outcomes."""
    counts = np.stack([is_right.sum(axis=1), np.full(len(keys), is_right.shape[1])], axis=1)
    right, total = resample(counts, keys, 300).T
    return right / total


def test_equally_good_systems_seldom_differ():
    rng = np.random.default_rng(2)
    n_trials, n_low = 400, 0
    for _ in range(n_trials):
        keys = rng.integers(0, 1 << 64, size=200, dtype=np.uint64)
        skill = rng.beta(4, 1, size=(200, 1))
        first, second = (_replicates(rng.random((200, 5)) < skill, keys) for _ in range(2))
        n_low += difference(first, second).p_value < 0.05
    assert 0.02 <= n_low / n_trials <= 0.10


def test_documents_drawn_for_both_systems_alike_tell_small_differences():
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 1 << 64, size=400, dtype=np.uint64)
    is_right = rng.random((400, 5)) < rng.beta(1, 1, size=(400, 1))
    is_better = is_right | (rng.random((400, 5)) < 0.03)
    first, second = _replicates(is_right, keys), _replicates(is_better, keys)
    found = difference(first, second)
    assert 0 < found.low < is_better.mean() - is_right.mean() < found.high
    assert found.p_value < 0.01
    assert interval(first)[1] > interval(second)[0]


@pytest.mark.parametrize(
    ("only_first", "only_second"),
    [(0, 0), (0, 1), (1, 0), (0, 5), (3, 3), (3, 4), (10, 2), (40, 60), (500, 431), (0, 1000), (10_000, 9_600)],
)
def test_mcnemar_equals_the_binomial_test(only_first, only_second):
    total = only_first + only_second
    expected = stats.binomtest(only_first, total, 0.5).pvalue if total else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(3_000_000, 3_001_000), (2_000_000, 2_007_000), (5_000_000, 5_000_000)]
)
def test_mcnemar_is_right_for_millions(only_first, only_second):
    expected = stats.binomtest(only_first, only_first + only_second, 0.5).pvalue
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-6)


def test_mcnemar_of_a_difference_beyond_floats_is_zero():
    assert mcnemar(0, 5_000_000) == 0.0
