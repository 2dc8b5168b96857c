"""CoNLL columns: a token per line, sentences between blank lines.

    # newdoc id = a        comments of CoNLL-U style files: a document begins, a sentence's own text
    # text = Anna slept.
    1   Anna    B-PER  -   with an index in column 1, token and tag are columns 2 and 3
    Anna B-PER             else they are the first and the last, split at tabs where there are any
    -DOCSTART- -X- O O     a document begins

    Anna B-PER I-PER       gold and predicted tags side by side: the last two columns

Without marks of documents every sentence is one. A document's text is its sentences joined by line ends; a sentence's
text is its `# text` when the tokens are found in it, else the tokens joined by spaces. Tags of any scheme are read by
the rules of conlleval.
"""

import codecs
import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from schemas.errors import ConfigError, FileError
from schemas.labels import OUTSIDE
from schemas.slices import FileRef, Slice
from transforms.corpora.compression import CHUNK_BYTES
from transforms.corpora.documents import PART_BYTES, CorpusConfig, Part, Row, build_part, check_encoding
from transforms.corpora.files import open_stream
from transforms.corpora.gold import Gold, place_tokens, tag_tokens
from transforms.tags.decode import decode_tags

_COMMENT = re.compile(r"#\s*((newdoc|newpar)(\s|$)|[\w.:-]+\s*=)")
_DOCUMENT_ID = re.compile(r"#\s*newdoc(?:\s+id)?\s*=\s*(.+)")
_TEXT = re.compile(r"#\s*text\s*=\s?(.*)")
_DOCSTART = "-DOCSTART-"
_MARK = re.compile(rb"-DOCSTART-|^#\s*newdoc(\s|$)", re.MULTILINE)
_BLANK = " \t\r\n"


class _Opening(Protocol):
    @property
    def opens_document(self) -> bool:
        """Whether a mark of a new document stands before it."""


AnySentence = TypeVar("AnySentence", bound=_Opening)


@dataclasses.dataclass(frozen=True)
class Sentence:
    """A sentence of words with their tags.

    Attributes:
      words: its tokens.
      tags: a tag per word; empty when the file has one column.
      text: the sentence's own text, empty when the file does not give one.
      opens_document: whether a mark of a new document stands before it.
      document_id: the id on that mark.
      line: line of its first word, from 1.
      predicted_tags: as `tags`, from a second column of them; empty when none was asked for.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    text: str = ""
    opens_document: bool = False
    document_id: str = ""
    line: int = 0
    predicted_tags: tuple[str, ...] = ()

    @functools.cached_property
    def spans(self) -> list[tuple[int, int, str]]:
        """Entities as (first, last, label) over words, `last` exclusive."""
        return decode_tags(self.tags)


def parse_sentences(
    lines: Iterable[str],
    *,
    source: str,
    columns: str = "auto",
    has_predicted: bool = False,
    short_lines: list[int] | None = None,
) -> Iterator[Sentence]:
    """Lines of a file to its sentences.

    Args:
      lines: lines with or without their ends.
      source: name of the file for messages.
      columns: `TOKEN,TAG` positions from 0, negative from the end, or auto.
      has_predicted: whether a second column of tags stands beside the first; `TOKEN,TAG,TAG` then, or auto.
      short_lines: takes the lines with fewer columns than their sentence's first, which are filled up with O then;
        None refuses them.

    Raises:
      FileError: a line has fewer columns than the sentence's first.
    """
    chosen = parse_columns(columns, n_columns=3 if has_predicted else 2)
    pending = _Pending(has_predicted)
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            # A line that begins with a word is not blank; most do, and need no further look.
            is_filled = line[0] > " " or line.strip(_BLANK)
            cells = line.rstrip("\r\n").split("\t") if is_filled else []
        elif line.lstrip(_BLANK).startswith("#") and _COMMENT.match(line.strip(_BLANK)):
            pending.read_comment(line.rstrip("\r\n"))
            continue
        else:
            cells = [cell for cell in line.strip(_BLANK).split(" ") if cell]
        if cells and cells[0] != _DOCSTART:
            if not pending.rows:
                pending.line = number
            pending.rows.append(cells)
            continue
        if pending.rows:
            yield pending.build(chosen, source, short_lines)
            pending = _Pending(has_predicted)
        pending.opens_document |= bool(cells)
    if pending.rows:
        yield pending.build(chosen, source, short_lines)


def parse_columns(columns: str, *, n_columns: int = 2) -> tuple[int, ...] | None:
    """`TOKEN,TAG`, or `TOKEN,TAG,TAG` when three are wanted, to positions; None for auto.

    Raises:
      ConfigError: it is neither.
    """
    if columns == "auto":
        return None
    try:
        positions = tuple(int(part) for part in columns.split(","))
    except ValueError:
        positions = ()
    if len(positions) != n_columns:
        example = "two positions such as 0,3" if n_columns == 2 else "three positions such as 0,-2,-1"
        raise ConfigError(f"expected --conll-columns auto or {example}, found {columns!r}")
    return positions


def describe_columns(file: FileRef, config: CorpusConfig) -> tuple[list[pa.Field], bool]:
    """Kept fields (none), and whether the words carry tags.

    Raises:
      ConfigError: columns of a table are asked for.
    """
    if wanted := [name for name in (config.id_column, config.gold_column, *config.keep_columns) if name]:
        raise ConfigError(f"expected no column options for CoNLL file {file.source!r}, found {wanted}")
    with open_stream(file) as stream:
        head = stream.read(1 << 20)
    check_encoding(head, file.source)
    lines = head.decode("utf-8-sig", errors="replace").split("\n")
    sentences = parse_sentences(lines, source=file.source, columns=config.conll_columns)
    return [], bool((first := next(sentences, None)) and first.tags)


def cut_slices(file: FileRef, config: CorpusConfig, slice_bytes: int) -> list[Slice]:
    """A file as one slice, since its documents are counted by parsing it.

    Raises:
      FileError: the file cannot be read to its end, or a line lacks a column.
    """
    rows = sum(1 for _ in read_documents(file, config))
    return [Slice(file, "conll", 0, rows, 0, rows, text_bytes=file.size_bytes)] if rows else []


def read_parts(slice_: Slice, config: CorpusConfig) -> Iterator[Part]:
    """A file's documents with their gold spans, in bounded parts."""
    pending: list[Row] = []
    n_bytes = 0
    has_gold = describe_columns(slice_.file, config)[1]
    for number, sentences in enumerate(read_documents(slice_.file, config)):
        text, gold = join_sentences(sentences)
        pending.append(Row(number, text, id=sentences[0].document_id or None, gold=gold if has_gold else None))
        n_bytes += len(text)
        if n_bytes >= PART_BYTES:
            yield build_part(slice_, pending, (), has_gold=has_gold, has_tags=config.has_tags)
            pending, n_bytes = [], 0
    if pending:
        yield build_part(slice_, pending, (), has_gold=has_gold, has_tags=config.has_tags)


