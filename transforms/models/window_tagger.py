"""A token classifier made a tagger: tokens, windows, batches, forward, stitching, one decode per document.

    texts ──> groups within a look-ahead ──> tokens ──> windows ──> batches ──> probabilities
                    (tokenized one ahead)                                             │
    entities <── character offsets <── spans of words <── one decode <── stitched tokens

A batch that runs out of memory is cut again under half the budget; one that fails is halved until the window at
fault stands alone, and only its document is lost.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError, ModelError, RecordError, TaggingError, TokenizationError
from transforms.models.tagger import FloatArray, IntArray, Tagging, TokenClassifier
from transforms.tags.decode import DECODERS, REPAIRS, Decoder
from transforms.text.packing import pack_windows
from transforms.text.stitching import Stitcher
from transforms.text.tokens import ColumnTokenizer, TokenColumns, check_coverage
from transforms.text.windows import WindowConfig, Windows, cut_windows

AGGREGATIONS = ("first", "average", "max", "simple")
_LOOK_AHEAD_CHARACTERS = 1 << 20
_IN_FLIGHT = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How token probabilities become entities.

    Attributes:
      decoder: viterbi or argmax (see transforms.tags.decode).
      repair: conlleval or discard, for argmax.
      aggregation: how a word's tokens become one: its `first` token, their `average`, the one with the highest
        probability (`max`), or not at all (`simple`: entities are runs of tokens).
    """

    decoder: str = "viterbi"
    repair: str = "conlleval"
    aggregation: str = "first"

    def __post_init__(self) -> None:
        for name, allowed in (("decoder", DECODERS), ("repair", REPAIRS), ("aggregation", AGGREGATIONS)):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"expected --{name} to be one of {allowed}, found {getattr(self, name)!r}")


