"""Checkpoint and engine on the same texts: tags, probabilities, entities, and F1 against gold.

Both run in the tagger that annotates. Texts are compared a block at a time, so that memory does not grow with them.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from schemas.engines import Parity
from schemas.errors import ConfigError, PipelineError
from schemas.labels import OUTSIDE, TagSet
from transforms.models.tagger import FloatArray, IntArray, TokenClassifier
from transforms.models.window_tagger import WindowTagger
from transforms.scoring.matching import Span, count_matches, score_matches
from transforms.tags.entities import DecodingConfig
from transforms.text.tokens import ColumnTokenizer
from transforms.text.windows import WindowConfig

_BLOCK_DOCUMENTS, _BLOCK_CHARACTERS = 512, 1 << 18
_BATCH_TOKENS = 2048


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A text and its gold spans.

    Attributes:
      text: the text.
      gold: (start, end, label) in code points; None when it is not labelled.
    """

    text: str
    gold: tuple[Span, ...] | None = None


@dataclasses.dataclass(kw_only=True)
class _Counts:
    """What adds up over blocks; the matches are [found, spurious, missed] by label."""

    documents: int = 0
    tokens: int = 0
    equal_tags: int = 0
    equal_entities: int = 0
    largest_difference: float = 0.0
    labelled: int = 0
    agreement: dict[str, Counter[int]] = dataclasses.field(default_factory=dict)
    checkpoint: dict[str, Counter[int]] = dataclasses.field(default_factory=dict)
    engine: dict[str, Counter[int]] = dataclasses.field(default_factory=dict)


class Comparison:
    """Runs a checkpoint and an engine side by side.

    Args:
      tokenizer: the checkpoint's tokenizer as JSON.
      checkpoint: the checkpoint in fp32.
      engine: the engine.
      windows: how texts are cut.
    """

    def __init__(
        self, tokenizer: str, checkpoint: TokenClassifier, engine: TokenClassifier, windows: WindowConfig
    ) -> None:
        self._recorders = [_Recorder(checkpoint), _Recorder(engine)]
        self._taggers = [
            WindowTagger(
                ColumnTokenizer(tokenizer),
                recorder,
                windows=windows,
                decoding=DecodingConfig(),
                batch_tokens=_BATCH_TOKENS,
            )
            for recorder in self._recorders
        ]
        shared = ColumnTokenizer(tokenizer)
        self._inner = (len(shared.prefix_ids), len(shared.suffix_ids))

    def run(
        self, documents: Iterable[Labelled], *, source: str, names: Mapping[str, str], tell: Callable[[int], None]
    ) -> Parity:
        """Documents to how the engine compares with the checkpoint.

        Args:
          documents: texts, with gold or without.
          source: names of their files.
          names: what labels are called on all sides; `O` leaves one out.
          tell: called with the number of documents that were compared.

        Raises:
          ConfigError: the texts have no tokens, or gold has no spans.
          PipelineError: the two saw different windows, for memory ran out.
        """
        counts = _Counts()
        for block in _cut_blocks(documents):
            self._add(block, counts, names)
            tell(counts.documents)
        if not counts.tokens:
            raise ConfigError("expected text to compare the engine on, found none; check --text-column and --format")
        if counts.labelled and not any(n[0] + n[2] for n in counts.checkpoint.values()):
            raise ConfigError("expected gold spans in --gold, found none; check --gold-column and --ignore-labels")
        return Parity(
            source=source,
            documents=counts.documents,
            tokens=counts.tokens,
            equal_tags=counts.equal_tags / counts.tokens,
            equal_entities=counts.equal_entities / counts.documents,
            largest_difference=counts.largest_difference,
            agreement_f1=_micro_f1(counts.agreement),
            checkpoint_f1=_micro_f1(counts.checkpoint) if counts.labelled else None,
            engine_f1=_micro_f1(counts.engine) if counts.labelled else None,
        )

    def _add(self, block: Sequence[Labelled], counts: _Counts, names: Mapping[str, str]) -> None:
        texts = [document.text for document in block]
        expected, found = (_tag(tagger, texts, names) for tagger in self._taggers)
        counts.documents += len(block)
        counts.equal_entities += sum(one == other for one, other in zip(expected, found, strict=True))
        for document, one, other in zip(block, expected, found, strict=True):
            _count(counts.agreement, one, other)
            if document.gold is not None:
                gold = _rename(document.gold, names)
                counts.labelled += 1
                _count(counts.checkpoint, gold, one)
                _count(counts.engine, gold, other)
        answers, engine_answers = (recorder.take() for recorder in self._recorders)
        if [lengths.tolist() for lengths, _ in answers] != [lengths.tolist() for lengths, _ in engine_answers]:
            raise PipelineError("expected the same batches for checkpoint and engine, found others; free some memory")
        for (lengths, probabilities), (_, engine_probabilities) in zip(answers, engine_answers, strict=True):
            self._compare(lengths, probabilities, engine_probabilities, counts)

    def _compare(self, lengths: IntArray, expected: FloatArray, found: FloatArray, counts: _Counts) -> None:
        """Compares (n_windows, longest, n_tags) probabilities where there are tokens of text."""
        n_prefix, n_suffix = self._inner
        place = np.arange(expected.shape[1])
        is_text = (place >= n_prefix) & (place < lengths[:, None] - n_suffix)
        one, other = expected[is_text], found[is_text]
        counts.tokens += len(one)
        counts.equal_tags += int((one.argmax(-1) == other.argmax(-1)).sum())
        difference = float(np.abs(one - other).max(initial=0.0))
        counts.largest_difference = max(counts.largest_difference, difference)


