"""Parquet: a row per document, slices of whole row groups."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import ConfigError, FileError, ParseError
from schemas.slices import FileRef, Slice
from transforms.corpora.documents import (
    PART_BYTES,
    PART_ROWS,
    CorpusConfig,
    Part,
    Row,
    build_part,
    decode_id,
)
from transforms.corpora.files import open_file
from transforms.corpora.gold import join_tokens, read_gold
from transforms.workers.threads import THREADS

_MOST_ROWS = 1024


def describe_columns(file: FileRef, config: CorpusConfig) -> tuple[list[pa.Field], bool]:
    """Kept fields with their own types, and whether there is gold.

    Raises:
      ConfigError: a column is missing, or the text column holds no text.
      FileError: the file is no Parquet file.
    """
    schema = _read_footer(file).schema
    wanted = [_text_source(schema, config), config.id_column, config.gold_column, config.tokens_column]
    wanted += config.keep_columns
    if missing := [name for name in wanted if name and schema.get_field_index(name) < 0]:
        raise ConfigError(
            f"expected columns {missing} in {file.source!r}, found {schema.names}; "
            "set --text-column, --id-column, --gold-column, --tokens-column or --keep-columns"
        )
    text_type = schema.field(_text_source(schema, config)).type
    if not _holds_text(text_type) and _text_source(schema, config) == config.text_column:
        raise ConfigError(
            f"expected text in column {config.text_column!r} of {file.source!r}, found {text_type}; set --text-column"
        )
    return [schema.field(name) for name in config.keep_columns], bool(config.gold_column)


def cut_slices(file: FileRef, config: CorpusConfig, slice_bytes: int) -> list[Slice]:
    """Cuts a file into runs of row groups, all about the same and of about `slice_bytes` at most, by its footer.

    The footer's account is that of all columns. That of the column of texts alone would be nearer, but asking Arrow for
    it ends the process where a footer is damaged.

    Raises:
      FileError: the file has no readable footer.
    """
    sizes = _read_footer(file).sizes
    total = max(1, sum(n_bytes for _, n_bytes in sizes))
    n_cuts = -(-total // slice_bytes)
    slices = []
    begin = first_row = rows = size = read = passed = 0
    for index, (n_rows, n_bytes) in enumerate(sizes):
        rows, size, read = rows + n_rows, size + n_bytes, read + n_bytes
        # Of the places where equal slices would end, another is behind.
        if rows and (read * n_cuts // total > passed or index == len(sizes) - 1):
            slices.append(Slice(file, "parquet", begin, index + 1, first_row, rows, text_bytes=size))
            begin, first_row, rows, size, passed = index + 1, first_row + rows, 0, 0, read * n_cuts // total
    return slices


def read_parts(slice_: Slice, config: CorpusConfig) -> Iterator[Part]:
    """A slice's documents in bounded parts.

    Row groups are read in batches of rows, because a footer's sizes cannot bound what a dictionary expands to.

    Raises:
      FileError: the file breaks while it is read.
    """
    groups = range(slice_.start, slice_.end)
    number = slice_.first_row
    pending: list[Row] = []
    n_bytes = 0
    with _open(slice_.file) as parquet:
        schema = parquet.schema_arrow
        id_column = config.id_column or ("id" if "id" in schema.names else "")
        text_source = _text_source(schema, config)
        names = [text_source, id_column, config.gold_column, config.tokens_column, *config.keep_columns]
        fields = [schema.field(name) for name in config.keep_columns]
        has_gold = bool(config.gold_column)
        columns = list(dict.fromkeys(name for name in names if name))
        batch_rows = _batch_rows(parquet, groups)
        for batch in parquet.iter_batches(batch_size=batch_rows, row_groups=list(groups), columns=columns):
            rows = _to_rows(batch, number, id_column, config)
            number += len(rows)
            pending += rows
            n_bytes += sum(len(row.text) for row in rows if isinstance(row.text, str | bytes))
            if n_bytes >= PART_BYTES or len(pending) >= PART_ROWS:
                yield build_part(slice_, pending, fields, has_gold=has_gold, has_tags=config.has_tags)
                pending, n_bytes = [], 0
        if pending:
            yield build_part(slice_, pending, fields, has_gold=has_gold, has_tags=config.has_tags)


class _Footer(NamedTuple):
    """What planning wants of a footer: the schema, and rows and bytes of each row group."""

    schema: pa.Schema
    sizes: tuple[tuple[int, int], ...]


@functools.lru_cache(2 * THREADS)
def _read_footer(file: FileRef) -> _Footer:
    """The footer of a file, read once for the columns and for the cut, since each reading may be a request or two."""
    with _open(file) as parquet:
        metadata = parquet.metadata
        groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
        return _Footer(parquet.schema_arrow, tuple((group.num_rows, group.total_byte_size) for group in groups))


@contextmanager
def _open(file: FileRef) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file with page checksums verified, errors as in `open_file`."""
    try:
        with open_file(file) as raw:
            yield pq.ParquetFile(raw, page_checksum_verification=True)
    except UnicodeDecodeError as error:
        # Arrow leaves it to Python to find out that a name in the footer is no text.
        message = (
            f"cannot read {file.source!r} to its end: expected UTF-8 in names, found byte {error.start} to be none"
        )
        raise FileError("file_unreadable", message) from error