class WindowTagger:
    """Tags texts with a token classifier.

    Args:
      tokenizer: this thread's own tokenizer.
      classifier: the model, which threads may share.
      windows: how documents are cut; `max_tokens` no more than the model reads.
      decoding: how probabilities become entities.
      batch_tokens: most padded tokens in a batch.
    """

    def __init__(
        self,
        tokenizer: ColumnTokenizer,
        classifier: TokenClassifier,
        *,
        windows: WindowConfig,
        decoding: DecodingConfig,
        batch_tokens: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._classifier = classifier
        self._n_special = len(tokenizer.prefix_ids) + len(tokenizer.suffix_ids)
        self._windows = windows
        self._aggregation = decoding.aggregation
        self._decoder = Decoder(classifier.tag_set, decoder=decoding.decoder, repair=decoding.repair)
        self._n_tags = len(classifier.tag_set.tags)
        self._batch_tokens = batch_tokens
        # One thread for good: a new one per call would leave the memory of each behind.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tokenize")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it may give."""
        return self._decoder.labels

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, entities out."""
        taggings = []
        for base, group, (columns, seconds) in self._tokenized_groups(texts):
            tagging = self._tag_group(group, columns)
            failures = {base + document: error for document, error in tagging.failures.items()}
            spent = {**tagging.seconds, "tokenize": seconds}
            taggings.append(
                dataclasses.replace(tagging, document=tagging.document + base, failures=failures, seconds=spent)
            )
        return _join_taggings(taggings)

    def _tokenized_groups(
        self, texts: Sequence[str]
    ) -> Iterator[tuple[int, Sequence[str], tuple[TokenColumns, float]]]:
        """Groups of texts within the look-ahead, each tokenized while the one before it is in the model."""
        waiting: deque[tuple[int, Sequence[str], Future[tuple[TokenColumns, float]]]] = deque()
        for base, group in _groups(texts):
            waiting.append((base, group, self._pool.submit(self._tokenize, group)))
            if len(waiting) == 2:
                base, group, future = waiting.popleft()
                yield base, group, future.result()
        while waiting:
            base, group, future = waiting.popleft()
            yield base, group, future.result()

    def _tokenize(self, texts: Sequence[str]) -> tuple[TokenColumns, float]:
        started = time.perf_counter()
        columns = self._tokenizer.tokenize(texts)
        return columns, time.perf_counter() - started

    def _tag_group(self, texts: Sequence[str], columns: TokenColumns) -> Tagging:
        started = time.perf_counter()
        failures: dict[int, RecordError] = {}
        for position, text in enumerate(texts):
            span = slice(columns.bounds[position], columns.bounds[position + 1])
            try:
                check_coverage(text, columns.start[span], columns.end[span])
            except TokenizationError as error:
                failures[position] = error
        windows = cut_windows(
            columns.bounds,
            columns.starts_word,
            max_tokens=self._windows.max_tokens - self._n_special,
            overlap_tokens=self._windows.overlap_tokens,
        )
        cut = time.perf_counter()
        stitcher = Stitcher(windows, columns.bounds, self._n_tags)
        computed = self._forward(columns, windows, stitcher, failures)
        ran = time.perf_counter()
        probabilities, is_read = stitcher.merge()
        for token in np.flatnonzero(~is_read):
            owner = int(np.searchsorted(columns.bounds, token, side="right")) - 1
            failures.setdefault(owner, TaggingError("uncovered", f"no window answered for token {token}"))
        document, start, end, label, score = self._decode(texts, columns, probabilities)
        keep = ~np.isin(document, list(failures))
        return Tagging(
            document=document[keep],
            start=start[keep],
            end=end[keep],
            label=label[keep],
            score=score[keep],
            tokens=np.diff(columns.bounds),
            windows=np.bincount(windows.document, minlength=len(texts)),
            failures=failures,
            computed_tokens=computed,
            seconds={"forward": ran - cut, "decode": cut - started + time.perf_counter() - ran},
        )

    def _forward(
        self, columns: TokenColumns, windows: Windows, stitcher: Stitcher, failures: dict[int, RecordError]
    ) -> int:
        """Runs every window whose document has not failed; returns the padded tokens computed."""
        lengths = windows.last - windows.first + self._n_special
        alive = np.flatnonzero(~np.isin(windows.document, list(failures)))
        todo = [alive[batch] for batch in reversed(pack_windows(lengths[alive], self._batch_tokens))]
        flying: deque[tuple[IntArray, Callable[[], FloatArray]]] = deque()
        computed = 0
        while todo or flying:
            if todo and len(flying) < _IN_FLIGHT:
                batch = todo.pop()
                try:
                    flying.append((batch, self._classifier.submit(*self._pad(columns, windows, batch))))
                except ModelError:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever a model raises, its neighbours go on
                    todo += self._split(batch, lengths, error, windows, failures)
                    continue
                if todo and len(flying) < _IN_FLIGHT:
                    continue
            batch, fetch = flying.popleft()
            try:
                probabilities = fetch()
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001
                todo += self._split(batch, lengths, error, windows, failures)
                continue
            computed += len(batch) * int(lengths[batch].max())
            self._take(batch, probabilities, lengths, stitcher)
        return computed

    def _pad(self, columns: TokenColumns, windows: Windows, batch: IntArray) -> tuple[IntArray, IntArray]:
        prefix, suffix = self._tokenizer.prefix_ids, self._tokenizer.suffix_ids
        lengths = windows.last[batch] - windows.first[batch] + self._n_special
        ids = np.full((len(batch), int(lengths.max())), self._tokenizer.pad_id, dtype=np.int64)
        for row, (window, length) in enumerate(zip(batch, lengths, strict=True)):
            ids[row, : len(prefix)] = prefix
            ids[row, len(prefix) : length - len(suffix)] = columns.ids[windows.first[window] : windows.last[window]]
            ids[row, length - len(suffix) : length] = suffix
        return ids, lengths

    def _split(
        self,
        batch: IntArray,
        lengths: IntArray,
        error: Exception,
        windows: Windows,
        failures: dict[int, RecordError],
    ) -> list[IntArray]:
        """What to run instead of a batch that failed; a window that fails alone takes its document with it."""
        if len(batch) == 1:
            code = "too_large" if isinstance(error, MemoryError) else "inference_failed"
            # The error's own words may quote the text, so only its type is told.
            message = f"the model failed on a window of {lengths[batch[0]]} tokens: {type(error).__name__}"
            failures.setdefault(int(windows.document[batch[0]]), TaggingError(code, message))
            return []
        if isinstance(error, MemoryError):
            longest = int(lengths[batch].max())
            self._batch_tokens = max(longest, min(self._batch_tokens, len(batch) * longest) // 2)
            return [batch[part] for part in pack_windows(lengths[batch], self._batch_tokens)]
        return [batch[len(batch) // 2 :], batch[: len(batch) // 2]]

    def _take(self, batch: IntArray, probabilities: FloatArray, lengths: IntArray, stitcher: Stitcher) -> None:
        expected = (len(batch), int(lengths[batch].max()), self._n_tags)
        if probabilities.shape != expected:
            raise ModelError(f"expected probabilities of shape {expected}, found {probabilities.shape}")
        n_prefix, n_suffix = len(self._tokenizer.prefix_ids), len(self._tokenizer.suffix_ids)
        for row, window in enumerate(batch):
            answer = probabilities[row, n_prefix : lengths[window] - n_suffix]
            if not np.isfinite(answer).all():
                raise ModelError("expected probabilities that are numbers, found NaN or infinity; try --precision fp32")
            stitcher.add(int(window), answer)

    def _decode(
        self, texts: Sequence[str], columns: TokenColumns, probabilities: FloatArray
    ) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray]:
        """Token probabilities to (document, start, end, label, score) of entities, in code points."""
        units = self._unit_starts(columns)
        begin = np.searchsorted(units, columns.bounds)
        spans = self._decoder.decode(self._aggregate(probabilities, units), begin)
        ends = np.append(units[1:], len(columns.ids))
        document = np.searchsorted(columns.bounds, units[spans.first], side="right") - 1
        start = columns.start[units[spans.first]].astype(np.int64)
        end = columns.end[ends[spans.last - 1] - 1].astype(np.int64)
        for at, (owner, left, right) in enumerate(zip(document.tolist(), start.tolist(), end.tolist(), strict=True)):
            surface = texts[owner][left:right]
            # Byte-level and SentencePiece tokens carry the space before their word.
            start[at] = left + len(surface) - len(surface.lstrip())
            end[at] = right - (len(surface) - len(surface.rstrip()))
        filled = end > start
        return document[filled], start[filled], end[filled], spans.label[filled], spans.score[filled]

    def _unit_starts(self, columns: TokenColumns) -> IntArray:
        if self._aggregation == "simple":
            return np.arange(len(columns.ids))
        starts = columns.starts_word.copy()
        opening = columns.bounds[:-1]
        starts[opening[opening < len(starts)]] = True
        return np.flatnonzero(starts)

    def _aggregate(self, probabilities: FloatArray, units: IntArray) -> FloatArray:
        """Token probabilities (n_tokens, n_tags) to those of units (n_units, n_tags)."""
        if self._aggregation in ("simple", "first") or not len(units):
            return probabilities[units]
        if self._aggregation == "average":
            counts = np.diff(np.append(units, len(probabilities)))
            sums: FloatArray = np.add.reduceat(probabilities, units, axis=0)
            return (sums / counts[:, None]).astype(np.float32)
        surest = probabilities.max(axis=1)
        peak = np.maximum.reduceat(surest, units)
        owner = np.repeat(np.arange(len(units)), np.diff(np.append(units, len(probabilities))))
        is_peak = np.flatnonzero(surest == peak[owner])
        first_peak = is_peak[np.unique(owner[is_peak], return_index=True)[1]]
        return probabilities[first_peak]


def _groups(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    base, size = 0, 0
    for position, text in enumerate(texts):
        size += len(text)
        if size >= _LOOK_AHEAD_CHARACTERS:
            yield base, texts[base : position + 1]
            base, size = position + 1, 0
    if base < len(texts):
        yield base, texts[base:]


def _join_taggings(taggings: Sequence[Tagging]) -> Tagging:
    seconds: dict[str, float] = {}
    failures: dict[int, RecordError] = {}
    for tagging in taggings:
        failures.update(tagging.failures)
        for stage, spent in tagging.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return Tagging(
        document=_concatenate([t.document for t in taggings], np.int64),
        start=_concatenate([t.start for t in taggings], np.int64),
        end=_concatenate([t.end for t in taggings], np.int64),
        label=_concatenate([t.label for t in taggings], np.int64),
        score=_concatenate([t.score for t in taggings], np.float32),
        tokens=_concatenate([t.tokens for t in taggings], np.int64),
        windows=_concatenate([t.windows for t in taggings], np.int64),
        failures=failures,
        computed_tokens=sum(t.computed_tokens for t in taggings),
        seconds=seconds,
    )


def _concatenate(arrays: Sequence[npt.NDArray[Any]], dtype: type) -> npt.NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)
