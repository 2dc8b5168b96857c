"""Label Studio: a JSON array of tasks, the model's entities as predictions, and a labelling configuration in XML.

    {"data": {"text": "Anna slept"}, "predictions": [{"result": [
        {"type": "labels", "from_name": "label", "to_name": "text",
         "value": {"start": 0, "end": 4, "text": "Anna", "labels": ["PER"]}}]}]}

Comes back as the same with `annotations`, one per annotator ("JSON"), or flat with one annotation per record
("JSON_MIN"); see https://labelstud.io/guide/task_format and https://labelstud.io/guide/export.

Offsets are code points, and were UTF-16 code units in versions up to about 1.4 (pull request 1559 of its repository). A
span holds its own text, which tells the two apart; white space in it is not to be trusted (issue 3078). Of a line end,
a carriage return and a line feed count one each.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from schemas.errors import ParseError
from schemas.selections import LABELLED, SKIPPED, UNLABELLED, Answer, SelectedDocument, Selection, Span
from transforms.labelling.records import from_unit, load_records, read_name, read_span, read_text, to_unit

UNITS = ("codepoint", "utf16")
_CONTROL, _OBJECT = "label", "text"


def write(selection: Selection, documents: Sequence[SelectedDocument]) -> dict[str, bytes]:
    """The selection as files by name: tasks, and the configuration of the project."""
    version = f"spanmill {selection.run['model'][:16]}"
    tasks: list[dict[str, Any]] = [
        {
            "data": dict(document.provenance, text=document.text),
            "predictions": [{"model_version": version, "result": list(_results(document))}],
        }
        for document in documents
    ]
    content = json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
    return {"label-studio.json": content.encode(), "label-studio.xml": _render_config(selection.labels).encode()}


def recognises(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of this tool."""
    return isinstance(record.get("data"), dict) or {"annotation_id", "annotator"} <= record.keys()


def load(content: bytes, source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A file to its records, one per annotation, each with its place."""
    for number, task in enumerate(load_records(content, source), 1):
        annotations = task.get("annotations", task.get("completions"))
        if not isinstance(task.get("data"), dict):
            flat = {"data": task, "annotation": {**task, "completed_by": task.get("annotator")}}
            yield f"task {number}", flat
        elif annotations:
            for annotation in annotations:
                yield f"task {number}", {"data": task["data"], "annotation": annotation}
        else:
            yield f"task {number}", {"data": task["data"], "annotation": None}


def read(place: str, record: Mapping[str, Any], *, unit: str, annotator: str) -> Answer:
    """A record to an answer.

    Args:
      place: where it stands.
      record: one of `load`.
      unit: unit of offsets; empty to find out.
      annotator: who gave it, if it does not tell.

    Raises:
      ParseError: it is none.
    """
    data, annotation = record["data"], record["annotation"]
    text = read_text(data, _OBJECT)
    digest = read_name(data.get("digest"))
    if annotation is None:
        return Answer(place=place, digest=digest, text=text, spans=(), annotator="", state=UNLABELLED)
    if not isinstance(annotation, dict):
        raise ParseError("no_annotation", f"expected an annotation, found {type(annotation).__name__}; export as JSON")
    is_skipped = annotation.get("was_cancelled") or annotation.get("skipped")
    return Answer(
        place=place,
        digest=digest,
        text=text,
        spans=() if is_skipped else _read_spans(text, annotation, unit),
        annotator=_read_annotator(annotation) or annotator,
        labelled_at=read_name(annotation.get("updated_at") or annotation.get("created_at")),
        state=SKIPPED if is_skipped else LABELLED,
    )


def _results(document: SelectedDocument) -> Iterator[dict[str, Any]]:
    spans = to_unit(document.text, [each.span for each in document.suggestions], UNITS[0])
    for number, (suggestion, (start, end, label)) in enumerate(zip(document.suggestions, spans, strict=True)):
        surface = document.text[suggestion.start : suggestion.end]
        yield {
            "id": f"s{number}",
            "from_name": _CONTROL,
            "to_name": _OBJECT,
            "type": "labels",
            "score": suggestion.score,
            "value": {"start": start, "end": end, "text": surface, "labels": [label]},
        }


def _render_config(labels: Sequence[str]) -> str:
    rows = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in labels)
    return (
        f'<View>\n  <Labels name="{_CONTROL}" toName="{_OBJECT}">\n{rows}  </Labels>\n'
        f'  <Text name="{_OBJECT}" value="${_OBJECT}"/>\n</View>\n'
    )


def _read_annotator(annotation: Mapping[str, Any]) -> str:
    user = annotation.get("completed_by")
    if isinstance(user, dict):
        return read_name(user.get("email") or user.get("id"))
    return read_name(user)


def _read_spans(text: str, annotation: Mapping[str, Any], unit: str) -> tuple[Span, ...]:
    spans: list[Span] = []
    quotes: list[str | None] = []
    n_bare = 0
    for kind, value in _read_values(annotation):
        labels = value.get("labels")
        if not isinstance(labels, list) or not labels:
            n_bare += _is_region(kind, value)
            continue
        for label in labels:
            spans.append(read_span(value.get("start"), value.get("end"), label))
            quotes.append(value.get("text"))
    if n_bare:
        raise ParseError(
            "no_label",
            f"expected a label on each marked region, found {n_bare} without; label or remove it in the tool",
        )
    return _fit(text, spans, quotes, (unit,) if unit else UNITS)


def _read_values(annotation: Mapping[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """What an annotation holds, each with what it is called there; nothing in the flat export."""
    if "result" in annotation:
        items = [item for item in annotation["result"] or () if isinstance(item, dict)]
        pairs = [(item.get("type"), item.get("value")) for item in items]
    else:
        values = annotation.get(_CONTROL) or []
        if not isinstance(values, list):
            raise ParseError("bad_span", f"expected a list of spans under {_CONTROL!r}, found {type(values).__name__}")
        pairs = [(None, value) for value in values]
    return [(kind, value) for kind, value in pairs if isinstance(value, dict)]


def _is_region(kind: Any, value: Mapping[str, Any]) -> bool:
    """Whether something without labels is a marked part of the text, and no relation, nor a choice or note about one.

    These stand under the name of their kind; labels of other kinds are not read.
    """
    is_about = isinstance(kind, str) and kind in value and not kind.endswith("labels")
    return {"start", "end"} <= value.keys() and not is_about


def _fit(text: str, spans: Sequence[Span], quotes: Sequence[str | None], units: Sequence[str]) -> tuple[Span, ...]:
    """Spans in the first of some units in which they quote the text."""
    problem: ParseError | None = None
    for unit in units:
        try:
            moved = from_unit(text, spans, unit)
        except ParseError as error:
            problem = problem or error
            continue
        pairs = zip(moved, quotes, strict=True)
        if all(quote is None or _squeeze(text[start:end]) == _squeeze(quote) for (start, end, _), quote in pairs):
            return moved
    raise problem or ParseError("other_quotes", "expected spans with the text at their offsets, found another text")


def _squeeze(text: str) -> str:
    # It writes a line end within a span as a backslash and an n.
    return "".join(text.replace("\\n", "").split())
