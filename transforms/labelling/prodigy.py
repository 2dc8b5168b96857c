"""Prodigy: a JSON object per line with tokens and spans, as `ner.manual` reads and `db-out` writes them.

    {"text": "Anna slept",
     "tokens": [{"text": "Anna", "start": 0, "end": 4, "id": 0, "ws": true}, ...],
     "spans": [{"start": 0, "end": 4, "token_start": 0, "token_end": 0, "label": "PER"}],
     "meta": {"digest": "...", ...}, "answer": "accept"}

`token_end` is the last token and not one past it. `answer` is accept, reject or ignore; a record without one is a task
that was not done yet. See https://prodi.gy/docs/api-interfaces. Offsets are code points, as in Python.
"""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.errors import ParseError
from schemas.selections import LABELLED, SKIPPED, UNLABELLED, Answer, SelectedDocument, Selection, Span
from transforms.labelling.records import dump_lines, from_unit, load_records, read_name, read_span, read_text
from transforms.text.words import cut_words, find_words

UNITS = ("codepoint",)
_STATES = {"accept": LABELLED, "reject": SKIPPED, "ignore": SKIPPED, None: UNLABELLED}


def write(selection: Selection, documents: Sequence[SelectedDocument]) -> dict[str, bytes]:  # noqa: ARG001
    """The selection as files by name."""
    return {"prodigy.jsonl": dump_lines(map(_to_task, documents))}


def recognises(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of this tool."""
    return "text" in record and bool({"spans", "_task_hash", "answer"} & record.keys())


def load(content: bytes, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A file to its records, each with its place."""
    for number, record in enumerate(load_records(content, source), 1):
        yield f"record {number}", record


def read(place: str, record: Mapping[str, Any], *, unit: str, annotator: str) -> Answer:
    """A record to an answer; arguments and errors as in `label_studio.read`."""
    text = read_text(record, "text")
    meta = record.get("meta")
    answer = record.get("answer")
    if answer not in _STATES:
        raise ParseError("bad_answer", "expected an answer of accept, reject or ignore, found another")
    state = _STATES[answer]
    spans = _read_spans(record) if state == LABELLED else []
    return Answer(
        place=place,
        digest=read_name(meta.get("digest")) if isinstance(meta, dict) else "",
        text=text,
        spans=from_unit(text, spans, unit or UNITS[0]),
        annotator=read_name(record.get("_annotator_id") or record.get("_session_id")) or annotator,
        labelled_at=_read_time(record.get("_timestamp")),
        state=state,
    )


def _to_task(document: SelectedDocument) -> dict[str, Any]:
    text, spans = document.text, [suggestion.span for suggestion in document.suggestions]
    # A span has to begin and end with tokens, or it could not be shown.
    tokens = cut_words(find_words(text), (place for span in spans for place in span[:2]))
    first = {start: number for number, (start, _) in enumerate(tokens)}
    last = {end: number for number, (_, end) in enumerate(tokens)}
    return {
        "text": text,
        "tokens": [
            {"text": text[start:end], "start": start, "end": end, "id": number, "ws": text[end : end + 1] == " "}
            for number, (start, end) in enumerate(tokens)
        ],
        "spans": [
            {"start": start, "end": end, "token_start": first[start], "token_end": last[end], "label": label}
            for start, end, label in spans
        ],
        "meta": document.provenance,
    }


def _read_spans(record: Mapping[str, Any]) -> list[Span]:
    items = record.get("spans") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ParseError("bad_span", "expected a list of objects under 'spans', found something else")
    # Recipes that ask about one span at a time answer for each.
    accepted = [item for item in items if item.get("answer", "accept") == "accept"]
    return [read_span(item.get("start"), item.get("end"), item.get("label")) for item in accepted]


def _read_time(stamp: Any) -> str:
    if not isinstance(stamp, int | float) or isinstance(stamp, bool):
        return ""
    return datetime.datetime.fromtimestamp(stamp, datetime.timezone.utc).isoformat()
