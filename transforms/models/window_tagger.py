"""From texts to entities with a token classifier: the whole path of a document, free of Beam.

texts ──> groups within a look-ahead ──> tokens ──> windows ──> probabilities ──> stitched tokens
          (prepared one ahead)                      (see forward)                        │
entities <── character offsets <── spans of words <── one decode per document ───────────┘
          (finished one behind)
"""

import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import ModelError, RecordError, TaggingError, TokenizationError
from transforms.models.forward import Answers, WindowRunner, Work
from transforms.models.tagger import Tagging, TokenClassifier
from transforms.tags.entities import DecodingConfig, EntityDecoder
from transforms.text.tokens import ColumnTokenizer, TokenColumns, check_coverage
from transforms.text.windows import WindowConfig, Windows, cut_windows

_LOOK_AHEAD_CHARACTERS = 1 << 19


class WindowTagger:
    """Tags texts with a token classifier.

    Args:
      tokenizer: this thread's own tokenizer.
      classifier: the model, which threads may share.
      windows: how documents are cut; `max_tokens` no more than the model reads.
      decoding: how probabilities become entities.
      batch_tokens: most padded tokens in a batch.
      dedupe: compute windows with the same tokens once.

    Attributes:
      keeps_probabilities: whether taggings hold those of tokens; they do not unless somebody wants them.
    """

    def __init__(
        self,
        tokenizer: ColumnTokenizer,
        classifier: TokenClassifier,
        *,
        windows: WindowConfig,
        decoding: DecodingConfig,
        batch_tokens: int,
        dedupe: bool = True,
    ) -> None:
        self.keeps_probabilities = False
        self._tokenizer = tokenizer
        self._n_special = len(tokenizer.prefix_ids) + len(tokenizer.suffix_ids)
        self._windows = windows
        self._decoder = EntityDecoder(classifier.tag_set, decoding)
        self._runner = WindowRunner(
            tokenizer, classifier, batch_tokens=batch_tokens, most_tokens=windows.max_tokens, dedupe=dedupe
        )
        # A thread each for good: a new one per call would leave the memory of each behind.
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="prepare")
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="finish")
        self._drawn: deque[tuple[_Batch, _Group]] = deque()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it may give."""
        return self._decoder.labels

    @property
    def names(self) -> tuple[str, ...]:
        """It is one tagger, and needs no name."""
        return ("",)

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, entities out."""
        return self.begin(texts)()

    def begin(self, texts: Sequence[str]) -> Callable[[], Tagging]:
        """Starts on texts; see `Tagger.begin`."""
        batch = _Batch()
        groups = _groups(texts)
        waiting = deque(self._ahead.submit(self._prepare, *group) for group in itertools.islice(groups, 1))
        self._runner.enqueue(self._draw(batch, waiting, groups), Answers())
        return lambda: self._wait_for(batch)

    def _draw(
        self, batch: "_Batch", waiting: "deque[Future[_Group]]", groups: Iterator[tuple[int, Sequence[str]]]
    ) -> Iterator[Work]:
        """Work of groups of texts, each prepared while the one before it is in the model."""
        while waiting:
            group = waiting.popleft().result()
            waiting.extend(self._ahead.submit(self._prepare, *after) for after in itertools.islice(groups, 1))
            batch.n_open += 1
            self._drawn.append((batch, group))
            yield group.work
        batch.is_drawn = True

    def _wait_for(self, batch: "_Batch") -> Tagging:
        """Runs the model until it has answered for all texts of a batch, and finishes each group behind it."""
        try:
            while not batch.is_done:
                if self._runner.is_idle:
                    raise ModelError("the texts were given up when the model failed on others")  # noqa: TRY301
                for _ in self._runner.advance():
                    owner, group = self._drawn.popleft()
                    owner.take(self._behind.submit(self._finish, group))
        except BaseException:
            self._runner.clear()
            self._drawn.clear()
            raise
        return _join_taggings(batch.taggings(), has_probabilities=self.keeps_probabilities)

    def _prepare(self, base: int, texts: Sequence[str]) -> "_Group":
        """Texts to tokens and windows; a text that is not covered has failed."""
        started = time.perf_counter()
        columns = self._tokenizer.tokenize(texts)
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
        work = Work(columns, windows, failures, n_tags=self._decoder.n_tags)
        return _Group(base, texts, columns, windows, failures, work, time.perf_counter() - started)

    def _finish(self, group: "_Group") -> Tagging:
        """Probabilities of windows to entities."""
        started = time.perf_counter()
        columns, failures = group.columns, group.failures
        probabilities, is_read = group.work.stitcher.merge()
        for token in np.flatnonzero(~is_read):
            owner = int(np.searchsorted(columns.bounds, token, side="right")) - 1
            failures.setdefault(owner, TaggingError("uncovered", f"no window answered for token {token}"))
        found = self._decoder.decode(group.texts, columns, probabilities)
        keep = ~np.isin(found.document, list(failures))
        own = (probabilities[first:last] for first, last in itertools.pairwise(columns.bounds))
        return Tagging(
            document=found.document[keep] + group.base,
            start=found.start[keep],
            end=found.end[keep],
            label=found.label[keep],
            score=found.score[keep],
            tokens=np.diff(columns.bounds),
            windows=np.bincount(group.windows.document, minlength=len(group.texts)),
            failures={group.base + at: error for at, error in failures.items()},
            computed_tokens=group.work.computed_tokens,
            seconds={
                "tokenize": group.seconds,
                "forward": group.work.seconds,
                "decode": time.perf_counter() - started,
            },
            unknown=self._tokenizer.count_unknown(columns),
            probabilities=tuple(own) if self.keeps_probabilities else None,
        )


