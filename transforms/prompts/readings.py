"""What was read from the answers about a text: entities that stand in it, and counts of what was mended or left out.

Entities do not overlap. Where mentions do, the longest one stays, since a model that names `New York` also means the
`York` in it; of those equally long, that with the higher score; then the first in the text; then that whose label was
asked for first.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.errors import RecordError
from schemas.prompts import Answer
from transforms.prompts.alignment import Aligner, Status
from transforms.prompts.answers import Mention, score_mention


class ReadSpan(NamedTuple):
    """An entity that a model named and that stands in the text.

    Attributes:
      start: first code point.
      end: one past the last.
      label: its label.
      score: how sure the model was of the words; 1.0 where it does not tell. See `score_mention`.
      status: exact, normalised or fuzzy.
      distance: characters that differ; 0 unless fuzzy.
    """

    start: int
    end: int
    label: str
    score: float
    status: Status
    distance: int = 0


@dataclasses.dataclass(frozen=True)
class Reading:
    """Answers about a text, read.

    Attributes:
      spans: entities in the order of the text; none overlaps another.
      counts: by name: `answers/strict`, `answers/repaired`, `answers/unparsable` and, among them, `answers/cut`;
        `repairs/<name>`; `mentions/<status>`, of which `mentions/not-found` are made up; `mentions/repeated`, said
        before and not looked for again; `spans/overlapping`, which gave way to others. Those that are 0 are left out.
      failure: why nothing could be read; None if something could.
    """

    spans: tuple[ReadSpan, ...]
    counts: Mapping[str, int]
    failure: RecordError | None = None


def find_spans(
    mentions: Iterable[Mention], answer: Answer, aligner: Aligner, counts: "collections.Counter[str]"
) -> list[ReadSpan]:
    """The mentions of an answer to their places in the text, and what became of each to the counts."""
    spans: list[ReadSpan] = []
    seen: set[tuple[str, str, int | None]] = set()
    for mention in mentions:
        identity = mention.text, mention.label, mention.near
        if identity in seen:
            counts["mentions/repeated"] += 1
            continue
        seen.add(identity)
        status, places = aligner.align(mention)
        counts[f"mentions/{status}"] += 1
        score = score_mention(answer, mention.first, mention.last)
        spans += [ReadSpan(place.start, place.end, mention.label, score, status, place.distance) for place in places]
    return spans


def drop_overlapping(
    spans: Iterable[ReadSpan], labels: Sequence[str], counts: "collections.Counter[str]"
) -> tuple[ReadSpan, ...]:
    """Spans to those that do not overlap, in order; the rule stands at the top of this file.

    Args:
      spans: any spans; the same place and label may come twice.
      labels: labels in the order in which they were asked for.
      counts: where those that gave way to another place or label are counted.
    """
    best: dict[tuple[int, int, str], ReadSpan] = {}
    for span in spans:
        known = best.get(span[:3])
        if known is None or span.score > known.score:
            best[span[:3]] = span
    kept: list[ReadSpan] = []
    taken: set[int] = set()
    for span in sorted(best.values(), key=lambda s: (s.start - s.end, -s.score, s.start, labels.index(s.label))):
        characters = range(span.start, span.end)
        if taken.isdisjoint(characters):
            kept.append(span)
            taken.update(characters)
        else:
            counts["spans/overlapping"] += 1
    return tuple(sorted(kept))


def join_readings(pieces: Sequence[tuple[int, Reading]], labels: Sequence[str]) -> Reading:
    """The readings of a document's passages to that of the document.

    Args:
      pieces: where each passage begins, and its reading.
      labels: labels in the order in which they were asked for.

    Returns:
      Their spans, moved to where they stand in the document; what two passages share counts once. It has failed if
      one of them has.
    """
    counts: collections.Counter[str] = collections.Counter()
    for _, reading in pieces:
        counts.update(reading.counts)
    failure = next((reading.failure for _, reading in pieces if reading.failure is not None), None)
    moved = (
        span._replace(start=span.start + shift, end=span.end + shift)
        for shift, reading in pieces
        for span in reading.spans
    )
    spans = drop_overlapping(moved, labels, counts)
    return Reading(() if failure else spans, dict(counts), failure)
