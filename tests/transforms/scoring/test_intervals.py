"""The bootstrap: exact sums however documents are split, draws that are Poisson(1), intervals that keep their word."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from transforms.scoring.intervals import (
    BLOCK_DOCUMENTS,
    document_key,
    document_keys,
    draw_weights,
    interval,
    resample,
    shifted_interval,
)


def _random_keys(seed: int, n_documents: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << 64, size=n_documents, dtype=np.uint64)


def test_keys_and_weights_are_the_same_in_every_process_and_release():
    keys = document_keys(["a", "b", "naïve \U0001f600"])
    assert keys.tolist() == [3405396810240292928, 8453121595177857668, 10806623236217665066]
    assert draw_weights(keys, 6).tolist() == [[0, 3, 1, 1, 1, 1], [0, 1, 0, 1, 3, 1], [4, 1, 1, 2, 0, 4]]


def _split_mix(state: int, n_words: int) -> list[int]:
    """SplitMix64 as its authors write it."""
    words, mask = [], (1 << 64) - 1
    for _ in range(n_words):
        state = (state + 0x9E3779B97F4A7C15) & mask
        word = state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        words.append(word ^ (word >> 31))
    return words


def test_weights_are_split_mix_read_through_the_poisson_distribution():
    assert _split_mix(1234567, 2) == [6457827717110365317, 3203168211198807973]
    for key in (0, 1, 1 << 63, (1 << 64) - 1):
        mixed = (key ^ 0x243F6A8885A308D3) - 0x9E3779B97F4A7C15
        words = _split_mix(_split_mix(mixed, 1)[0], 250)
        draws = np.array([(word >> shift) & 0xFFFF for word in words for shift in (0, 16, 32, 48)])
        expected = stats.poisson.ppf((draws + 0.5) / 65536, 1)
        assert draw_weights(np.array([key], dtype=np.uint64), 1000)[0].tolist() == expected.tolist()


def test_document_keys_are_one_key_each():
    names = [f"dev.conll {row}" for row in range(1000)]
    keys = document_keys(iter(names))
    assert keys.dtype == np.uint64
    assert keys.tolist() == [document_key(name) for name in names]
    assert len(set(keys.tolist())) == len(names)
    assert document_keys([]).shape == (0,)


def test_a_name_that_is_not_unicode_has_a_key():
    assert document_key("\ud800") != document_key("\ud801")


@pytest.mark.parametrize("keys", [np.arange(3000, dtype=np.uint64), _random_keys(0, 3000)], ids=["counted", "random"])
def test_weights_are_poisson(keys):
    weights = draw_weights(keys, 400)
    n_draws = weights.size
    for weight in range(8):
        chance = stats.poisson.pmf(weight, 1)
        deviation = math.sqrt(chance * (1 - chance) / n_draws)
        # The table of 2^16 draws rounds both ends of what a weight takes.
        assert np.mean(weights == weight) == pytest.approx(chance, abs=5 * deviation + 2**-16)
    assert weights.mean(dtype=float) == pytest.approx(1, abs=5 / math.sqrt(n_draws))
    assert weights.max() <= 8


@pytest.mark.parametrize("keys", [np.arange(4000, dtype=np.uint64), _random_keys(1, 4000)], ids=["counted", "random"])
def test_weights_of_replicates_and_of_documents_are_not_correlated(keys):
    weights = draw_weights(keys, 40).astype(float)
    between_replicates = np.corrcoef(weights.T)[np.triu_indices(40, 1)]
    assert np.abs(between_replicates).max() < 5 / math.sqrt(4000)
    many = draw_weights(keys[:40], 4000).astype(float)
    between_documents = np.corrcoef(many)[np.triu_indices(40, 1)]
    assert np.abs(between_documents).max() < 5 / math.sqrt(4000)


def test_weights_belong_to_the_key_alone():
    keys = _random_keys(2, 50)
    weights = draw_weights(keys, 30)
    assert weights.dtype == np.float32
    order = np.random.default_rng(0).permutation(50)
    assert np.array_equal(draw_weights(keys[order], 30), weights[order])
    for index in range(50):
        assert np.array_equal(draw_weights(keys[index : index + 1], 30)[0], weights[index])


@pytest.mark.parametrize("n_replicates", [0, 1, 3, 4, 5, 29])
def test_more_replicates_leave_the_first_as_they_are(n_replicates):
    keys = _random_keys(3, 20)
    assert np.array_equal(draw_weights(keys, n_replicates), draw_weights(keys, 30)[:, :n_replicates])


def test_resample_equals_a_slow_loop():
    rng = np.random.default_rng(4)
    counts, keys = rng.integers(-3, 9, size=(70, 5)), _random_keys(4, 70)
    counts[rng.random(70) < 0.4] = 0
    weights = draw_weights(keys, 11).astype(int).tolist()
    slow = [[sum(weights[d][b] * int(counts[d, k]) for d in range(70)) for k in range(5)] for b in range(11)]
    sums = resample(counts, keys, 11)
    assert sums.dtype == np.int64
    assert sums.tolist() == slow


@settings(deadline=None)
@given(st.data())
def test_resample_adds_up_over_any_split_in_any_order(data):
    n_documents = data.draw(st.integers(0, 40))
    counts = np.array(
        data.draw(st.lists(st.tuples(*[st.integers(0, 1 << 30)] * 3), min_size=n_documents, max_size=n_documents)),
        dtype=np.int64,
    ).reshape(-1, 3)
    keys = _random_keys(data.draw(st.integers(0, 1000)), n_documents)
    order = np.array(data.draw(st.permutations(range(n_documents))), dtype=np.int64)
    cuts = sorted(data.draw(st.lists(st.integers(0, n_documents), max_size=4)))
    parts = np.split(order, cuts)
    total = sum(resample(counts[part], keys[part], 9) for part in parts)
    assert np.array_equal(total, resample(counts, keys, 9))


def test_resample_adds_up_over_its_own_blocks():
    n_documents = 2 * BLOCK_DOCUMENTS + 17
    counts, keys = np.random.default_rng(5).integers(0, 5, size=(n_documents, 4)), _random_keys(5, n_documents)
    expected = draw_weights(keys, 6).astype(np.int64).T @ counts
    assert np.array_equal(resample(counts, keys, 6), expected)


@pytest.mark.parametrize("largest", [(1 << 11) - 1, 1 << 11, 1 << 20, (1 << 40) + 1])
def test_resample_is_exact_where_float32_would_round(largest):
    """A block of 1024 documents leaves float32's mantissa at counts of 2^11, and odd sums tell."""
    counts = np.full((BLOCK_DOCUMENTS, 1), largest, dtype=np.int64)
    counts[0] = 1
    keys = _random_keys(6, BLOCK_DOCUMENTS)
    expected = draw_weights(keys, 25).astype(np.int64).T @ counts
    assert np.array_equal(resample(counts, keys, 25), expected)


