"""Documents to look at: the text around their entities, cut where the kind of text changes.

text      [Ada Lovelace] wrote to [Babbage] in London
segments  found           text     spurious  text with a missed piece
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

EXCERPT_CHARACTERS = 1200

_CONTEXTS = (600, 300, 150, 80, 40)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A document to show in the report.

    Attributes:
      id: the document's id.
      source: the file that it came from.
      row: its position there, from 0.
      text: the whole text.
      entities: predicted `start`, `end`, `label` and `score` (or None), in code points of the text; `is_below` where an
        entity is under its threshold, and so is not predicted.
      gold: gold `start`, `end` and `label`; None for a document without gold.
      problem: why there is no text; entities then have a `text` of their own. Empty where there is one.
    """

    id: str
    source: str
    row: int
    text: str
    entities: Sequence[Mapping[str, Any]]
    gold: Sequence[Mapping[str, Any]] | None = None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A stretch of an excerpt that is drawn in one way.

    Attributes:
      text: the characters.
      missed: label of the missed gold entity that covers it, or an empty string.
      is_missed_end: whether that entity ends here.
    """

    text: str
    missed: str
    is_missed_end: bool


@dataclasses.dataclass(frozen=True)
class Segment:
    """A predicted entity, the text between two of them, or a gap.

    Attributes:
      kind: `text`, `gap`, `found` (also when there is no gold to compare with), `spurious`, or `below` for an entity
        under its threshold.
      pieces: its text, cut where missed gold entities begin and end; none for a gap.
      label: the entity's label.
      score: the entity's score; None where there is none.
    """

    kind: str
    pieces: tuple[Piece, ...] = ()
    label: str = ""
    score: float | None = None


def mark_excerpts(sample: Sample, focus: Sequence[Mapping[str, Any]] = ()) -> Iterator[Segment]:
    """A document in, what to show of it out, in order.

    Of overlapping entities the outer one is shown, else the one that begins first.

    Args:
      sample: the document.
      focus: the spans that a long document is shortened around; none for all of them, gold too.
    """
    wanted = {(span["start"], span["end"], span["label"]) for span in sample.gold or ()}
    entities = _drop_overlaps(sample.entities)
    given = {(span["start"], span["end"], span["label"]) for span in sample.entities if not span.get("is_below")}
    missed = _drop_overlaps([{"start": s, "end": e, "label": label} for s, e, label in sorted(wanted - given)])
    last = 0
    for start, end in _choose_excerpts(sample.text, focus or [*entities, *missed]):
        if start > last:
            yield Segment("gap")
        here = start
        for entity in entities:
            first, stop = max(entity["start"], here), min(entity["end"], end)
            if first < stop:
                if here < first:
                    yield Segment("text", tuple(_cut_pieces(sample.text, here, first, missed)))
                is_found = sample.gold is None or (entity["start"], entity["end"], entity["label"]) in wanted
                kind = "below" if entity.get("is_below") else "found" if is_found else "spurious"
                pieces = tuple(_cut_pieces(sample.text, first, stop, missed))
                yield Segment(kind, pieces, entity["label"], entity["score"])
                here = stop
        if here < end:
            yield Segment("text", tuple(_cut_pieces(sample.text, here, end, missed)))
        last = end
    if last < len(sample.text):
        yield Segment("gap")


def _drop_overlaps(spans: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    kept: list[Mapping[str, Any]] = []
    for span in sorted(spans, key=lambda span: (span["start"], -span["end"])):
        if not kept or span["start"] >= kept[-1]["end"]:
            kept.append(span)
    return kept


def _choose_excerpts(text: str, spans: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Character ranges to show: as much around every span as EXCERPT_CHARACTERS allow, else the first spans."""
    if len(text) <= EXCERPT_CHARACTERS:
        return [(0, len(text))]
    if not spans:
        return [(0, _snap(text, EXCERPT_CHARACTERS))]
    ranges: list[tuple[int, int]] = []
    for context in _CONTEXTS:
        ranges = _surround(text, spans, context)
        if sum(end - start for start, end in ranges) <= EXCERPT_CHARACTERS:
            return ranges
    chosen, left = [], EXCERPT_CHARACTERS
    for start, end in ranges:
        if left > 0:
            chosen.append((start, min(end, start + left)))
            left -= end - start
    return chosen


def _surround(text: str, spans: Sequence[Mapping[str, Any]], context: int) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: (span["start"], span["end"])):
        start, end = max(0, span["start"] - context), min(len(text), span["end"] + context)
        start, end = _snap(text, start), max(span["end"], _snap(text, end))
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(end, ranges[-1][1]))
        else:
            ranges.append((start, end))
    return ranges


def _snap(text: str, position: int) -> int:
    """The position after the last space within the 20 characters before it: excerpts should not cut words."""
    if position in (0, len(text)):
        return position
    return (text.rfind(" ", max(0, position - 20), position) + 1) or position


def _cut_pieces(text: str, start: int, end: int, missed: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    here = start
    for span in missed:
        first, stop = max(span["start"], here), min(span["end"], end)
        if first < stop:
            if here < first:
                yield Piece(text[here:first], "", is_missed_end=False)
            yield Piece(text[first:stop], span["label"], is_missed_end=stop == span["end"])
            here = stop
    if here < end:
        yield Piece(text[here:end], "", is_missed_end=False)
