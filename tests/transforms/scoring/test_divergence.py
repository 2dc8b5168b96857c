"""Distances between counts, against hand values, and what chance does to them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from transforms.scoring.divergence import (
    chance_of_change,
    chance_of_difference,
    chance_of_index,
    jensen_shannon,
    population_stability_index,
    rate_ratio,
    relative_change,
    share_difference,
)

_COUNTS = st.lists(st.integers(0, 10_000), min_size=6, max_size=6).map(np.array)
_FILLED = _COUNTS.filter(lambda counts: counts.sum() > 0)


def test_index_by_hand():
    # Shares 1/4 and 3/4 against 1/2 and 1/2; two bins, so that one count is added to each: 3/8 and 5/8 of it.
    p = [(1 + 0.375) / 5, (3 + 0.625) / 5]
    q = [(5 + 0.375) / 11, (5 + 0.625) / 11]
    expected = sum((x - y) * math.log(x / y) for x, y in zip(p, q, strict=True))
    assert population_stability_index(np.array([1, 3]), np.array([5, 5])) == pytest.approx(expected)


def test_index_of_many_counts_is_the_textbook_one():
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.3, 0.4])
    expected = ((p - q) * np.log(p / q)).sum()
    many = population_stability_index((p * 10**7).astype(int), (q * 10**7).astype(int))
    assert many == pytest.approx(expected, rel=1e-4)


@given(_COUNTS, _COUNTS)
def test_index_is_symmetric_finite_and_not_negative(a, b):
    there, back = population_stability_index(a, b), population_stability_index(b, a)
    assert there == pytest.approx(back)
    assert -1e-12 <= there < math.inf


@given(_FILLED, st.integers(1, 50))
def test_equal_shares_are_no_distance_apart_whatever_the_sizes(counts, times):
    assert population_stability_index(counts, times * counts) == pytest.approx(0, abs=1e-9)
    assert jensen_shannon(counts, times * counts) == pytest.approx(0, abs=1e-9)


@given(_FILLED, _FILLED)
def test_jensen_shannon_is_scipys(a, b):
    assert jensen_shannon(a, b) == pytest.approx(jensenshannon(a, b, base=2) ** 2, abs=1e-9)


@given(_COUNTS, _COUNTS)
def test_jensen_shannon_is_symmetric_and_within_0_and_1(a, b):
    there = jensen_shannon(a, b)
    assert there == pytest.approx(jensen_shannon(b, a))
    assert 0 <= there <= 1


def test_jensen_shannon_by_hand():
    # Against an even mean of 1/4 and 3/4: (1 log2(4/3) + 1/2 log2(2/3) + 1/2 log2(2)) / 2.
    expected = (math.log2(4 / 3) + (math.log2(2 / 3) + math.log2(2)) / 2) / 2
    assert jensen_shannon(np.array([0, 5]), np.array([7, 7])) == pytest.approx(expected)


def test_nothing_is_no_distance_from_anything():
    assert population_stability_index(np.array([0, 0]), np.array([4, 9])) == pytest.approx(0)
    assert jensen_shannon(np.array([0, 0]), np.array([4, 9])) == 0


def test_distances_are_taken_row_by_row():
    a, b = np.array([[1, 3], [4, 4]]), np.array([[5, 5], [0, 8]])
    for distance in (population_stability_index, jensen_shannon, rate_ratio, share_difference):
        assert distance(a, b) == pytest.approx([float(distance(x, y)) for x, y in zip(a, b, strict=True)])


def test_rates_by_hand():
    a, b = np.array([10, 1000]), np.array([0, 500])
    assert rate_ratio(a, b) == pytest.approx((0.5 / 500) / (10.5 / 1000))
    assert relative_change(rate_ratio(a, b)) == pytest.approx(relative_change(rate_ratio(b, a)))
    assert share_difference(a, np.array([30, 1000])) == pytest.approx(0.02)


def test_chance_of_the_index_is_the_quantile_of_chi_squared():
    a, b = np.array([30] * 10), np.array([70] * 10)
    assert chance_of_index(a, b) == pytest.approx(stats.chi2.ppf(0.99, 9) * (1 / 300 + 1 / 700), rel=0.01)
    assert chance_of_index(a, np.zeros(10, dtype=int)) == math.inf
    assert chance_of_index(np.array([3, 0]), np.array([9, 0])) == 0


@pytest.mark.parametrize(("n", "m"), [(400, 400), (5000, 300)])
def test_chance_is_exceeded_in_about_one_case_of_a_hundred(n, m):
    rng = np.random.default_rng(0)
    shares = np.array([0.05, 0.1, 0.15, 0.3, 0.4])
    a, b = rng.multinomial(n, shares, 4000), rng.multinomial(m, shares, 4000)
    over = [population_stability_index(x, y) > chance_of_index(x, y) for x, y in zip(a, b, strict=True)]
    assert 0.002 < np.mean(over) < 0.02
    events = np.column_stack([rng.poisson(0.1 * n, 4000), np.full(4000, n)])
    others = np.column_stack([rng.poisson(0.1 * m, 4000), np.full(4000, m)])
    pairs = list(zip(events, others, strict=True))
    assert np.mean([relative_change(rate_ratio(x, y)) > chance_of_change(x, y) for x, y in pairs]) < 0.02
    assert np.mean([abs(share_difference(x, y)) > chance_of_difference(x, y) for x, y in pairs]) < 0.02


def test_without_exposure_anything_is_chance():
    assert chance_of_change(np.array([0, 0]), np.array([3, 9])) == math.inf
    assert chance_of_difference(np.array([3, 9]), np.array([0, 0])) == math.inf