class _Batch:
    """Texts that were given together, on their way.

    Attributes:
      is_drawn: whether all of their groups are in the model or behind it.
      n_open: how many of them are in it.
    """

    def __init__(self) -> None:
        self.is_drawn = False
        self.n_open = 0
        self._finishing: deque[Future[Tagging]] = deque()
        self._taggings: list[Tagging] = []

    @property
    def is_done(self) -> bool:
        """Whether the model has answered for all of them."""
        return self.is_drawn and not self.n_open

    def take(self, finishing: "Future[Tagging]") -> None:
        """Takes the next group, whose entities are coming; two at a time, lest they pile up."""
        self.n_open -= 1
        self._finishing.append(finishing)
        if len(self._finishing) == 2:
            self._taggings.append(self._finishing.popleft().result())

    def taggings(self) -> list[Tagging]:
        """Entities of all groups, in order."""
        return [*self._taggings, *(finishing.result() for finishing in self._finishing)]


@dataclasses.dataclass(frozen=True)
class _Group:
    """Texts within the look-ahead, ready for the model; `base` is the place of the first among all.

    `seconds` is what the preparation took.
    """

    base: int
    texts: Sequence[str]
    columns: TokenColumns
    windows: Windows
    failures: dict[int, RecordError]
    work: Work
    seconds: float


def _groups(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Texts cut at the look-ahead, with the place of the first."""
    base, size = 0, 0
    for position, text in enumerate(texts):
        size += len(text)
        if size >= _LOOK_AHEAD_CHARACTERS:
            yield base, texts[base : position + 1]
            base, size = position + 1, 0
    if base < len(texts):
        yield base, texts[base:]


def _join_taggings(taggings: Sequence[Tagging], *, has_probabilities: bool) -> Tagging:
    seconds: dict[str, float] = {}
    failures: dict[int, RecordError] = {}
    unknown = [tagging.unknown for tagging in taggings if tagging.unknown is not None]
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
        unknown=None if len(unknown) < len(taggings) else _concatenate(unknown, np.int64),
        probabilities=tuple(own for t in taggings for own in t.probabilities or ()) if has_probabilities else None,
    )


def _concatenate(arrays: Sequence[npt.NDArray[Any]], dtype: type) -> npt.NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=dtype)
