"""CoNLL files, line by line: gold and predicted tags of the same sentences to blocks of documents.

    gold file       sentences ─┐
                               ├─ align ─> atoms ─> spans in two readings ─> block
    predicted file  sentences ─┘

One file with both columns of tags takes the same way. Files are read as streams, so that memory is that of a block.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import ConfigError
from schemas.slices import FileRef
from schemas.tables import FILE_SCHEMA, FileTable, Rows
from transforms.corpora.conll import Sentence, place_words, read_documents
from transforms.corpora.documents import CorpusConfig
from transforms.pairing.alignment import Alignment, align_tokens
from transforms.scoring.matching import SpanColumns
from transforms.scoring.pairs import Document, PairBlock, Reading
from transforms.tags.chunks import Chunks, Vocabulary

IntArray = npt.NDArray[np.int64]
BLOCK_TOKENS = 1 << 18


@dataclasses.dataclass(frozen=True, kw_only=True)
class TagConfig:
    """How tags are read.

    Attributes:
      scheme: scheme of the gold tags.
      predicted_scheme: scheme of the predicted tags.
      repair: what explanations make of an illegal sequence: `conlleval` reads it as seqeval's default mode does,
        `discard` as its strict mode.
      label_map: label to another label, or to `O` for none.
    """

    scheme: str
    predicted_scheme: str
    repair: str = "conlleval"
    label_map: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class TaggedFiles:
    """What is read together.

    Attributes:
      gold: the gold file; it holds the predicted tags too when there is no second file.
      predicted: the file with predicted tags, or None.
      gold_columns: token and tag columns of the gold file, or token and both tags.
      predicted_columns: token and tag columns of the predicted file.
    """

    gold: FileRef
    predicted: FileRef | None
    gold_columns: str = "auto"
    predicted_columns: str = "auto"


class TaggedTable(Rows[TaggedFiles]):
    """Files that are read together by their own columns; of a file that is not there the URI is empty."""

    row = TaggedFiles
    file_prefixes = ("gold_", "predicted_")
    schema = pa.schema(
        [
            *(field.with_name(f"{prefix}{field.name}") for prefix in file_prefixes for field in FILE_SCHEMA),
            pa.field("gold_columns", pa.string()),
            pa.field("predicted_columns", pa.string()),
        ]
    )

    @staticmethod
    def to_values(row: TaggedFiles) -> tuple[Any, ...]:
        """See Rows."""
        files = (row.gold, row.predicted or FileRef("", 0, ""))
        return *itertools.chain(*map(FileTable.to_values, files)), row.gold_columns, row.predicted_columns

    @staticmethod
    def from_columns(columns: list[list[Any]]) -> Iterator[TaggedFiles]:
        """See Rows."""
        n = len(FILE_SCHEMA)
        predicted = (file if file.uri else None for file in FileTable.from_columns(columns[n : 2 * n]))
        return map(TaggedFiles, FileTable.from_columns(columns[:n]), predicted, *columns[2 * n :])


@dataclasses.dataclass(frozen=True)
class _SentencePair:
    gold: Sentence
    predicted: Sentence
    predicted_tags: tuple[str, ...]
    alignment: Alignment | None


def read_tagged_blocks(
    files: TaggedFiles, config: TagConfig, *, block_tokens: int = BLOCK_TOKENS
) -> Iterator[PairBlock]:
    """Two files, or one with both columns, to blocks of about `block_tokens` gold tokens.

    Raises:
      ConfigError: sentences or tokens do not line up, a tag does not fit its scheme, or there are no tags.
      FileError: a file cannot be read to its end.
    """
    builder = _BlockBuilder(files, config)
    for row, document in enumerate(_read_pairs(files)):
        builder.add(row, document)
        if builder.n_tokens >= block_tokens:
            yield builder.build()
            builder = _BlockBuilder(files, config)
    if builder.documents:
        yield builder.build()


def pair_sentences(documents: Iterable[Sequence[Sentence]], *, source: str, config: TagConfig) -> PairBlock:
    """Documents in memory, whose sentences carry gold and predicted tags, to one block.

    Args:
      documents: sentences of each; a sentence has as many predicted tags as words.
      source: what the documents come from.
      config: how tags are read.

    Raises:
      ConfigError: a tag does not fit its scheme.
    """
    builder = _BlockBuilder(TaggedFiles(FileRef(source, 0, ""), None), config)
    for row, document in enumerate(documents):
        builder.add(row, [_SentencePair(one, one, one.predicted_tags, None) for one in document])
    return builder.build()


def _read_pairs(files: TaggedFiles) -> Iterator[list[_SentencePair]]:
    gold = read_documents(
        files.gold, CorpusConfig(conll_columns=files.gold_columns), has_predicted=files.predicted is None
    )
    if files.predicted is None:
        for document in gold:
            yield [_SentencePair(one, one, one.predicted_tags, None) for one in document]
        return
    config = CorpusConfig(conll_columns=files.predicted_columns)
    predicted = itertools.chain.from_iterable(read_documents(files.predicted, config))
    for document in gold:
        yield [_pair(one, next(predicted, None), files) for one in document]
    if (left := next(predicted, None)) is not None:
        raise ConfigError(
            f"expected the end of {files.predicted.source!r} as {files.gold.source!r} ends, "
            f"found a sentence in line {left.line}: {_quote(left.words)}"
        )


def _pair(gold: Sentence, predicted: Sentence | None, files: TaggedFiles) -> _SentencePair:
    if predicted is None:
        raise ConfigError(
            f"expected a sentence in {_name(files.predicted)!r} as in {files.gold.source!r} line {gold.line}: "
            f"{_quote(gold.words)}, found the end of the file"
        )
    for sentence, file in ((gold, files.gold), (predicted, files.predicted)):
        if not sentence.tags:
            raise ConfigError(f"expected tokens and tags in {_name(file)!r}, found one column in line {sentence.line}")
    alignment = None
    if gold.words != predicted.words:
        alignment = align_tokens(gold.words, predicted.words)
        if alignment is None:
            pairs = itertools.zip_longest(gold.words, predicted.words)
            at = next(at for at, (a, b) in enumerate(pairs) if a != b)
            wanted, found = (
                f"token {words[at]!r}" if at < len(words) else "the end of the sentence"
                for words in (gold.words, predicted.words)
            )
            raise ConfigError(
                f"expected {wanted} in {_name(files.predicted)!r} line {predicted.line + at} as in "
                f"{files.gold.source!r} line {gold.line + at}, found {found}; the sentences do not line up"
            )
    return _SentencePair(gold, predicted, predicted.tags, alignment)


def _name(file: FileRef | None) -> str:
    return file.source if file else ""


def _quote(words: Sequence[str]) -> str:
    return repr(" ".join(words[:8]))


class _BlockBuilder:
    """Collects documents, then makes arrays of them."""

    def __init__(self, files: TaggedFiles, config: TagConfig) -> None:
        self._files = files
        self._config = config
        self._source = files.gold.source
        self.documents: list[Document] = []
        self.n_tokens = 0
        self._pairs: list[_SentencePair] = []
        self._last_sentence: list[int] = [0]

    def add(self, row: int, document: list[_SentencePair]) -> None:
        """Takes one more document."""
        n_tokens = sum(len(pair.gold.words) for pair in document)
        id_ = document[0].gold.document_id or f"{self._source}#{row}"
        self.documents.append(Document(id_, self._source, row, n_tokens))
        self.n_tokens += n_tokens
        self._pairs += document
        self._last_sentence.append(len(self._pairs))

    def build(self) -> PairBlock:
        """The documents taken so far as a block."""
        predicted_source = self._files.predicted.source if self._files.predicted else self._source
        labels: list[str] = []
        gold_vocabulary = Vocabulary(self._config.scheme, self._config.label_map, labels=labels)
        is_one_scheme = self._config.predicted_scheme == self._config.scheme
        predicted_vocabulary = (
            gold_vocabulary
            if is_one_scheme
            else Vocabulary(self._config.predicted_scheme, self._config.label_map, labels=labels)
        )
        units = _Units(self._pairs, self._last_sentence)
        gold = _Side([pair.gold.tags for pair in self._pairs], gold_vocabulary, units.gold)
        predicted = _Side([pair.predicted_tags for pair in self._pairs], predicted_vocabulary, units.predicted)
        for side, source in ((gold, self._source), (predicted, predicted_source)):
            side.encode([(pair.gold if side is gold else pair.predicted).line for pair in self._pairs], source)
        default, strict = (
            Reading(units.to_columns(gold.find(is_strict=mode)), units.to_columns(predicted.find(is_strict=mode)))
            for mode in (False, True)
        )
        counts, listed = self._count()
        return PairBlock(
            documents=tuple(self.documents),
            labels=tuple(labels),
            default=default,
            strict=strict,
            explained=default if self._config.repair == "conlleval" else strict,
            texts=units,
            tokens=_count_right_tokens(gold, predicted, units) if is_one_scheme else None,
            counts={
                **counts,
                "gold invalid sequences": gold.count_illegal(),
                "predicted invalid sequences": predicted.count_illegal(),
            },
            listed=listed,
        )

    def _count(self) -> tuple[dict[str, int], dict[str, tuple[tuple[tuple[str, int], dict[str, object]], ...]]]:
        counts = Counter(sentences=len(self._pairs))
        spelling = []
        for pair in self._pairs:
            if pair.alignment is None:
                continue
            counts["spelling_differences"] += len(pair.alignment.misspelled)
            counts["retokenized_sentences"] += not pair.alignment.misspelled
            for at in pair.alignment.misspelled:
                line = pair.gold.line + at
                words = {"gold": pair.gold.words[at], "predicted": pair.predicted.words[at]}
                spelling.append(((self._source, line), {"source": self._source, "line": line, **words}))
        return dict(counts), {"spelling": tuple(spelling)} if spelling else {}


class _Side:
    """Tags of one side, and where its tokens lie over the atoms."""

    def __init__(
        self, tags: Sequence[tuple[str, ...]], vocabulary: Vocabulary, atoms: tuple[IntArray, IntArray]
    ) -> None:
        self._tags = tags
        self._vocabulary = vocabulary
        self.first_atom, self.last_atom = atoms
        self.bounds = _bounds([len(each) for each in tags])
        self.codes = np.empty(0, dtype=np.int16)

    def encode(self, lines: Sequence[int], source: str) -> None:
        """Turns tags into codes; `lines` and `source` say where a bad one stands."""
        try:
            self.codes = self._vocabulary.encode(itertools.chain.from_iterable(self._tags), int(self.bounds[-1]))
        except ConfigError as error:
            for line, tags in zip(lines, self._tags, strict=True):
                for at, tag in enumerate(tags):
                    try:
                        self._vocabulary.encode([tag], 1)
                    except ConfigError:
                        raise ConfigError(f"{source!r} line {line + at}: {error}") from error
            raise

    def find(self, *, is_strict: bool) -> Chunks:
        """Entities over atoms."""
        chunks = self._vocabulary.find(self.codes, self.bounds, is_strict=is_strict)
        return Chunks(self.first_atom[chunks.first], self.last_atom[chunks.last - 1], chunks.label)

    def count_illegal(self) -> int:
        """How many sentences break the scheme."""
        return len(self._vocabulary.find_illegal(self.codes, self.bounds))


class _Units:
    """The atoms of a block's sentences; the texts behind its spans.

    Attributes:
      gold: first and last atom of every gold token.
      predicted: the same of every predicted token.
    """

    def __init__(self, pairs: Sequence[_SentencePair], last_sentence: Sequence[int]) -> None:
        self._words: list[str] = []
        self._gaps: list[str] = []
        ends = [0]
        for pair in pairs:
            self._append_sentence(pair)
            ends.append(len(self._words))
        self.gold, self.predicted = (_place_tokens(pairs, ends, side) for side in ("gold", "predicted"))
        self.bounds = np.array([ends[sentence] for sentence in last_sentence], dtype=np.int64)
        self._opens = np.zeros(len(self._words) + 1, dtype=np.int64)
        self._opens[self.gold[0] + 1] = 1
        self._opens = np.cumsum(self._opens)

    def _append_sentence(self, pair: _SentencePair) -> None:
        """Adds the atoms of a sentence, with what stands before each in the text."""
        words = pair.gold.words
        gaps = ["\n", *[" "] * (len(words) - 1)]
        if pair.gold.text:
            places = place_words(pair.gold)[1]
            gaps[1:] = [" " if after[0] > before[1] else "" for before, after in itertools.pairwise(places)]
        if pair.alignment is not None and len(pair.alignment.atoms) != len(words):
            following = iter(gaps)
            gaps = [next(following) if opens else "" for opens in pair.alignment.opens]
            words = pair.alignment.atoms
        self._words += words
        self._gaps += gaps

    def to_columns(self, chunks: Chunks) -> SpanColumns:
        """Entities over atoms to spans of documents."""
        document = np.searchsorted(self.bounds, chunks.first, side="right") - 1
        return SpanColumns(document, chunks.first, chunks.last, chunks.label)

    def text(self, document: int) -> str:
        """See Texts."""
        return self._join(int(self.bounds[document]), int(self.bounds[document + 1]))

    def place(self, document: int, first: int, last: int) -> tuple[int, int]:
        """See Texts."""
        begin = int(self.bounds[document])
        start = len(self._join(begin, first)) + len(self._gaps[first]) if first > begin else 0
        return start, start + len(self._join(first, last))

    def surface(self, document: int, first: int, last: int) -> str:  # noqa: ARG002 - atoms are counted over the block
        """See Texts."""
        return self._join(first, last)

    def count_tokens(self, document: int, first: int, last: int) -> int:  # noqa: ARG002
        """See Texts."""
        return max(1, int(self._opens[last] - self._opens[first]))

    def _join(self, first: int, last: int) -> str:
        if last - first == 1:
            return self._words[first]
        pieces = [piece for at in range(first, last) for piece in (self._gaps[at], self._words[at])]
        return "".join(pieces[1:])


def _place_tokens(pairs: Sequence[_SentencePair], ends: Sequence[int], side: str) -> tuple[IntArray, IntArray]:
    """First atom of each token of a side, and one past its last."""
    if all(pair.alignment is None for pair in pairs):
        first = np.arange(ends[-1])
        return first, first + 1
    ranges: list[tuple[int, int]] = []
    for base, end, pair in zip(ends, ends[1:], pairs, strict=False):
        own = getattr(pair.alignment, side) if pair.alignment else ((at, at + 1) for at in range(end - base))
        ranges += [(base + first, base + last) for first, last in own]
    first, last = np.array(ranges, dtype=np.int64).reshape(-1, 2).T
    return first, last


def _count_right_tokens(gold: _Side, predicted: _Side, units: _Units) -> IntArray:
    """Tokens (n_documents, 2) that are cut and tagged alike on both sides, and gold tokens."""
    at = np.minimum(np.searchsorted(predicted.first_atom, gold.first_atom), max(len(predicted.codes) - 1, 0))
    is_right = (
        (predicted.first_atom[at] == gold.first_atom)
        & (predicted.last_atom[at] == gold.last_atom)
        & (predicted.codes[at] == gold.codes)
    )
    right = np.concatenate([[0], np.cumsum(is_right)])
    bounds = np.searchsorted(gold.first_atom, units.bounds)
    return np.stack([np.diff(right[bounds]), np.diff(bounds)], axis=1)


def _bounds(lengths: Sequence[int]) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