def join_sentences(sentences: Sequence[Sentence]) -> tuple[str, Gold]:
    """Sentences to one text with gold annotations in code points.

    >>> text, gold = join_sentences([Sentence(("Anna", "slept"), ("B-PER", "O"))])
    >>> text, gold.spans
    ('Anna slept', [{'start': 0, 'end': 4, 'label': 'PER'}])
    """
    texts, base = [], 0
    spans: list[dict[str, Any]] = []
    tags: list[dict[str, Any]] = []
    for sentence in sentences:
        text, places = place_words(sentence)
        if sentence.tags:
            own = tag_tokens([(base + start, base + end) for start, end in places], sentence.tags)
            spans += own.spans
            tags += own.tags or ()
        texts.append(text)
        base += len(text) + 1
    return "\n".join(texts), Gold(spans, tags)


def place_words(sentence: Sentence) -> tuple[str, list[tuple[int, int]]]:
    """A sentence to its text and the (start, end) of its words there, in code points."""
    for text in (sentence.text, " ".join(sentence.words)):
        places = place_tokens(sentence.words, text)
        if places is not None:
            return text, places
    raise AssertionError("words joined by spaces contain every word")


def read_documents(file: FileRef, config: CorpusConfig, *, has_predicted: bool = False) -> Iterator[list[Sentence]]:
    """A file to its documents, each a list of sentences; `has_predicted` as in `parse_sentences`.

    Raises:
      FileError: the file cannot be read to its end, is no UTF-8, or a line lacks a column.
    """
    with open_stream(file) as stream:
        is_marked = _holds_marks(stream)
    with open_stream(file) as stream:
        lines = _decode_lines(stream, file.source)
        columns = config.conll_columns
        sentences = parse_sentences(lines, source=file.source, columns=columns, has_predicted=has_predicted)
        yield from group_documents(sentences, is_marked=is_marked)


