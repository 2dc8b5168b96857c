"""Compare predicted spans with gold spans, strictly.

    gold       [Ada Lovelace]PER met [Babbage]PER in [London]LOC
    predicted  [Ada]PER Lovelace met [Babbage]PER in [London]ORG
                spurious, missed      found           spurious, missed

A span is found when start, end and label all agree. What tag sequences make of this, in seqeval's two modes, is decided
before, when `transforms.tags.chunks` reads spans out of them.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from schemas.scores import MICRO, LabelScore
from transforms.scoring.averages import average_labels, score_labels

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Span = tuple[int, int, str]


@dataclasses.dataclass(frozen=True, eq=False)
class SpanColumns:
    """Spans of many documents as columns.

    Attributes:
      document: (n,) index of the document.
      first: (n,) start, in any unit that both sides share.
      last: (n,) one past the end.
      label: (n,) index of the label.
    """

    document: IntArray
    first: IntArray
    last: IntArray
    label: IntArray

    def __len__(self) -> int:
        return len(self.document)

    def joined_with(self, other: "SpanColumns") -> "SpanColumns":
        """These spans and then the others."""
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self)]
        return SpanColumns(*(np.concatenate(pair) for pair in pairs))


def match_spans(gold: SpanColumns, predicted: SpanColumns) -> tuple[BoolArray, BoolArray]:
    """Which gold spans (n_gold,) are found, and which predicted ones (n_predicted,) are right.

    A span that occurs twice must be predicted twice to be found twice.
    """
    both = gold.joined_with(predicted)
    if not len(both):
        return np.empty(0, dtype=bool), np.empty(0, dtype=bool)
    is_predicted = np.arange(len(both)) >= len(gold)
    order = np.lexsort((is_predicted, both.label, both.last, both.first, both.document))
    columns = [getattr(both, field.name)[order] for field in dataclasses.fields(both)]
    opens = np.ones(len(both), dtype=bool)
    opens[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    group = np.cumsum(opens) - 1
    sides = is_predicted[order]
    n_gold = np.bincount(group[~sides], minlength=group[-1] + 1)
    n_predicted = np.bincount(group[sides], minlength=group[-1] + 1)
    # Within a group gold stands before predicted, so a position in the group tells which copy a span is.
    place = np.arange(len(both)) - np.flatnonzero(opens)[group] - np.where(sides, n_gold[group], 0)
    matched = np.empty(len(both), dtype=bool)
    matched[order] = place < np.minimum(n_gold, n_predicted)[group]
    return matched[: len(gold)], matched[len(gold) :]


def count_matches(gold: Iterable[Span], predicted: Iterable[Span]) -> dict[str, list[int]]:
    """Spans of one document in, [found, spurious, missed] by label out, sorted by label.

    A span that occurs twice counts twice: a duplicated prediction is found once and spurious once. The counts of many
    documents add up, label by label, to the counts of the corpus.

    Args:
      gold: (start, end, label) of the gold spans.
      predicted: (start, end, label) of the predicted spans.

    >>> count_matches([(0, 3, "PER"), (8, 14, "LOC")], [(0, 3, "PER"), (8, 14, "ORG")])
    {'LOC': [0, 0, 1], 'ORG': [0, 1, 0], 'PER': [1, 0, 0]}
    """
    wanted, given = Counter(gold), Counter(predicted)
    matches: dict[str, list[int]] = {label: [0, 0, 0] for label in sorted({span[2] for span in wanted | given})}
    for column, spans in enumerate((wanted & given, given - wanted, wanted - given)):
        for (_, _, label), count in spans.items():
            matches[label][column] += count
    return matches


def score_matches(matches: Mapping[str, Sequence[int]]) -> list[LabelScore]:
    """[found, spurious, missed] by label in, one row per label and the micro row, last, out.

    This equals seqeval's `precision_recall_fscore_support`, with zero where it divides by zero.

    Args:
      matches: counts by label, as `count_matches` and a tally hold them.

    >>> [(row.label, row.f1, row.support) for row in score_matches({"LOC": [1, 1, 0], "PER": [2, 0, 2]})]
    [('LOC', 0.6666666666666666, 1), ('PER', 0.6666666666666666, 4), ('micro', 0.6666666666666665, 5)]
    """
    labels = sorted(matches)
    counts = np.array([matches[label] for label in labels], dtype=np.int64).reshape(-1, 3).T
    found, spurious, missed = counts
    scores, micro = score_labels(found, spurious, missed), average_labels(found, spurious, missed, "micro")
    columns = (scores.precision, scores.recall, scores.f1, scores.support)
    rows = [*zip(labels, *columns, strict=True), (MICRO, micro.precision, micro.recall, micro.f1, micro.support)]
    return [
        LabelScore(label=label, precision=float(p), recall=float(r), f1=float(f1), support=int(support))
        for label, p, r, f1, support in rows
    ]
