"""CoNLL columns: a token per line, sentences between blank lines.

    # newdoc id = a        comments of CoNLL-U style files: a document begins, a sentence's own text
    # text = Anna slept.
    1   Anna    B-PER  -   with an index in column 1, token and tag are columns 2 and 3
    Anna B-PER             else they are the first and the last, split at tabs where there are any
    -DOCSTART- -X- O O     a document begins

Without marks of documents every sentence is one. A document's text is its sentences joined by line ends; a sentence's
text is its `# text` when the tokens are found in it, else the tokens joined by spaces. Tags of any scheme are read by
the rules of conlleval.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from schemas.errors import ConfigError, FileError
from schemas.slices import FileRef, Slice
from transforms.corpora.documents import PART_BYTES, CorpusConfig, Part, Row, build_part
from transforms.corpora.files import open_stream
from transforms.tags.decode import decode_tags

_COMMENT = re.compile(r"#\s*((newdoc|newpar)(\s|$)|[\w.:-]+\s*=)")
_DOCUMENT_ID = re.compile(r"#\s*newdoc(?:\s+id)?\s*=\s*(.+)")
_TEXT = re.compile(r"#\s*text\s*=\s?(.*)")
_DOCSTART = "-DOCSTART-"
_BLANK = " \t\r\n"


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
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    text: str = ""
    opens_document: bool = False
    document_id: str = ""
    line: int = 0

    @property
    def spans(self) -> list[tuple[int, int, str]]:
        """Entities as (first, last, label) over words, `last` exclusive."""
        return decode_tags(self.tags)


def parse_sentences(lines: Iterable[str], *, source: str, columns: str = "auto") -> Iterator[Sentence]:
    """Lines of a file to its sentences.

    Args:
      lines: lines with or without their ends.
      source: name of the file for messages.
      columns: `TOKEN,TAG` positions from 0, negative from the end, or auto.

    Raises:
      FileError: a line has fewer columns than the sentence's first.
    """
    chosen = parse_columns(columns)
    pending = _Pending()
    for number, line in enumerate(lines, 1):
        stripped = line.strip(_BLANK)
        if _COMMENT.match(stripped) and "\t" not in stripped:
            pending.read_comment(line.rstrip("\r\n"))
            continue
        if "\t" in line:
            cells = line.rstrip("\r\n").split("\t") if stripped else []
        else:
            cells = [cell for cell in stripped.split(" ") if cell]
        if cells and cells[0] != _DOCSTART:
            pending.line = pending.line or number
            pending.rows.append(cells)
            continue
        if pending.rows:
            yield pending.build(chosen, source)
            pending = _Pending()
        pending.opens_document |= bool(cells)
    if pending.rows:
        yield pending.build(chosen, source)


def parse_columns(columns: str) -> tuple[int, int] | None:
    """`TOKEN,TAG` to positions; None for auto.

    Raises:
      ConfigError: it is neither.
    """
    if columns == "auto":
        return None
    try:
        token, tag = (int(part) for part in columns.split(","))
    except ValueError:
        raise ConfigError(f"expected --conll-columns auto or two positions such as 0,3, found {columns!r}") from None
    return token, tag


def describe_columns(file: FileRef, config: CorpusConfig) -> tuple[list[pa.Field], bool]:
    """Kept fields (none), and whether the words carry tags.

    Raises:
      ConfigError: columns of a table are asked for.
    """
    if wanted := [name for name in (config.id_column, config.gold_column, *config.keep_columns) if name]:
        raise ConfigError(f"expected no column options for CoNLL file {file.source!r}, found {wanted}")
    with open_stream(file) as stream:
        head = stream.read(1 << 20).decode("utf-8-sig", errors="replace").split("\n")
    sentences = parse_sentences(head, source=file.source, columns=config.conll_columns)
    return [], bool((first := next(sentences, None)) and first.tags)


def cut_slices(file: FileRef, config: CorpusConfig, slice_bytes: int) -> list[Slice]:
    """A file as one slice, since its documents are counted by parsing it.

    Raises:
      FileError: the file cannot be read to its end, or a line lacks a column.
    """
    rows = sum(1 for _ in _documents(file, config))
    return [Slice(file, "conll", 0, rows, 0, rows)] if rows else []


def read_parts(slice_: Slice, config: CorpusConfig) -> Iterator[Part]:
    """A file's documents with their gold spans, in bounded parts."""
    pending: list[Row] = []
    n_bytes = 0
    has_gold = describe_columns(slice_.file, config)[1]
    for number, sentences in enumerate(_documents(slice_.file, config)):
        text, gold = join_sentences(sentences)
        pending.append(Row(number, text, id=sentences[0].document_id or None, gold=gold))
        n_bytes += len(text)
        if n_bytes >= PART_BYTES:
            yield build_part(slice_, pending, (), has_gold=has_gold)
            pending, n_bytes = [], 0
    if pending:
        yield build_part(slice_, pending, (), has_gold=has_gold)