def group_documents(sentences: "Iterable[AnySentence]", *, is_marked: bool) -> "Iterator[list[AnySentence]]":
    """Sentences to documents: those up to the next mark, or one each where documents are not marked."""
    document: list[AnySentence] = []
    for sentence in sentences:
        if document and (sentence.opens_document or not is_marked):
            yield document
            document = []
        document.append(sentence)
    if document:
        yield document


def _holds_marks(stream: Any) -> bool:
    """Whether documents are marked, anywhere in the file."""
    tail = b"\n"
    while chunk := stream.read(CHUNK_BYTES):
        head, newline, rest = (tail + chunk).rpartition(b"\n")
        if _MARK.search(head):
            return True
        tail = newline + rest
    return _MARK.search(tail) is not None


def _decode_lines(stream: Any, source: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    offset, tail = 0, ""
    while True:
        chunk = stream.read(CHUNK_BYTES)
        held = decoder.getstate()[0]
        if not offset:
            check_encoding(chunk, source)
        offset -= len(held)
        try:
            *lines, tail = (tail + decoder.decode(chunk, final=not chunk)).split("\n")
        except UnicodeDecodeError as error:
            raise FileError(
                "bad_utf8",
                f"expected UTF-8 in CoNLL file {source!r}, found a bad byte at {offset + error.start}",
            ) from None
        yield from lines
        if not chunk:
            yield tail
            return
        offset += len(chunk) + len(held)


def _find_numbered(rows: list[list[str]]) -> list[int]:
    """Positions of the rows numbered 1, 2, 3, ...; none unless all are, or are what CoNLL-U puts beside them.

    That is a range (`2-3` before 2) or an empty node (`2.1` after 2); numbers that are words look otherwise.
    """
    places: list[int] = []
    for at, (index, *_) in enumerate(rows):
        n = len(places)
        if index == str(n + 1):
            places.append(at)
        elif not re.fullmatch(rf"{n + 1}-\d+|{n}\.\d+", index):
            return []
    return places


@dataclasses.dataclass
class _Pending:
    """A sentence while its lines are read."""

    has_predicted: bool
    rows: list[list[str]] = dataclasses.field(default_factory=list)
    text: str = ""
    opens_document: bool = False
    document_id: str = ""
    line: int = 0

    def read_comment(self, comment: str) -> None:
        self.opens_document |= comment.lstrip("# ").startswith("newdoc")
        self.document_id = m[1] if (m := _DOCUMENT_ID.match(comment.strip(_BLANK))) else self.document_id
        self.text = m[1] if (m := _TEXT.match(comment)) else self.text

    def build(self, chosen: tuple[int, ...] | None, source: str, short_lines: list[int] | None) -> Sentence:
        n_columns = len(self.rows[0])
        places = _find_numbered(self.rows) if n_columns > 2 else []
        positions = chosen or self._guess(is_numbered=bool(places))
        needed = max(position + 1 if position >= 0 else -position for position in positions)
        if not chosen or min(positions) < 0:
            needed = max(needed, n_columns)
        if self.has_predicted and not chosen:
            needed = max(needed, 3)
        rows = [self.rows[at] for at in places] if places else self.rows
        if min(map(len, rows)) < needed and short_lines is not None and n_columns >= needed:
            short_lines += [self.line + at for at in places or range(len(self.rows)) if len(self.rows[at]) < needed]
            rows = [[*cells, *[OUTSIDE] * (needed - len(cells))] for cells in rows]
        elif min(map(len, rows)) < needed:
            at, found = next(
                (at, len(self.rows[at])) for at in places or range(len(self.rows)) if len(self.rows[at]) < needed
            )
            hint = "; give predicted tags in a file of their own" if self.has_predicted and found == 2 else ""
            raise FileError(
                "bad_columns", f"expected {needed} columns in {source!r} line {self.line + at}, found {found}{hint}"
            )
        words, tags, predicted = (*_take_columns(rows, positions if n_columns > 1 else (0,)), (), ())[:3]
        return Sentence(words, tags, self.text, self.opens_document, self.document_id, self.line, predicted)

    def _guess(self, *, is_numbered: bool) -> tuple[int, ...]:
        token = 1 if is_numbered else 0
        if self.has_predicted:
            return (token, -2, -1)
        return (token, 2 if is_numbered else -1)


def _take_columns(rows: Sequence[Sequence[str]], positions: Sequence[int]) -> list[tuple[str, ...]]:
    lengths = set(map(len, rows))
    if len(lengths) == 1:
        columns = list(zip(*rows, strict=True))
        return [columns[position] for position in positions]
    return [tuple(cells[position] for cells in rows) for position in positions]
