"""Averages over labels, equal to seqeval to the last bit."""

import random

import numpy as np
import pytest
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

from transforms.scoring.averages import AVERAGES, average_labels, score_labels


def _tags(rng: random.Random, labels: list[str]) -> list[list[str]]:
    return [rng.choices(["O", *(f"B-{label}" for label in labels)], k=20) for _ in range(30)]


@pytest.mark.parametrize("n_labels", [1, 2, 5, 8, 9, 17, 40])
def test_every_average_equals_seqeval(n_labels):
    rng = random.Random(n_labels)
    labels = [f"L{k:02d}" for k in range(n_labels)]
    gold, predicted = _tags(rng, labels), _tags(rng, labels[: 1 + n_labels // 2])
    pairs = [pair for lines in zip(gold, predicted, strict=True) for pair in zip(*lines, strict=True)]
    tags = [f"B-{label}" for label in labels]
    found = np.array([sum(g == p == tag for g, p in pairs) for tag in tags])
    spurious = np.array([sum(p == tag != g for g, p in pairs) for tag in tags])
    missed = np.array([sum(g == tag != p for g, p in pairs) for tag in tags])
    by_label = precision_recall_fscore_support(gold, predicted, average=None, zero_division=0)
    scores = score_labels(found, spurious, missed)
    for ours, theirs in zip((scores.precision, scores.recall, scores.f1, scores.support), by_label, strict=True):
        assert ours.tolist() == theirs.tolist()
    for average in AVERAGES:
        ours = average_labels(found, spurious, missed, average)
        theirs = precision_recall_fscore_support(gold, predicted, average=average, zero_division=0)
        assert (ours.precision, ours.recall, ours.f1, ours.support) == tuple(theirs)


def test_replicates_are_averaged_as_the_corpus_is():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, size=(3, 4, 6))
    for average in AVERAGES:
        together = average_labels(*counts, average)
        for b in range(6):
            held = counts[:, counts[:, :, b].any(axis=0), b]
            alone = average_labels(*held, average)
            assert together.f1[b] == pytest.approx(alone.f1)
            assert together.precision[b] == pytest.approx(alone.precision)


def test_nothing_scores_zero():
    empty = np.zeros((3, 0), dtype=np.int64)
    for average in AVERAGES:
        scores = average_labels(*empty, average)
        assert (scores.precision, scores.recall, scores.f1, scores.support) == (0, 0, 0, 0)
    for average in AVERAGES:
        scores = average_labels(np.array([0]), np.array([3]), np.array([0]), average)
        assert (scores.precision, scores.recall, scores.f1, scores.support) == (0, 0, 0, 0)