def join_sentences(sentences: Sequence[Sentence]) -> tuple[str, list[dict[str, Any]]]:
    """Sentences to one text with gold spans in code points.

    >>> join_sentences([Sentence(("Anna", "slept"), ("B-PER", "O"))])
    ('Anna slept', [{'start': 0, 'end': 4, 'label': 'PER'}])
    """
    texts, gold, base = [], [], 0
    for sentence in sentences:
        text, places = _place_words(sentence)
        gold += [
            {"start": base + places[first][0], "end": base + places[last - 1][1], "label": label}
            for first, last, label in sentence.spans
        ]
        texts.append(text)
        base += len(text) + 1
    return "\n".join(texts), gold


def _place_words(sentence: Sentence) -> tuple[str, list[tuple[int, int]]]:
    for text in (sentence.text, " ".join(sentence.words)):
        places, cursor = [], 0
        for word in sentence.words:
            start = text.find(word, cursor)
            if start < 0 or text[cursor:start].strip():
                break
            cursor = start + len(word)
            places.append((start, cursor))
        else:
            if not text[cursor:].strip():
                return text, places
    raise AssertionError("words joined by spaces contain every word")


def _documents(file: FileRef, config: CorpusConfig) -> Iterator[list[Sentence]]:
    with open_stream(file) as stream:
        content = stream.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            "bad_utf8", f"expected UTF-8 in CoNLL file {file.source!r}, found a bad byte at {error.start}"
        ) from None
    source = file.source
    document: list[Sentence] = []
    is_marked = _DOCSTART in text or re.search(r"^#\s*newdoc(\s|$)", text, re.MULTILINE) is not None
    for sentence in parse_sentences(text.split("\n"), source=source, columns=config.conll_columns):
        if document and (sentence.opens_document or not is_marked):
            yield document
            document = []
        document.append(sentence)
    if document:
        yield document


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

    rows: list[list[str]] = dataclasses.field(default_factory=list)
    text: str = ""
    opens_document: bool = False
    document_id: str = ""
    line: int = 0

    def read_comment(self, comment: str) -> None:
        self.opens_document |= comment.lstrip("# ").startswith("newdoc")
        self.document_id = m[1] if (m := _DOCUMENT_ID.match(comment.strip(_BLANK))) else self.document_id
        self.text = m[1] if (m := _TEXT.match(comment)) else self.text

    def build(self, chosen: tuple[int, int] | None, source: str) -> Sentence:
        n_columns = len(self.rows[0])
        places = _find_numbered(self.rows) if n_columns > 2 else []
        token, tag = chosen or ((1, 2) if places else (0, -1))
        needed = max(position + 1 if position >= 0 else -position for position in (token, tag))
        if not chosen or tag < 0:
            needed = max(needed, n_columns)
        rows = [(at, self.rows[at]) for at in places or range(len(self.rows))]
        for at, cells in rows:
            if len(cells) < needed:
                raise FileError(
                    "bad_columns", f"expected {needed} columns in {source!r} line {self.line + at}, found {len(cells)}"
                )
        words = tuple(cells[token] for _, cells in rows)
        tags = tuple(cells[tag] for _, cells in rows) if n_columns > 1 else ()
        return Sentence(words, tags, self.text, self.opens_document, self.document_id, self.line)
