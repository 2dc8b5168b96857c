"""What the formats share: the options of a corpus, and building tables of documents from raw rows."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from schemas.dead_letters import dead_letter
from schemas.documents import DOCUMENT_FIELDS, GOLD_TYPE, TAGS_TYPE
from schemas.errors import ConfigError, ParseError
from schemas.slices import Slice
from transforms.corpora.gold import Gold

PART_BYTES = 4 << 20
PART_ROWS = 1 << 16
"""A part ends at whichever comes first, for empty documents take memory too."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """How documents are found in files.

    Attributes:
      format: auto, parquet, jsonl, text or conll; auto goes by suffix.
      text_column: column or key that holds the text.
      id_column: column or key that holds the id; empty takes `id` where there is one and else `file#row`.
      gold_column: column or key with gold spans, or tags; empty for none. CoNLL tags are always gold.
      tokens_column: column or key with the tokens that gold tags belong to; where there is no text column, the text is
        the tokens with spaces between.
      has_tags: whether gold tags are wanted beside the spans made of them.
      keep_columns: columns or keys copied to the output.
      document_per_file: a text file is one document instead of one per line.
      conll_columns: which columns of a CoNLL file hold token and tag, such as `0,3`; auto guesses.
    """

    format: str = "auto"
    text_column: str = "text"
    id_column: str = ""
    gold_column: str = ""
    tokens_column: str = ""
    has_tags: bool = False
    keep_columns: tuple[str, ...] = ()
    document_per_file: bool = False
    conll_columns: str = "auto"

    def __post_init__(self) -> None:
        if self.format not in ("auto", "parquet", "jsonl", "text", "conll"):
            raise ConfigError(f"expected a format of auto, parquet, jsonl, text, conll, found {self.format!r}")
        if self.tokens_column and not self.gold_column:
            raise ConfigError(f"expected --gold-column with --tokens-column {self.tokens_column!r}, found none")
        if len(set(self.keep_columns)) != len(self.keep_columns):
            raise ConfigError(f"expected each of --keep-columns once, found {list(self.keep_columns)}")
        taken = {"id", "source", "row", "digest", "entities", "below", "windows", "tokens", "model"}
        if clash := sorted(taken & set(self.keep_columns)):
            raise ConfigError(
                f"expected kept columns with names of their own, found {clash}; the output has them already"
            )


@dataclasses.dataclass(frozen=True)
class Part:
    """A bounded piece of a slice.

    Attributes:
      documents: table of documents (see schemas.documents) that can be annotated.
      rejects: dead letters of the rows that cannot.
    """

    documents: pa.Table
    rejects: tuple[dict[str, object], ...] = ()


@dataclasses.dataclass
class Row:
    """One raw document.

    Attributes:
      number: position in the file.
      text: the text, its undecoded bytes, or the reason why there is none.
      id: the document's own id, if it has one.
      gold: gold annotations, or None.
      kept: values of the kept columns.
    """

    number: int
    text: str | bytes | ParseError | None
    id: str | None = None
    gold: Gold | None = None
    kept: Sequence[Any] = ()


def build_part(
    slice_: Slice, rows: Sequence[Row], kept_fields: Sequence[pa.Field], *, has_gold: bool, has_tags: bool = False
) -> Part:
    """Raw rows to a table of documents and the dead letters of rows that have no readable text."""
    good: list[Row] = []
    texts: list[str | None] = []
    rejects = []
    for row in rows:
        try:
            texts.append(decode_text(row.text))
            good.append(row)
        except ParseError as error:
            raw = row.text if isinstance(row.text, bytes) else None
            id_ = _document_id(slice_, row)
            rejects.append(
                dead_letter(slice_.file.source, error, stage="read", row=row.number, document_id=id_, text=raw)
            )
    columns = [
        pa.array([_document_id(slice_, row) for row in good], pa.string()),
        pa.array([row.number for row in good], pa.int64()),
        pa.array(texts, pa.large_string()),
    ]
    fields = list(DOCUMENT_FIELDS)
    if has_gold:
        columns.append(pa.array([row.gold and row.gold.spans for row in good], GOLD_TYPE))
        fields.append(pa.field("gold", GOLD_TYPE))
    if has_tags:
        columns.append(pa.array([row.gold and row.gold.tags for row in good], TAGS_TYPE))
        fields.append(pa.field("tags", TAGS_TYPE))
    for position, field in enumerate(kept_fields):
        columns.append(pa.array([row.kept[position] for row in good], field.type))
        fields.append(field)
    return Part(pa.table(columns, schema=pa.schema(fields)), tuple(rejects))


def decode_text(text: str | bytes | ParseError | None) -> str | None:
    """Raw text to a string that Arrow and tokenizers can hold.

    Raises:
      ParseError: the bytes are no UTF-8, or the string holds lone surrogates.
    """
    if isinstance(text, ParseError):
        raise text
    if isinstance(text, bytes):
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise ParseError(
                "bad_utf8", f"expected UTF-8, found byte 0x{text[error.start]:02x} at {error.start}"
            ) from None
    if text is not None:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ParseError(
                "lone_surrogate",
                f"expected Unicode scalar values, found U+{ord(text[error.start]):04X} at {error.start}",
            ) from None
    return text


def decode_id(value: Any) -> str | None:
    """An id of any type as a string; unreadable bytes are escaped, for an id only names."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    text = json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
    return text.encode(errors="backslashreplace").decode()


def read_lines(stream: Any, n_bytes: int) -> Iterator[list[bytes]]:
    """The next `n_bytes` of a stream as blocks of whole lines without their line ends.

    A block holds about PART_BYTES and at most PART_ROWS.

    Raises:
      EOFError: the stream ends before `n_bytes`.
    """
    pending: list[bytes] = []
    remaining = n_bytes
    while remaining:
        chunk = stream.read(min(remaining, PART_BYTES))
        if not chunk:
            raise EOFError(f"expected {n_bytes} bytes, found {n_bytes - remaining}")
        remaining -= len(chunk)
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            lines = b"".join([*pending, head]).split(b"\n")
            for begin in range(0, len(lines), PART_ROWS):
                yield [line.removesuffix(b"\r") for line in lines[begin : begin + PART_ROWS]]
            pending = [tail] if tail else []
        else:
            pending.append(tail)
    if pending:
        yield [b"".join(pending).removesuffix(b"\r")]


def _document_id(slice_: Slice, row: Row) -> str:
    return row.id if row.id is not None else f"{slice_.file.source}#{row.number}"
