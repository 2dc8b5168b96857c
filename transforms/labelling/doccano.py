"""doccano: a JSON object per line, as its sequence labelling projects import and export them.

    {"text": "Anna slept", "label": [[0, 4, "PER"]], "digest": "...", ...}

Keys beside `text` and `label` are kept by doccano and come back. Projects with relations export `entities` with
`start_offset` and `end_offset` instead; older versions wrote `labels`. A project in which several people label the same
documents exports a file per person, named after them, in an archive. What nobody touched looks like what was accepted:
export approved documents only.

Offsets are UTF-16 code units (issue 2290 of its repository), also where grapheme clusters are counted as one character.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.errors import ParseError
from schemas.selections import Answer, SelectedDocument, Selection, Span
from transforms.labelling.records import (
    dump_lines,
    from_unit,
    load_records,
    read_name,
    read_span,
    read_text,
    to_unit,
)

UNITS = ("utf16",)
_KEYS = ("label", "labels", "entities")


def write(selection: Selection, documents: Sequence[SelectedDocument]) -> dict[str, bytes]:  # noqa: ARG001
    """The selection as files by name."""
    lines = dump_lines(
        {
            "text": document.text,
            "label": to_unit(document.text, [each.span for each in document.suggestions], UNITS[0]),
            **document.provenance,
        }
        for document in documents
    )
    return {"doccano.jsonl": lines}


def recognises(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of this tool."""
    return any(isinstance(record.get(key), list) for key in _KEYS)


def load(content: bytes, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A file to its records, each with its place."""
    for number, record in enumerate(load_records(content, source), 1):
        yield f"record {number}", record


def read(place: str, record: Mapping[str, Any], *, unit: str, annotator: str) -> Answer:
    """A record to an answer; arguments and errors as in `label_studio.read`."""
    text = read_text(record, "text", "data")
    spans = [_read_span(item) for item in _read_items(record)]
    return Answer(
        place=place,
        digest=read_name(record.get("digest")),
        text=text,
        spans=from_unit(text, spans, unit or UNITS[0]),
        annotator=read_name(record.get("annotation_approver")) or annotator,
    )


def _read_items(record: Mapping[str, Any]) -> list[Any]:
    items = next((record[key] for key in _KEYS if key in record), None)
    if not isinstance(items, list):
        raise ParseError("bad_span", f"expected a list of spans under {_KEYS[0]!r}, found {type(items).__name__}")
    return items


def _read_span(item: Any) -> Span:
    if isinstance(item, dict):
        return read_span(item.get("start_offset"), item.get("end_offset"), item.get("label"))
    if not isinstance(item, list) or len(item) < 3:
        raise ParseError("bad_span", f"expected [start, end, label] in each span, found {type(item).__name__}")
    return read_span(*item[:3])
