"""Strict matching, by hand and beside seqeval."""

import random
from collections import Counter

import numpy as np
import pytest
from seqeval.metrics.v1 import classification_report, precision_recall_fscore_support
from seqeval.scheme import IOB2

from schemas.scores import MICRO, LabelScore
from transforms.scoring.matching import SpanColumns, count_matches, match_spans, score_matches
from transforms.tags.decode import decode_tags

LABELS = ("PER", "LOC", "ORG")


def _score(label: str, precision: float, recall: float, f1: float, support: int) -> LabelScore:
    return LabelScore(label=label, precision=precision, recall=recall, f1=f1, support=support)


def test_count_matches_wants_start_end_and_label():
    gold = [(0, 12, "PER"), (20, 27, "PER"), (31, 37, "LOC")]
    predicted = [(0, 3, "PER"), (20, 27, "PER"), (31, 37, "ORG")]
    assert count_matches(gold, predicted) == {"LOC": [0, 0, 1], "ORG": [0, 1, 0], "PER": [1, 1, 1]}


def test_count_matches_counts_duplicates():
    assert count_matches([(0, 1, "A")], [(0, 1, "A"), (0, 1, "A")]) == {"A": [1, 1, 0]}
    assert count_matches([(0, 1, "A"), (0, 1, "A")], [(0, 1, "A")]) == {"A": [1, 0, 1]}


def test_count_matches_reads_iterators_once():
    assert count_matches(iter([(0, 1, "A")]), iter([(0, 1, "A")])) == {"A": [1, 0, 0]}


def test_count_matches_of_nothing_is_empty():
    assert count_matches([], []) == {}


def test_score_matches_by_hand():
    *labels, micro = score_matches({"PER": [3, 1, 0], "LOC": [0, 0, 2]})
    assert labels == [_score("LOC", 0.0, 0.0, 0.0, 2), _score("PER", 0.75, 1.0, pytest.approx(6 / 7), 3)]
    assert micro == _score(MICRO, 0.75, 0.6, pytest.approx(2 / 3), 5)


def test_score_matches_of_nothing_is_zero():
    assert score_matches({}) == [_score(MICRO, 0.0, 0.0, 0.0, 0)]


def test_score_matches_keeps_a_label_named_as_the_micro_row():
    assert [row.support for row in score_matches({MICRO: [1, 0, 0], "A": [2, 0, 0]})] == [2, 1, 3]


def _random_tags(rng: random.Random, n_tokens: int) -> list[str]:
    """A legal IOB2 sequence."""
    tags: list[str] = []
    while len(tags) < n_tokens:
        label = rng.choice(LABELS)
        entity = [f"B-{label}", *[f"I-{label}"] * rng.randrange(3)]
        tags += rng.choice([["O"], entity, entity])
    return tags[:n_tokens]


def _disturb(rng: random.Random, tags: list[str]) -> list[str]:
    """Another legal sequence of that length, alike for the most part."""
    cut = rng.randrange(len(tags) + 1)
    rest = _random_tags(rng, len(tags) - cut)
    return tags[:cut] + rest


def _count(gold: list[list[str]], predicted: list[list[str]]) -> dict[str, list[int]]:
    spans = [
        [
            (1000 * k + first, 1000 * k + last, label)
            for k, tags in enumerate(side)
            for first, last, label in decode_tags(tags)
        ]
        for side in (gold, predicted)
    ]
    return count_matches(*spans)


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_seqeval_strict(seed):
    rng = random.Random(seed)
    gold = [_random_tags(rng, rng.randrange(1, 14)) for _ in range(100)]
    predicted = [_disturb(rng, tags) for tags in gold]
    *labels, micro = score_matches(_count(gold, predicted))
    precision, recall, f1, support = precision_recall_fscore_support(gold, predicted, scheme=IOB2, zero_division=0)
    assert [row.label for row in labels] == sorted(LABELS)
    for index, row in enumerate(labels):
        expected = (precision[index], recall[index], f1[index], support[index])
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(expected, abs=1e-12)
    total = precision_recall_fscore_support(gold, predicted, average="micro", scheme=IOB2, zero_division=0)
    assert (micro.precision, micro.recall, micro.f1, micro.support) == pytest.approx(total, abs=1e-12)


def test_scores_equal_seqeval_strict_sequence_by_sequence():
    """Short sequences reach the corners: no gold, no prediction, a label on one side only."""
    rng = random.Random(7)
    compared = 0
    for _ in range(300):
        gold = _random_tags(rng, rng.randrange(1, 5))
        predicted = _disturb(rng, gold)
        if gold == predicted == ["O"] * len(gold):
            continue
        rows = classification_report([gold], [predicted], scheme=IOB2, output_dict=True, zero_division=0)
        for row in score_matches(_count([gold], [predicted])):
            expected = rows["micro avg" if row.label == MICRO else row.label]
            assert row.precision == pytest.approx(expected["precision"])
            assert row.recall == pytest.approx(expected["recall"])
            assert row.f1 == pytest.approx(expected["f1-score"])
            assert row.support == expected["support"]
        compared += 1
    assert compared > 200


def _random_columns(rng: random.Random, n_spans: int) -> SpanColumns:
    rows = [(rng.randrange(3), rng.randrange(3), 1 + rng.randrange(3), rng.randrange(2)) for _ in range(n_spans)]
    return SpanColumns(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)


def test_match_spans_is_the_intersection_of_multisets():
    rng = random.Random(3)
    for _ in range(300):
        gold, predicted = (_random_columns(rng, rng.randrange(12)) for _ in range(2))
        wanted, given = (
            [tuple(map(int, row)) for row in zip(c.document, c.first, c.last, c.label, strict=True)]
            for c in (gold, predicted)
        )
        is_found, is_right = match_spans(gold, predicted)
        both = Counter(wanted) & Counter(given)
        assert Counter(span for span, is_one in zip(wanted, is_found, strict=True) if is_one) == both
        assert Counter(span for span, is_one in zip(given, is_right, strict=True) if is_one) == both
