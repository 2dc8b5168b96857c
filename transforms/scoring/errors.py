"""Explain how the predicted spans of a document differ from its gold spans.

    gold       [Ada]PER    [New York City]LOC    [Acme Ltd]ORG    [May]DATE
    predicted  [Ada]ORG        [York City]LOC    [Acme]PER                    [Will]PER
               label       boundary              both             missed      spurious

Spans that agree are no errors and leave first. Of the rest, overlapping spans are paired and each is used once: those
with the same boundaries first, then those of the same label, then the others, and in each of these steps the pairs that
overlap most. What stays alone is missed or spurious. Gold and predicted play the same part, so exchanging them
exchanges only these two words.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from schemas.labels import OUTSIDE
from transforms.scoring.matching import Span
from transforms.scoring.overlaps import find_overlaps

KINDS = ("label", "boundary", "both", "missed", "spurious")
"""In the order in which spans are paired; the last two are what stays alone."""


@dataclasses.dataclass(frozen=True)
class SpanError:
    """One difference.

    Attributes:
      kind: `label` has the boundaries right, `boundary` the label, `both` neither; `missed` has no predicted span and
        `spurious` no gold span.
      gold: the gold span.
      predicted: the predicted span.
    """

    kind: str
    gold: Span | None
    predicted: Span | None


def find_errors(gold: Sequence[Span], predicted: Sequence[Span]) -> list[SpanError]:
    """Spans of one document in, its errors in order of their places out, whatever the order of the spans.

    A span that occurs twice counts twice.

    Args:
      gold: (start, end, label) of the gold spans, none of them empty.
      predicted: the same of the predicted spans.

    >>> [error.kind for error in find_errors([(0, 13, "LOC"), (20, 23, "ORG")], [(4, 13, "LOC")])]
    ['boundary', 'missed']
    """
    wanted, given = Counter(gold), Counter(predicted)
    wanted, given = wanted - given, given - wanted
    errors: list[SpanError] = []
    for kind, wanted_span, given_span in _rank_pairs(list(wanted), list(given)):
        count = min(wanted[wanted_span], given[given_span])
        errors += [SpanError(kind, wanted_span, given_span)] * count
        wanted[wanted_span] -= count
        given[given_span] -= count
    errors += [SpanError("missed", span, None) for span in wanted.elements()]
    errors += [SpanError("spurious", None, span) for span in given.elements()]
    return sorted(errors, key=_place)


def count_confusions(gold: Sequence[Span], errors: Sequence[SpanError]) -> dict[tuple[str, str], int]:
    """Spans of one document in, how often (gold label, predicted label) met out, sorted; `O` stands for no span.

    Every gold span counts once in its row and every predicted span once in its column. Spans that agree are in here
    too, and a boundary error counts as if its label were all that matters.

    Args:
      gold: (start, end, label) of the gold spans, none of them empty.
      errors: what `find_errors` made of them.

    >>> gold, predicted = [(0, 3, "PER"), (5, 9, "LOC")], [(0, 3, "PER"), (5, 9, "ORG"), (12, 14, "LOC")]
    >>> count_confusions(gold, find_errors(gold, predicted))
    {('LOC', 'ORG'): 1, ('O', 'LOC'): 1, ('PER', 'PER'): 1}
    """
    agreeing = Counter(gold) - Counter(error.gold for error in errors if error.gold)
    confusions = Counter((label, label) for _, _, label in agreeing.elements())
    confusions.update(
        (error.gold[2] if error.gold else OUTSIDE, error.predicted[2] if error.predicted else OUTSIDE)
        for error in errors
    )
    return dict(sorted(confusions.items()))


def _rank_pairs(gold: Sequence[Span], predicted: Sequence[Span]) -> list[tuple[str, Span, Span]]:
    """The overlapping spans as (kind, gold, predicted), those to pair first in front."""
    ranked = []
    for gold_index, predicted_index, shared in find_overlaps(gold, predicted):
        wanted, given = gold[gold_index], predicted[predicted_index]
        union = wanted[1] - wanted[0] + given[1] - given[0] - shared
        # Of two pairs that overlap as much, only those that share a span compete, and the other span further left wins.
        ranked.append((KINDS.index(_kind(wanted, given)), -shared / union, wanted, given))
    return [(KINDS[kind], wanted, given) for kind, _, wanted, given in sorted(ranked)]


def _kind(gold: Span, predicted: Span) -> str:
    if gold[:2] == predicted[:2]:
        return "label"
    return "boundary" if gold[2] == predicted[2] else "both"


def _place(error: SpanError) -> list[Span]:
    return sorted(span for span in (error.gold, error.predicted) if span)
