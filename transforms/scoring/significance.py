"""Is one system better than another, or lucky: tests of two systems on the same documents."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from transforms.scoring.intervals import interval

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How far a score of a second system lies above the first's, by a bootstrap that draws documents for both alike.

    Attributes:
      low: lower end of the interval.
      high: upper end of the interval.
      p_value: two-sided; how likely so large a difference is between systems that are equally good.
    """

    low: float
    high: float
    p_value: float


def difference(first: FloatArray, second: FloatArray, level: float = 0.95) -> Difference:
    """Replicates of two systems in, the interval of second minus first and its p-value out.

    The p-value is twice the share of replicates on the rarer side of zero (Efron & Tibshirani, "An introduction to the
    bootstrap", 1993, section 15.4). A replicate without a difference counts on both sides, and one more replicate
    there is added (Davison & Hinkley, "Bootstrap methods and their application", 1997, chapter 4), so that it is never
    0, nor lower than the number of replicates can tell.

    Args:
      first: (n_replicates,) a score of the first system; no NaN, at least one.
      second: (n_replicates,) the same of the second system, in the same replicates.
      level: share of the differences that lies inside the interval.

    >>> difference(np.array([0.5, 0.5, 0.75]), np.array([0.5, 0.625, 1.0]), level=1.0)
    Difference(low=0.0, high=0.25, p_value=1.0)
    """
    gains = second - first
    low, high = interval(gains, level)
    rarer = min(np.count_nonzero(gains <= 0), np.count_nonzero(gains >= 0))
    return Difference(low=low, high=high, p_value=min(1.0, 2 * (rarer + 1) / (len(gains) + 1)))


def mcnemar(only_first: int, only_second: int) -> float:
    """Entities that one system alone found in, the two-sided exact p-value out.

    Of systems equally good, either is as likely to be the one that finds an entity that the other does not: a binomial
    test of even odds (McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", 1947). Entities of one document are taken as independent, which `difference` does not do.

    Args:
      only_first: entities that the first system found and the second did not.
      only_second: entities that the second system found and the first did not.

    >>> round(mcnemar(1, 7), 7)
    0.0703125
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    # Binomial coefficients of millions fit no float, so the tail is summed relative to its largest term.
    tail = term = 1.0
    for k in range(fewer, 0, -1):
        term *= k / (n - k + 1)
        tail += term
        if term < tail * 1e-17:
            break
    log_largest = math.lgamma(n + 1) - math.lgamma(fewer + 1) - math.lgamma(n - fewer + 1) - n * math.log(2)
    return min(1.0, 2 * tail * math.exp(log_largest))
