"""Compare predicted spans with gold spans, strictly.

    gold       [Ada Lovelace]PER met [Babbage]PER in [London]LOC
    predicted  [Ada]PER Lovelace met [Babbage]PER in [London]ORG
                spurious, missed      found           spurious, missed

A span is found when start, end and label all agree. On legal tag sequences these counts, and the scores made from them,
equal those of seqeval in its strict mode (Nakayama, 2018) and of conlleval (Tjong Kim Sang and De Meulder, 2003).
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from schemas.scores import MICRO, LabelScore

Span = tuple[int, int, str]


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


def score_matches(matches: Mapping[str, list[int]]) -> list[LabelScore]:
    """[found, spurious, missed] by label in, one row per label and the micro row, last, out.

    This equals seqeval's `precision_recall_fscore_support` in strict mode, with zero where it divides by zero.

    Args:
      matches: counts by label, as `count_matches` and a tally hold them.

    >>> [(row.label, row.f1, row.support) for row in score_matches({"LOC": [1, 1, 0], "PER": [2, 0, 2]})]
    [('LOC', 0.6666666666666666, 1), ('PER', 0.6666666666666666, 4), ('micro', 0.6666666666666666, 5)]
    """
    total = [sum(column) for column in zip(*matches.values(), strict=True)] if matches else [0, 0, 0]
    return [*(_score(label, matches[label]) for label in sorted(matches)), _score(MICRO, total)]


def _score(label: str, counts: list[int]) -> LabelScore:
    found, spurious, missed = counts
    return LabelScore(
        label=label,
        precision=_ratio(found, found + spurious),
        recall=_ratio(found, found + missed),
        f1=_ratio(2 * found, 2 * found + spurious + missed),
        support=found + missed,
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
