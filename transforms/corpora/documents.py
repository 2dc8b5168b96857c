"""What the formats share: the options of a corpus, and building tables of documents from raw rows."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from schemas.dead_letters import Imprint, dead_letter
from schemas.documents import DOCUMENT_FIELDS, GOLD_TYPE, TAGS_TYPE, kept_column
from schemas.errors import ConfigError, ParseError
from schemas.slices import Slice
from transforms.corpora.gold import Gold

PART_BYTES = 4 << 20
PART_ROWS = 1 << 16
"""A part ends at whichever comes first, for empty documents take memory too."""

_BOM = b"\xef\xbb\xbf"


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
      max_document_bytes: readers of text and JSON lines never hold more of a document, and reject a longer one.
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
    max_document_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        if self.format not in ("auto", "parquet", "jsonl", "text", "conll"):
            raise ConfigError(f"expected a format of auto, parquet, jsonl, text, conll, found {self.format!r}")
        if self.tokens_column and not self.gold_column:
            raise ConfigError(f"expected --gold-column with --tokens-column {self.tokens_column!r}, found none")
        if len(set(self.keep_columns)) != len(self.keep_columns):
            raise ConfigError(f"expected each of --keep-columns once, found {list(self.keep_columns)}")
        taken = {"id", "source", "row", "digest", "entities", "below", "windows", "tokens", "model"}
        # Where several taggers annotate, each has a column of its own.
        taken |= {name for name in self.keep_columns if name.startswith(("entities_", "below_"))}
        if clash := sorted(taken & set(self.keep_columns)):
            raise ConfigError(
                f"expected kept columns with names of their own, found {clash}; the output has them already"
            )

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name, but for the limit, which the entities' settings hold."""
        settings = dataclasses.asdict(self)
        del settings["max_document_bytes"]
        return settings


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
      imprint: what is told of a text that is not held.
    """

    number: int
    text: str | bytes | ParseError | None
    id: str | None = None
    gold: Gold | None = None
    kept: Sequence[Any] = ()
    imprint: Imprint | None = None


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
            raw = row.text if isinstance(row.text, bytes) else row.imprint
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
        fields.append(field.with_name(kept_column(field.name)))
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


def reject_long(row: Row, imprint: Imprint, most_bytes: int) -> Row:
    """A row whose text was passed over."""
    message = f"expected {most_bytes} bytes at most, found {imprint.size_bytes}"
    return dataclasses.replace(row, text=ParseError("too_large", message), imprint=imprint)


def read_lines(stream: Any, slice_: Slice, most_bytes: int) -> Iterator[list[bytes | Imprint]]:
    """The lines of a slice in blocks, without their ends and the file's byte-order mark.

    A block holds about PART_BYTES and at most PART_ROWS. Of a line of more than `most_bytes` only the imprint is left.

    Raises:
      EOFError: the stream ends before the slice does.
    """
    line = _OpenText(most_bytes)
    for chunk in _read_chunks(stream, slice_):
        first, *others = chunk.split(b"\n")
        line.add(first)
        if others:
            last = others.pop()
            lines = [line.close(b"\r"), *(_bound(other.removesuffix(b"\r"), most_bytes) for other in others)]
            line = _OpenText(most_bytes)
            if last:
                line.add(last)
            while lines:
                yield _take(lines, PART_ROWS)
    if line.is_begun:
        yield [line.close(b"\r")]


def read_whole(stream: Any, slice_: Slice, most_bytes: int) -> bytes | Imprint:
    """A slice as one text, or of one with more than `most_bytes` the imprint; errors as in `read_lines`."""
    text = _OpenText(most_bytes)
    for chunk in _read_chunks(stream, slice_):
        text.add(chunk)
    return text.close()


class _OpenText:
    """A text that is read piece by piece; of one that grows too long only the imprint is kept."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._pieces: list[bytes] = []
        self._n_bytes = 0
        self._sha256 = hashlib.sha256()
        self._held = b""

    @property
    def is_begun(self) -> bool:
        return bool(self._pieces or self._n_bytes)

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._n_bytes += len(piece)
        # One byte more, which may turn out to be of the line's end.
        if self._n_bytes > self._most_bytes + 1:
            for passed in self._pieces:
                known = self._held + passed
                self._sha256.update(known[:-1])
                self._held = known[-1:]
            self._pieces = []

    def close(self, end: bytes = b"") -> bytes | Imprint:
        """The text, or its imprint, without its end."""
        if self._n_bytes <= self._most_bytes + 1:
            return _bound(b"".join(self._pieces).removesuffix(end), self._most_bytes)
        last = self._held.removesuffix(end)
        self._sha256.update(last)
        return Imprint(self._sha256.hexdigest(), self._n_bytes - len(self._held) + len(last))


def _read_chunks(stream: Any, slice_: Slice) -> Iterator[bytes]:
    remaining = n_bytes = slice_.end - slice_.start
    while remaining:
        chunk = stream.read(min(remaining, PART_BYTES))
        if not chunk:
            raise EOFError(f"expected {n_bytes} bytes, found {n_bytes - remaining}")
        is_first = slice_.start == 0 and remaining == n_bytes
        remaining -= len(chunk)
        yield chunk.removeprefix(_BOM) if is_first else chunk


def _bound(text: bytes, most_bytes: int) -> bytes | Imprint:
    return text if len(text) <= most_bytes else Imprint.of(text)


def _take(lines: list[bytes | Imprint], n_lines: int) -> list[bytes | Imprint]:
    """Takes the first lines out of a list, so that nobody holds them longer than they are needed."""
    taken = lines[:n_lines]
    del lines[:n_lines]
    return taken


def _document_id(slice_: Slice, row: Row) -> str:
    return row.id if row.id is not None else f"{slice_.file.source}#{row.number}"