def _holds_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary)
    return any(check(type_) for check in (*checks, pa.types.is_large_binary)) or pa.types.is_null(type_)


def _text_source(schema: pa.Schema, config: CorpusConfig) -> str:
    """The column that texts are read from: that of the tokens, when there is none of texts."""
    if config.tokens_column and schema.get_field_index(config.text_column) < 0:
        return config.tokens_column
    return config.text_column


def _batch_rows(parquet: pq.ParquetFile, groups: range) -> int:
    row_groups = [parquet.metadata.row_group(group) for group in groups]
    n_rows: int = sum(group.num_rows for group in row_groups)
    n_bytes: int = sum(group.total_byte_size for group in row_groups)
    return max(1, min(_MOST_ROWS, PART_BYTES * n_rows // max(n_bytes, 1)))


def _to_rows(batch: pa.RecordBatch, number: int, id_column: str, config: CorpusConfig) -> list[Row]:
    tokens = _to_annotations(batch.column(config.tokens_column)) if config.tokens_column else [None] * batch.num_rows
    has_texts = config.text_column in batch.schema.names
    texts = _to_texts(batch.column(config.text_column)) if has_texts else [None] * batch.num_rows
    ids = _to_values(batch.column(id_column)) if id_column else [None] * len(texts)
    golds = _to_annotations(batch.column(config.gold_column)) if config.gold_column else [None] * len(texts)
    kept = [_to_values(batch.column(name)) for name in config.keep_columns]
    rows = []
    for at, (text, id_, gold) in enumerate(zip(texts, ids, golds, strict=True)):
        row = Row(number + at, text, id=decode_id(id_), kept=[column[at] for column in kept])
        if config.gold_column and not isinstance(text, bytes):
            try:
                row.text = join_tokens(tokens[at]) if text is None and tokens[at] is not None else text
                row.gold = read_gold(gold, row.text or "", tokens[at])
            except ValueError as error:
                row.text = ParseError(
                    "bad_gold", f"expected gold annotations in column {config.gold_column!r}: {error}"
                )
        rows.append(row)
    return rows


def _to_texts(column: pa.Array) -> list[str | bytes | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        texts = column.to_pylist()
    except UnicodeDecodeError:
        # One row of invalid UTF-8 must not take the others along.
        texts = column.cast(pa.large_binary()).to_pylist()
    return [_decode_or_keep(text) if isinstance(text, bytes) else text for text in texts]


def _decode_or_keep(text: bytes) -> str | bytes:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _to_annotations(column: pa.Array) -> list[Any]:
    """Values of a column; in place of one with invalid UTF-8 come bytes, which are no annotations."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        return [_decode_or_drop(value) for value in column]


def _decode_or_drop(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return b""


def _to_values(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode(errors="backslashreplace") for value in raw]
    except ValueError:
        # Python has no nanoseconds; Arrow's scalars do.
        return list(column)
