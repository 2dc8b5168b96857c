"""How far two histograms, rates or shares lie apart, and how far chance alone would take them.

Every function takes counts with any leading axes, so that resamples are compared in one go.
"""

import math

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def population_stability_index(a: IntArray, b: IntArray) -> FloatArray:
    """Two histograms in, (..., n_bins) each, their population stability index out, (...,); 0 where they are equal.

    The sum of (p - q) ln(p / q) over bins, which is the symmetric divergence of Kullback and Leibler; credit scoring
    gave it its name and its thresholds, 0.1 and 0.25 (Siddiqi, "Credit Risk Scorecards", 2006). Shares are smoothed
    towards each other: half a count per bin that either histogram fills, spread over the bins as the mean of both, is
    added to each. So an empty bin costs no infinity, histograms with equal shares stay equal whatever their sizes, and
    one without counts is like any other.

    >>> population_stability_index(np.array([30, 10]), np.array([60, 20])).item()
    0.0
    """
    p, q = shares_of(a), shares_of(b)
    mean = (p + q) / 2
    extra = (mean > 0).sum(axis=-1, keepdims=True) / 2
    p, q = (_smooth(counts, mean, extra) for counts in (a, b))
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(mean > 0, (p - q) * np.log(p / q), 0.0)
    result: FloatArray = terms.sum(axis=-1)
    return result


def jensen_shannon(a: IntArray, b: IntArray) -> FloatArray:
    """Two histograms in, (..., n_bins) each, their Jensen-Shannon divergence to base 2 out, (...,), from 0 to 1.

    Lin, "Divergence measures based on the Shannon entropy", 1991. Nothing is smoothed; 1 where no bin is shared, and 0
    where one of them has no counts.

    >>> jensen_shannon(np.array([4, 0]), np.array([0, 9])).item()
    1.0
    """
    p, q = shares_of(a), shares_of(b)
    is_known = (p.sum(axis=-1) > 0) & (q.sum(axis=-1) > 0)
    divergence = (_relative_entropy(p, (p + q) / 2) + _relative_entropy(q, (p + q) / 2)) / 2
    return np.where(is_known, np.clip(divergence, 0.0, 1.0), 0.0)


def shares_of(counts: IntArray) -> FloatArray:
    """Counts in, (..., n_bins), their shares out; zeros where there are none."""
    result: FloatArray = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return result


def rate_ratio(a: IntArray, b: IntArray) -> FloatArray:
    """Events and exposure of two runs in, (..., 2) each, the later rate by the earlier out.

    Half an event is added to both, so that a rate of nothing has a ratio too (Haldane, "The estimation and
    significance of the logarithm of a ratio of frequencies", 1956, for odds).

    >>> rate_ratio(np.array([10, 100]), np.array([10, 50])).item()
    2.0
    """
    rates = [(counts[..., 0] + 0.5) / np.maximum(counts[..., 1], 1) for counts in (a, b)]
    result: FloatArray = rates[1] / rates[0]
    return result


def relative_change(ratio: FloatArray) -> FloatArray:
    """By how much the larger of two rates exceeds the smaller: a quarter more and a fifth less are both 0.25.

    >>> relative_change(np.array([1.25, 0.8, 1.0])).round(9).tolist()
    [0.25, 0.25, 0.0]
    """
    result: FloatArray = np.expm1(np.abs(np.log(ratio)))
    return result


def share_difference(a: IntArray, b: IntArray) -> FloatArray:
    """Events and all in, (..., 2) each, the later share minus the earlier out, (...,)."""
    shares = [counts[..., 0] / np.maximum(counts[..., 1], 1) for counts in (a, b)]
    result: FloatArray = shares[1] - shares[0]
    return result


def chance_of_index(a: IntArray, b: IntArray) -> float:
    """Two histograms in, (n_bins,), what chance alone takes their index above in one case of a hundred out.

    Of independent draws from one distribution over K bins, the index is about chi-squared with K - 1 degrees of freedom
    times 1/n + 1/m (Yurdakul & Naranjo, "Statistical properties of the population stability index", 2020). The quantile
    is Wilson and Hilferty's ("The distribution of chi-square", 1931). Infinite where one has no counts.

    >>> round(chance_of_index(np.array([50] * 5), np.array([50] * 5)), 4)
    0.1064
    """
    n, m = int(a.sum()), int(b.sum())
    if not n or not m:
        return math.inf
    freedom = int(((a + b) > 0).sum()) - 1
    if not freedom:
        return 0.0
    quantile = freedom * (1 - 2 / (9 * freedom) + _ONE_SIDED * math.sqrt(2 / (9 * freedom))) ** 3
    return quantile * (1 / n + 1 / m)


def chance_of_change(a: IntArray, b: IntArray) -> float:
    """Events and exposure in, (2,) each, what chance takes the relative change above in one case of a hundred out.

    Of Poisson counts with equal rates. Infinite where a run had no exposure.
    """
    if not a[1] or not b[1]:
        return math.inf
    return math.expm1(_TWO_SIDED * math.sqrt(1 / (int(a[0]) + 0.5) + 1 / (int(b[0]) + 0.5)))


def chance_of_difference(a: IntArray, b: IntArray) -> float:
    """Events and all in, (2,) each, what the difference of two equal shares exceeds in one case of a hundred out.

    Infinite where a run had nothing to take a share of.
    """
    if not a[1] or not b[1]:
        return math.inf
    events, whole = (a + b).tolist()
    share = (events + 0.5) / (whole + 1)
    return _TWO_SIDED * math.sqrt(share * (1 - share) * (1 / int(a[1]) + 1 / int(b[1])))


_ONE_SIDED, _TWO_SIDED = 2.3263479, 2.5758293


def _smooth(counts: IntArray, mean: FloatArray, extra: FloatArray) -> FloatArray:
    # The mean of two shares sums to a half where one run has no counts, which is then like the other.
    whole = mean.sum(axis=-1, keepdims=True)
    prior = mean / np.where(whole > 0, whole, 1.0)
    result: FloatArray = (counts + extra * prior) / np.maximum(counts.sum(axis=-1, keepdims=True) + extra, 0.5)
    return result


def _relative_entropy(p: FloatArray, mean: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / mean), 0.0)
    result: FloatArray = terms.sum(axis=-1)
    return result