class _Recorder:
    """A classifier that keeps what it answered until it is asked for it."""

    def __init__(self, classifier: TokenClassifier) -> None:
        self._classifier = classifier
        self._answers: list[tuple[IntArray, FloatArray]] = []

    @property
    def tag_set(self) -> TagSet:
        """Its tags, in the order of its outputs."""
        return self._classifier.tag_set

    @property
    def in_flight(self) -> int:
        """One, for each pass is waited for."""
        return 1

    def submit(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        """Runs a forward pass; see `TokenClassifier.submit`."""
        probabilities = self._classifier.submit(ids, lengths)()
        self._answers.append((lengths, probabilities))
        return lambda: probabilities

    def take(self) -> list[tuple[IntArray, FloatArray]]:
        """Lengths and probabilities of each batch since the last call."""
        answers, self._answers = self._answers, []
        return answers


def _cut_blocks(documents: Iterable[Labelled]) -> Iterator[list[Labelled]]:
    """Documents in order, a bounded number of characters at a time, but a whole document at least."""
    block: list[Labelled] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document.text)
        if size >= _BLOCK_CHARACTERS or len(block) == _BLOCK_DOCUMENTS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _tag(tagger: WindowTagger, texts: Sequence[str], names: Mapping[str, str]) -> list[list[Span]]:
    """The entities of each text, in order."""
    tagging = tagger.tag(texts)
    spans: list[list[Span]] = [[] for _ in texts]
    columns = (tagging.document, tagging.start, tagging.end, tagging.label)
    for document, start, end, label in zip(*(column.tolist() for column in columns), strict=True):
        spans[document].append((start, end, tagger.labels[label]))
    return [_rename(found, names) for found in spans]


def _rename(spans: Iterable[Span], names: Mapping[str, str]) -> list[Span]:
    named = [(start, end, names.get(label, label)) for start, end, label in spans]
    return [span for span in named if span[2] != OUTSIDE]


def _count(total: dict[str, Counter[int]], gold: Sequence[Span], predicted: Sequence[Span]) -> None:
    for label, counts in count_matches(gold, predicted).items():
        total.setdefault(label, Counter()).update(dict(enumerate(counts)))


def _micro_f1(matches: Mapping[str, Counter[int]]) -> float:
    """Micro F1 in points; 100 where neither side has anything."""
    if not matches:
        return 100.0
    return 100 * score_matches({label: [n[0], n[1], n[2]] for label, n in matches.items()})[-1].f1
