"""Compare predicted spans with gold spans, forgivingly: the measures of SemEval-2013 task 9.1.

    gold       [New York City]LOC      strict   incorrect   boundaries and label must agree
    predicted      [York City]LOC      exact    incorrect   boundaries must agree
                                       partial  partial     boundaries must agree, or else overlap for half the credit
                                       type     correct     label must agree, and boundaries overlap

Predicted spans take turns: each takes at most one gold span that it overlaps and that no other took before it, one that
agrees with it if it can. So where several overlap, the order of the spans matters.

The measures are those of Segura-Bedmar, Martínez and Herrero-Zazo, "SemEval-2013 Task 9: Extraction of Drug-Drug
Interactions from Biomedical Texts", 2013. Which spans meet is decided as in nervaluate 1.2.1, and the numbers are the
same.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from transforms.scoring.averages import Array, score_labels
from transforms.scoring.matching import Span

OUTCOMES = ("correct", "incorrect", "partial", "missed", "spurious")
MEASURES = ("strict", "exact", "partial", "type")

_PARTIAL_CREDIT = {"strict": 0.0, "exact": 0.0, "partial": 0.5, "type": 0.5}


def count_overlaps(gold: Sequence[Span], predicted: Sequence[Span]) -> dict[str, list[int]]:
    """Spans of one document in, the counts of the five OUTCOMES by measure out.

    A predicted span that covers less than 1 % of a gold span does not overlap it. The counts of many documents add up.

    Args:
      gold: (start, end, label) of the gold spans, none of them empty, in the order in which they are taken.
      predicted: the same of the predicted spans, in the order in which they take.

    >>> count_overlaps([(0, 13, "LOC"), (20, 23, "ORG")], [(4, 13, "LOC")])["partial"]
    [0, 0, 1, 1, 0]
    """
    if gold == predicted:
        return {measure: [len(gold), 0, 0, 0, 0] for measure in MEASURES}
    candidates: list[list[int]] = [[] for _ in predicted]
    for gold_index, predicted_index, shared in find_overlaps(gold, predicted):
        start, end, _ = gold[gold_index]
        if 100 * shared >= end - start:
            candidates[predicted_index].append(gold_index)
    counts = {}
    for measure in MEASURES:
        agreeing, other = _count_taken(gold, predicted, candidates, _DISTANCES[measure])
        incorrect, partial = (0, other) if measure == "partial" else (other, 0)
        taken = agreeing + other
        counts[measure] = [agreeing, incorrect, partial, len(gold) - taken, len(predicted) - taken]
    return counts


def count_label_overlaps(gold: Sequence[Span], predicted: Sequence[Span]) -> dict[str, dict[str, list[int]]]:
    """`count_overlaps` by label, sorted by label; spans of other labels are as if they were not there.

    >>> counts = count_label_overlaps([(0, 4, "PER"), (6, 9, "LOC")], [(0, 4, "PER"), (6, 9, "ORG")])
    >>> {label: counts[label]["strict"] for label in counts}
    {'LOC': [0, 0, 0, 1, 0], 'ORG': [0, 0, 0, 0, 1], 'PER': [1, 0, 0, 0, 0]}
    """
    gold_by_label, predicted_by_label = _group_by_label(gold), _group_by_label(predicted)
    return {
        label: count_overlaps(gold_by_label[label], predicted_by_label[label])
        for label in sorted({*gold_by_label, *predicted_by_label})
    }


def score_overlaps(measure: str, counts: Sequence[Any] | Array) -> tuple[Array, Array, Array]:
    """Counts of the five OUTCOMES in, precision, recall and F1 out; zero where there is nothing to divide by.

    Args:
      measure: one of MEASURES; a partial outcome earns half in `partial` and `type`, nothing in the others.
      counts: (5, ...) counts, for a corpus (5,) and for its bootstrap (5, n_replicates); the scores are (...).

    >>> [float(score) for score in score_overlaps("partial", [3, 0, 2, 0, 3])]
    [0.5, 0.8, 0.6153846153846154]
    """
    correct, incorrect, partial, missed, spurious = np.asarray(counts)
    found = correct + _PARTIAL_CREDIT[measure] * partial
    # Halves are exact in floats, so the sums that the scores divide by are nervaluate's to the last bit.
    lost = correct + incorrect + partial - found
    scores = score_labels(found, lost + spurious, lost + missed)
    return scores.precision, scores.recall, scores.f1


def find_overlaps(gold: Sequence[Span], predicted: Sequence[Span]) -> Iterator[tuple[int, int, int]]:
    """Spans of one document in, (gold index, predicted index, shared units) of each two that overlap out.

    A sweep over the starts, with the spans that are still open at hand (Bentley and Ottmann, "Algorithms for reporting
    and counting geometric intersections", 1979): beyond sorting, the work is one step per span and per pair found.

    Args:
      gold: (start, end, label) of the gold spans in any order, none of them empty.
      predicted: the same of the predicted spans.

    >>> list(find_overlaps([(0, 4, "PER"), (6, 9, "LOC")], [(2, 8, "PER")]))
    [(0, 0, 2), (1, 0, 2)]
    """
    sides = (gold, predicted)
    starts = sorted((span[0], side, index) for side, spans in enumerate(sides) for index, span in enumerate(spans))
    still_open: tuple[list[int], list[int]] = ([], [])
    for start, side, index in starts:
        others, open_others = sides[1 - side], still_open[1 - side]
        open_others[:] = [other for other in open_others if others[other][1] > start]
        end = sides[side][index][1]
        for other in open_others:
            shared = min(end, others[other][1]) - start
            yield (index, other, shared) if side == 0 else (other, index, shared)
        still_open[side].append(index)


def _count_taken(
    gold: Sequence[Span],
    predicted: Sequence[Span],
    candidates: Sequence[Sequence[int]],
    distance: Callable[[Span, Span], float],
) -> tuple[int, int]:
    """How many predicted spans take a gold span that agrees with them, and how many another that they overlap.

    Each takes the nearest candidate that is free, the first of those equally near.
    """
    taken: set[int] = set()
    agreeing = 0
    for span, overlapping in zip(predicted, candidates, strict=True):
        free = [(distance(gold[index], span), index) for index in overlapping if index not in taken]
        if free:
            nearest, index = min(free)
            taken.add(index)
            agreeing += nearest < math.inf
    return agreeing, len(taken) - agreeing


def _strict_distance(gold: Span, predicted: Span) -> float:
    return 0 if gold == predicted else math.inf


def _exact_distance(gold: Span, predicted: Span) -> float:
    return 0 if gold[:2] == predicted[:2] else math.inf


def _type_distance(gold: Span, predicted: Span) -> float:
    if gold[2] != predicted[2]:
        return math.inf
    return abs(gold[0] - predicted[0]) + abs(gold[1] - predicted[1])


_DISTANCES = {
    "strict": _strict_distance,
    "exact": _exact_distance,
    "partial": _exact_distance,
    "type": _type_distance,
}


def _group_by_label(spans: Sequence[Span]) -> defaultdict[str, list[Span]]:
    groups: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        groups[span[2]].append(span)
    return groups
