"""Precision, recall and F1 from counts, with the averages over labels that seqeval knows.

The same arithmetic serves a corpus, with counts of shape (n_labels,), and its bootstrap, with counts of shape
(n_labels, n_replicates). Every operation is the one that seqeval 1.2.2 does, in the same order, so that the floats are
equal to the last bit.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
AVERAGES = ("micro", "macro", "weighted")


@dataclasses.dataclass(frozen=True)
class Prf:
    """Precision, recall and F1, each a float or an array; support is the number of gold entities."""

    precision: Any
    recall: Any
    f1: Any
    support: Any


def score_labels(found: Array, spurious: Array, missed: Array) -> Prf:
    """Counts of any shape to scores of that shape; zero where there is nothing to divide by."""
    precision = _divide(found, found + spurious)
    recall = _divide(found, found + missed)
    denominator = 1.0 * precision + recall
    f1 = 2.0 * precision * recall / np.where(denominator == 0.0, 1.0, denominator)
    return Prf(precision, recall, f1, found + missed)


def average_labels(found: Array, spurious: Array, missed: Array, average: str) -> Prf:
    """Counts (n_labels, ...) to scores (...).

    Args:
      found: entities in both gold and prediction.
      spurious: entities in the prediction only.
      missed: entities in gold only.
      average: `micro` counts all labels as one, `macro` is the mean over labels, `weighted` the mean by support.
    """
    support = (found + missed).sum(axis=0)
    if average == "micro":
        return score_labels(found.sum(axis=0), spurious.sum(axis=0), missed.sum(axis=0))
    scores = score_labels(found, spurious, missed)
    if not len(found):
        nothing = np.zeros(np.shape(support))
        return Prf(nothing, nothing, nothing, support)
    if average == "macro":
        # A label that a resample lacks has no score there; a corpus has only labels that it holds.
        weights = (found + spurious + missed > 0) if np.ndim(found) > 1 else None
        if weights is not None:
            weights = np.where(weights.any(axis=0), weights, 1)
        precision, recall, f1 = (
            np.average(each, axis=0, weights=weights) for each in (scores.precision, scores.recall, scores.f1)
        )
        return Prf(precision, recall, f1, support)
    weights = np.where(support == 0, 1, found + missed)
    precision, recall, f1 = (
        np.where(support == 0, 0.0, np.average(each, axis=0, weights=weights))
        for each in (scores.precision, scores.recall, scores.f1)
    )
    return Prf(precision, recall, f1, support)


def _divide(part: Array, whole: Array) -> Array:
    whole = np.asarray(whole)
    quotient: Array = np.asarray(part) / np.where(whole == 0, 1, whole)
    return quotient
