"""Dictionary files to names with labels.

A CSV (or TSV) file has a header with `name` and `label` among its columns, or no header and just these two. A JSON
lines file has an object with both on each line. Whatever else stands beside them is passed over.
"""

import csv
import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from schemas.errors import ConfigError, PipelineError
from schemas.labels import OUTSIDE
from schemas.slices import FileRef, display_text, display_uri
from transforms.corpora.compression import suffix_of
from transforms.corpora.files import list_files, open_stream
from transforms.models.gazetteer.options import GazetteerOptions

_COLUMNS = ("name", "label")
# Controls mark what is looked for in; half a surrogate pair is no character.
_UNREADABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

Row = tuple[int, Any, Any]
"""Line, name and label, as they stand in a file."""


@dataclasses.dataclass(frozen=True)
class Dictionary:
    """Names with their labels, each once, with single spaces inside.

    Attributes:
      exact: names that are found as they are written.
      folded: names that are found whatever their case, case-folded.
      conflicts: entries left out because an earlier one gives their name another label.
      short: entries left out because they are too short.
    """

    exact: dict[str, str]
    folded: dict[str, str]
    conflicts: int
    short: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(sorted({*self.exact.values(), *self.folded.values()}))


def read_dictionary(options: GazetteerOptions) -> Dictionary:
    """Files to the names in them.

    Where a name has two labels, the first in the order of files and rows holds; the rest are counted.

    Raises:
      ConfigError: a file is not there, cannot be read or has a bad line, which is named; or there is no name.
    """
    exact: dict[str, str] = {}
    folded: dict[str, str] = {}
    conflicts = short = 0
    for name, label in _read_files(options.file):
        if len(name) < options.min_length:
            short += 1
            continue
        is_folded = options.case == "fold" or (options.case == "smart" and name.islower())
        names, key = (folded, name.casefold()) if is_folded else (exact, name)
        conflicts += names.setdefault(key, label) != label
    if not exact and not folded:
        found = f"{short} that are shorter than min_length {options.min_length}" if short else "none"
        raise ConfigError(f"expected names in {list(map(display_uri, options.file))}, found {found}")
    return Dictionary(exact, folded, conflicts, short)


def _read_files(patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not patterns:
        raise ConfigError("expected a file of names for the gazetteer, found none; set file=FILE")
    # Pattern by pattern, so that a person's order decides which of two labels holds.
    files = dict.fromkeys(file for pattern in patterns for file in list_files([pattern], flag="file of the gazetteer"))
    for file in files:
        yield from _read_file(file)


def _read_file(file: FileRef) -> Iterator[tuple[str, str]]:
    suffix = suffix_of(file.uri)
    if suffix not in _FORMATS:
        raise ConfigError(
            f"expected a dictionary of names with suffix {', '.join(_FORMATS)}, found {file.source!r}; rename it"
        )
    line = 0
    try:
        with open_stream(file) as stream:
            for line, name, label in _FORMATS[suffix](stream):  # noqa: B007 - named in errors
                yield _clean(name, "name"), _clean_label(label)
    except _BadLineError as error:
        raise ConfigError(f"expected {error.expected} in {file.source!r} line {error.line or line}") from error
    except PipelineError as error:
        raise ConfigError(str(error)) from error
    except Exception as error:
        # Every file system has its own errors: no credentials, no such host, no such protocol.
        reason = getattr(error, "strerror", None) or display_text(str(error))
        raise ConfigError(f"cannot read {file.source!r}: {reason or type(error).__name__}") from error


class _BadLineError(Exception):
    """A line that is not what its format promises; `line` is 0 where the reader of the file knows it."""

    def __init__(self, expected: str, line: int = 0) -> None:
        super().__init__(expected)
        self.expected = expected
        self.line = line


def _clean(value: Any, what: str) -> str:
    """A name or label with single spaces inside and none around it."""
    if not isinstance(value, str):
        raise _BadLineError(f"a string as {what}, found {'none' if value is None else type(value).__name__}")
    cleaned = " ".join(value.split())
    if not cleaned:
        raise _BadLineError(f"a {what}, found an empty one")
    if _UNREADABLE.search(cleaned):
        raise _BadLineError(f"a {what} of printable characters, found a control character or half a surrogate pair")
    return cleaned


def _clean_label(value: Any) -> str:
    label = _clean(value, "label")
    if label == OUTSIDE:
        raise _BadLineError(f"a label other than {OUTSIDE!r}, which stands for no entity, found it")
    return label


def _decode_lines(stream: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise _BadLineError("UTF-8, found other bytes", number) from None


def _read_jsonl(stream: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(_decode_lines(stream), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise _BadLineError("a JSON object with name and label, found no JSON", number) from None
        if not isinstance(value, dict):
            raise _BadLineError("a JSON object with name and label, found another value", number)
        yield number, value.get("name"), value.get("label")


def _read_csv(stream: BinaryIO) -> Iterator[Row]:
    return _read_table(stream, ",")


def _read_tsv(stream: BinaryIO) -> Iterator[Row]:
    return _read_table(stream, "\t")


def _read_table(stream: BinaryIO, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(_decode_lines(stream), delimiter=delimiter, strict=True)
    at_name, at_label, width = 0, 1, 0
    try:
        for row in reader:
            if not row:
                continue
            if not width:
                width = len(row)
                titles = [title.strip().lower() for title in row]
                if {*_COLUMNS} <= {*titles}:
                    at_name, at_label = map(titles.index, _COLUMNS)
                    continue
                if width != 2:
                    raise _BadLineError(
                        f"a header with name and label, or just these two columns, found {width} columns and no such "
                        "header",
                        reader.line_num,
                    )
            if len(row) != width:
                raise _BadLineError(f"{width} columns, found {len(row)}", reader.line_num)
            yield reader.line_num, row[at_name], row[at_label]
    except csv.Error as error:
        raise _BadLineError(f"{'TSV' if delimiter != ',' else 'CSV'}, found none ({error})", reader.line_num) from error


_FORMATS: dict[str, Callable[[BinaryIO], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
}
