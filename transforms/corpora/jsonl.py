"""JSON lines: an object per line."""

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from schemas.dead_letters import Imprint
from schemas.errors import ConfigError, ParseError
from schemas.slices import FileRef, Slice
from transforms.corpora.documents import (
    CorpusConfig,
    Part,
    Row,
    build_part,
    check_encoding,
    decode_id,
    read_lines,
    reject_long,
)
from transforms.corpora.files import open_stream
from transforms.corpora.gold import join_tokens, read_gold
from transforms.corpora.text import cut_lines

_PROBE_BYTES = 1 << 20
_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def describe_columns(file: FileRef, config: CorpusConfig) -> tuple[list[pa.Field], bool]:
    """Kept fields, strings all (values of other types are kept as JSON), and whether there is gold.

    Raises:
      ConfigError: the first object of the file lacks a key that the options name.
      FileError: the file cannot be read, or is UTF-16.
    """
    with open_stream(file) as stream:
        head = stream.read(_PROBE_BYTES)
    check_encoding(head, file.source)
    line = head.partition(b"\n")[0].removeprefix(b"\xef\xbb\xbf")
    if line.strip() and len(line) < _PROBE_BYTES:
        try:
            first = json.loads(line)
        except (ValueError, RecursionError):
            first = None
        if isinstance(first, dict):
            wanted = [config.text_column, config.id_column, config.gold_column, *config.keep_columns]
            if missing := [name for name in wanted if name and name not in first]:
                raise ConfigError(
                    f"expected keys {missing} in the first line of {file.source!r}, found {sorted(first)}; "
                    "set --text-column, --id-column, --gold-column or --keep-columns"
                )
    return [pa.field(name, pa.string()) for name in config.keep_columns], bool(config.gold_column)


def cut_slices(file: FileRef, config: CorpusConfig, slice_bytes: int) -> list[Slice]:
    """Cuts a file into runs of lines of about `slice_bytes`; errors as in `text.cut_slices`."""
    return cut_lines(file, "jsonl", slice_bytes)


def read_parts(slice_: Slice, config: CorpusConfig) -> Iterator[Part]:
    """A slice's documents in bounded parts; a line that holds something else than an object with a text is rejected."""
    fields = [pa.field(name, pa.string()) for name in config.keep_columns]
    most_bytes = _most_line_bytes(config)
    numbers = itertools.count(slice_.first_row)

    def build(lines: list[bytes | Imprint]) -> Part:
        rows = [_parse(line, next(numbers), config) for line in lines]
        return build_part(slice_, rows, fields, has_gold=bool(config.gold_column), has_tags=config.has_tags)

    with open_stream(slice_.file, start=slice_.start) as stream:
        yield from map(build, read_lines(stream, slice_, most_bytes))


def _most_line_bytes(config: CorpusConfig) -> int:
    """Escapes make a line longer than its text, and other keys may stand beside it."""
    return 2 * config.max_document_bytes + (1 << 20)


def _parse(line: bytes | Imprint, number: int, config: CorpusConfig) -> Row:
    nothing: Sequence[Any] = [None] * len(config.keep_columns)
    if isinstance(line, Imprint):
        return reject_long(Row(number, None, kept=nothing), line, _most_line_bytes(config))
    if not line.strip():
        # A blank line is a document without text, as it is in a text file.
        return Row(number, None, kept=nothing)
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        # The undecodable bytes go on as the text, so that the letter carries their digest.
        return Row(number, line, kept=nothing)
    except (ValueError, RecursionError) as error:
        where = (
            f"no JSON from character {error.pos} on ({error.msg.lower()})"
            if isinstance(error, json.JSONDecodeError)
            else "one nested too deeply or a number too long"
        )
        return Row(number, ParseError("bad_json", f"expected a JSON object, found {where}"), kept=nothing)
    if not isinstance(value, dict):
        return Row(number, ParseError("bad_json", f"expected a JSON object, found {_kind_of(value)}"), kept=nothing)
    try:
        return _to_row(value, number, config)
    except ParseError as error:
        return Row(number, error, id=_id_of(value, config), kept=nothing)


def _to_row(value: dict[str, Any], number: int, config: CorpusConfig) -> Row:
    """One object to a raw document.

    Raises:
      ParseError: its text or its gold annotations are missing or of another kind.
    """
    tokens = value.get(config.tokens_column) if config.tokens_column else None
    if config.text_column not in value and tokens is None:
        raise ParseError("missing_text", f"expected key {config.text_column!r}, found none")
    text = value.get(config.text_column)
    if text is not None and not isinstance(text, str):
        raise ParseError("bad_text", f"expected a string at {config.text_column!r}, found {_kind_of(text)}")
    gold = None
    if config.gold_column:
        try:
            text = join_tokens(tokens) if text is None and tokens is not None else text
            gold = read_gold(value.get(config.gold_column), text or "", tokens)
        except ValueError as error:
            raise ParseError("bad_gold", f"expected gold annotations at {config.gold_column!r}: {error}") from error
    kept = [_keep(value.get(name)) for name in config.keep_columns]
    return Row(number, text, id=_id_of(value, config), gold=gold, kept=kept)


def _id_of(value: dict[str, Any], config: CorpusConfig) -> str | None:
    return decode_id(value.get(config.id_column or "id"))


def _kind_of(value: Any) -> str:
    """What JSON calls a value.

    >>> _kind_of([1]), _kind_of(True), _kind_of(None)
    ('a list', 'true or false', 'null')
    """
    return _KINDS.get(type(value), "a number")


def _keep(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="backslashreplace").decode()