def test_resample_of_nothing_is_zero():
    keys = _random_keys(7, 3)
    assert resample(np.zeros((3, 2), dtype=np.int64), keys, 4).tolist() == [[0, 0]] * 4
    assert resample(np.zeros((0, 2), dtype=np.int64), keys[:0], 4).tolist() == [[0, 0]] * 4
    assert resample(np.ones((3, 0), dtype=np.int64), keys, 4).shape == (4, 0)
    assert resample(np.ones((3, 2), dtype=np.int64), keys, 0).shape == (0, 2)


def test_interval_leaves_the_same_share_out_on_both_sides():
    replicates = np.random.default_rng(8).permutation(np.arange(1001) / 1000)
    assert interval(replicates) == pytest.approx((0.025, 0.975))
    assert interval(replicates, level=0.5) == pytest.approx((0.25, 0.75))
    assert interval(np.array([0.3])) == (0.3, 0.3)


def _cover(draw_trial, truth: float, n_trials: int = 400) -> float:
    """Share of trials whose interval holds the truth.

    Args:
      draw_trial: a random generator in, counts (n_documents, 2) of right and of all out.
      truth: the ratio of both in the population.
      n_trials: trials to make.
    """
    rng = np.random.default_rng(9)
    inside = 0
    for _ in range(n_trials):
        counts = draw_trial(rng)
        keys = rng.integers(0, 1 << 64, size=len(counts), dtype=np.uint64)
        right, total = resample(counts, keys, 300).T
        low, high = interval(right / total)
        inside += low <= truth <= high
    return inside / n_trials


def test_interval_holds_the_truth_as_often_as_it_says():
    def draw_trial(rng):
        return np.stack([rng.random(200) < 0.8, np.ones(200)], axis=1).astype(np.int64)

    assert 0.90 <= _cover(draw_trial, 0.8) <= 0.98


def test_interval_holds_the_truth_where_the_entities_of_a_document_share_their_fate():
    def draw_trial(rng):
        n_entities = 1 + rng.poisson(4, size=200)
        return np.stack([rng.binomial(n_entities, rng.beta(1.6, 0.4, size=200)), n_entities], axis=1)

    assert 0.90 <= _cover(draw_trial, 0.8) <= 0.98


def test_shifted_interval_is_the_interval_around_the_estimate():
    replicates = np.random.default_rng(10).normal(0.62, 0.02, size=500)
    low, high = interval(replicates)
    shifted = shifted_interval(0.6, replicates)
    assert shifted[0] < 0.6 < shifted[1]
    assert shifted == pytest.approx((low + 0.6 - replicates.mean(), high + 0.6 - replicates.mean()))
    wide = shifted_interval(0.6, replicates, widening=1.5)
    assert wide[1] - wide[0] == pytest.approx(1.5 * (high - low))
    assert shifted_interval(0.6, replicates, level=0.5)[1] < shifted[1]


def test_shifted_interval_stays_within_what_a_score_can_be():
    replicates = np.linspace(0.3, 0.7, 101)
    assert shifted_interval(0.05, replicates)[0] == 0.0
    assert shifted_interval(0.95, replicates)[1] == 1.0
