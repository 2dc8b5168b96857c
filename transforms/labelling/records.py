"""What the formats share: files of JSON records, and spans in a tool's own unit of offsets."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from schemas.errors import ConfigError, ParseError
from schemas.selections import Span
from transforms.text.offsets import convert_offsets, restore_offsets

_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"\x28\xb5\x2f\xfd")


def load_records(content: bytes, source: str) -> list[dict[str, Any]]:
    """A file of JSON to its records: an array, or an object per line.

    Raises:
      ConfigError: it is neither.
    """
    text = decode(content, source)
    if text.lstrip().startswith("["):
        records = _parse(text, 1, source)
    else:
        records = [_parse(line, number, source) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if strange := [record for record in records if not isinstance(record, dict)]:
        raise ConfigError(f"expected JSON objects in {source!r}, found {type(strange[0]).__name__}")
    return list(records)


def decode(content: bytes, source: str) -> str:
    """The text of a file in UTF-8.

    Raises:
      ConfigError: it is something else, with the place of the first byte that is wrong.
    """
    if content.startswith(_ARCHIVES):
        raise ConfigError(f"expected text in {source!r}, found an archive; unpack it first")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The mark that may stand in front is no part of what is decoded.
        at = error.start + len(content) - len(error.object)
        line = content.count(b"\n", 0, at) + 1
        raise ConfigError(f"expected UTF-8 in {source!r}, found a bad byte at {at}, in line {line}") from None


def _parse(text: str, first: int, source: str) -> Any:
    """JSON that begins in some line of a file to its value."""
    try:
        return json.loads(text)
    except ValueError as error:
        place = ""
        if isinstance(error, json.JSONDecodeError):
            place = f" at line {first + error.lineno - 1}, column {error.colno}: {error.msg}"
        raise ConfigError(
            f"expected an array of JSON objects or one per line in {source!r}, found a break{place}; export it again"
        ) from None


def dump_lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Records to a file with one JSON object per line."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def read_text(record: Mapping[str, Any], *keys: str) -> str:
    """The text of a record under the first of some keys that it has.

    Raises:
      ParseError: there is none, or it is not text that can be written.
    """
    value = next((record[key] for key in keys if key in record), None)
    if not isinstance(value, str):
        raise ParseError("no_text", f"expected a text under {keys[0]!r}, found {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ParseError("no_text", "expected Unicode scalar values in the text, found a lone surrogate") from None
    return value


def read_name(value: Any) -> str:
    """A name, number or nothing, as a tool gives it, as text."""
    return "" if value is None else str(value)


def read_span(start: Any, end: Any, label: Any) -> Span:
    """Values of a record as a span.

    Raises:
      ParseError: they are of other types.
    """
    # A tool may write whole numbers as 3.0; a bool is an int to Python and no offset.
    places = [int(value) if isinstance(value, float) and value.is_integer() else value for value in (start, end)]
    if not all(type(place) is int for place in places) or not isinstance(label, str) or not label:
        found = ", ".join(type(value).__name__ for value in (start, end, label))
        raise ParseError("bad_span", f"expected two whole numbers and a label in each span, found {found}")
    return places[0], places[1], label


def to_unit(text: str, spans: Sequence[Span], unit: str) -> list[Span]:
    """Spans in code points to a tool's unit."""
    places = convert_offsets(text, np.array([span[:2] for span in spans], dtype=np.int64).reshape(-1, 2), unit)
    return [(start, end, label) for (start, end), (_, _, label) in zip(places.tolist(), spans, strict=True)]


def from_unit(text: str, spans: Sequence[Span], unit: str) -> tuple[Span, ...]:
    """Spans in a tool's unit to code points.

    Raises:
      ParseError: one does not begin and end between characters of the text.
    """
    offsets = np.array([span[:2] for span in spans], dtype=np.int64).reshape(-1)
    try:
        places = restore_offsets(text, offsets, unit).reshape(-1, 2).tolist()
    except ValueError as error:
        raise ParseError("bad_offsets", f"{error}; another --offset-unit may be right") from None
    return tuple((start, end, label) for (start, end), (_, _, label) in zip(places, spans, strict=True))
