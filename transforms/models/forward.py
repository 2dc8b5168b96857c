"""Windows to token probabilities: packed, padded, run a batch ahead, and stitched.

Windows with the same tokens are computed once, for boilerplate comes in thousands. A batch that runs out of memory is
cut again under half the budget; one that fails is halved until the window at fault stands alone, and only the
documents that hold it are lost.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.errors import ModelError, RecordError, TaggingError
from transforms.models.tagger import FloatArray, IntArray, TokenClassifier
from transforms.text.packing import fill_lengths, pack_windows
from transforms.text.stitching import Stitcher
from transforms.text.tokens import ColumnTokenizer, TokenColumns
from transforms.text.windows import Windows
from transforms.workers.heartbeats import beat

_REMEMBERED_BYTES = 32 << 20


class Answers:
    """Probabilities of windows by their tokens, the first 32 MiB of them."""

    def __init__(self) -> None:
        self._answers: dict[bytes, FloatArray] = {}
        self._room = _REMEMBERED_BYTES

    def find(self, key: bytes) -> FloatArray | None:
        """What was answered, (n_tokens, n_tags), if anything was."""
        return self._answers.get(key)

    def keep(self, key: bytes, probabilities: FloatArray) -> None:
        """Remembers an answer while there is room."""
        if probabilities.nbytes <= self._room:
            self._room -= probabilities.nbytes
            self._answers[key] = probabilities


class WindowRunner:
    """Runs windows through a token classifier.

    Args:
      tokenizer: gives the special tokens around a window.
      classifier: the model, which threads may share.
      batch_tokens: most padded tokens in a batch.
      most_tokens: most tokens of a window, which none is padded beyond.
      dedupe: compute windows with the same tokens once.
    """

    def __init__(
        self,
        tokenizer: ColumnTokenizer,
        classifier: TokenClassifier,
        *,
        batch_tokens: int,
        most_tokens: int,
        dedupe: bool,
    ) -> None:
        self._prefix, self._suffix, self._pad_id = tokenizer.prefix_ids, tokenizer.suffix_ids, tokenizer.pad_id
        self._classifier = classifier
        self._n_tags = len(classifier.tag_set.tags)
        self._batch_tokens = batch_tokens
        self._most_tokens = most_tokens
        self._dedupe = dedupe
        self._sources: deque[tuple[Iterator[Work], Answers]] = deque()
        self._begun: deque[Work] = deque()
        self._todo: list[_Pass] = []
        self._flying: deque[tuple[_Pass, Callable[[], FloatArray]]] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not (self._sources or self._todo or self._flying or self._begun)

    def enqueue(self, works: Iterator["Work"], answers: Answers) -> None:
        """Adds works to those that are under way.

        Args:
          works: groups of documents, drawn one by one as the model is ready for them.
          answers: what is known already; what is found is added.
        """
        self._sources.append((works, answers))

    def clear(self) -> None:
        """Forgets everything that is under way."""
        for queue in (self._sources, self._todo, self._flying, self._begun):
            queue.clear()

    def advance(self) -> list["Work"]:
        """Goes on by one pass, beginning those of the next work before the last of the one before have ended.

        Returns:
          The works, in order, that have all of their probabilities by now and had not before.

        Raises:
          ModelError: the model answers nonsense.
        """
        while not self._todo and (drawn := self._draw()):
            work, answers = drawn
            self._begun.append(work)
            work.begin(answers, dedupe=self._dedupe)
            self._todo = self._pack(work, np.array(list(work.twins), dtype=np.int64))
        if self._todo or self._flying:
            self._pass()
        done = []
        while self._begun and not self._begun[0].pending:
            done.append(self._begun.popleft())
        return done

    def _draw(self) -> tuple["Work", Answers] | None:
        """The next work, if there is one."""
        while self._sources:
            works, answers = self._sources[0]
            work = next(works, None)
            if work is not None:
                return work, answers
            self._sources.popleft()
        return None

    def _pass(self) -> None:
        """Submits as many passes as may be in flight, and takes what comes of the first."""
        started = time.perf_counter()
        try:
            while self._todo and len(self._flying) < self._classifier.in_flight:
                at = self._todo.pop()
                self._flying.append((at, self._classifier.submit(*self._pad(at))))
            at, fetch = self._flying.popleft()
            probabilities = fetch()
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model raises, its neighbours go on
            self._todo += self._split(at, error)
        else:
            self._take(at, probabilities)
            beat()
        at.work.seconds += time.perf_counter() - started

    def _pack(self, work: "Work", windows: IntArray) -> list["_Pass"]:
        """Windows of a work to passes, the first to run last."""
        packed = pack_windows(self._lengths(work, windows), self._batch_tokens, most_tokens=self._most_tokens)
        work.pending += len(packed)
        return [_Pass(work, windows[batch.windows], batch.longest, batch.rows) for batch in reversed(packed)]

    def _lengths(self, work: "Work", windows: IntArray) -> IntArray:
        """Tokens of some windows of a work, special ones included."""
        return work.windows.last[windows] - work.windows.first[windows] + len(self._prefix) + len(self._suffix)

    def _pad(self, at: "_Pass") -> tuple[IntArray, IntArray]:
        """Vocabulary ids of a pass, (rows, longest), special tokens around them, padded on the right; their lengths."""
        ids = np.full((at.rows, at.longest), self._pad_id, dtype=np.int64)
        begin = len(self._prefix)
        ids[:, :begin] = self._prefix
        for row, window in zip(ids, at.windows.tolist(), strict=False):
            inner = at.work.ids_of(window)
            end = begin + len(inner)
            row[begin:end] = inner
            row[end : end + len(self._suffix)] = self._suffix
        # The last window again: a row without tokens may be NaN, and would spoil scales taken over the batch.
        ids[len(at.windows) :] = ids[len(at.windows) - 1]
        return ids, fill_lengths(self._lengths(at.work, at.windows), at.rows)

    def _split(self, at: "_Pass", error: Exception) -> list["_Pass"]:
        """What to run instead of a pass that failed; a window that fails alone takes its documents with it."""
        work, windows, longest, rows = at
        if rows > len(windows):
            return [at._replace(rows=len(windows))]
        work.pending -= 1
        if len(windows) == 1:
            code = "too_large" if isinstance(error, MemoryError) else "inference_failed"
            # The error's own words may quote the text, so only its type is told.
            message = (
                f"the model failed on a window of {self._lengths(work, windows)[0]} tokens: {type(error).__name__}"
            )
            work.fail(int(windows[0]), TaggingError(code, message))
            return []
        if isinstance(error, MemoryError):
            self._batch_tokens = max(longest, min(self._batch_tokens, rows * longest) // 2)
            return self._pack(work, windows)
        half = len(windows) // 2
        work.pending += 2
        return [_Pass(work, part, longest, len(part)) for part in (windows[half:], windows[:half])]

    def _take(self, at: "_Pass", probabilities: FloatArray) -> None:
        expected = (at.rows, at.longest, self._n_tags)
        if probabilities.shape != expected:
            raise ModelError(f"expected probabilities of shape {expected}, found {probabilities.shape}")
        # Once for all, for it takes as long for a window as for a batch.
        finite = np.isfinite(probabilities)
        lengths = self._lengths(at.work, at.windows).tolist()
        for row, (window, length) in enumerate(zip(at.windows.tolist(), lengths, strict=True)):
            inner = slice(len(self._prefix), length - len(self._suffix))
            if not finite[row, inner].all():
                raise ModelError(
                    "expected probabilities that are numbers, found NaN or infinity: the weights are damaged, or the "
                    "--precision is too coarse for them"
                )
            at.work.answer(window, probabilities[row, inner])
        at.work.computed_tokens += at.rows * at.longest
        at.work.pending -= 1


class _Pass(NamedTuple):
    """Windows of a work that run together, padded to the longest, and filled up to a number of rows."""

    work: "Work"
    windows: IntArray
    longest: int
    rows: int


class Work:
    """The windows of a group of documents, and what has come of them.

    Args:
      columns: the tokens.
      windows: the windows over them.
      failures: documents that failed; those that fail here are added.
      n_tags: tags of the model.

    Attributes:
      stitcher: the probabilities.
      computed_tokens: tokens computed, with overlap, special tokens and padding.
      seconds: time spent in the model.
    """

    def __init__(
        self, columns: TokenColumns, windows: Windows, failures: dict[int, RecordError], *, n_tags: int
    ) -> None:
        self._ids = columns.ids
        self.windows = windows
        self._failures = failures
        self._answers = Answers()
        self._keys: dict[int, bytes] = {}
        self.stitcher = Stitcher(windows, columns.bounds, n_tags)
        self.twins: dict[int, list[int]] = {}
        self.pending = 0
        self.computed_tokens = 0
        self.seconds = 0.0

    def begin(self, answers: Answers, *, dedupe: bool) -> None:
        """Finds the windows to compute, each with those that it answers for, itself among them."""
        self._answers = answers
        alive = np.flatnonzero(~np.isin(self.windows.document, list(self._failures))).tolist()
        if not dedupe:
            self.twins = {window: [window] for window in alive}
            return
        first: dict[bytes, int] = {}
        for window in alive:
            key = hashlib.blake2b(self.ids_of(window).tobytes(), digest_size=16).digest()
            if (known := self._answers.find(key)) is not None:
                self.stitcher.add(window, known)
                continue
            same = first.setdefault(key, window)
            self._keys[same] = key
            self.twins.setdefault(same, []).append(window)

    def ids_of(self, window: int) -> npt.NDArray[np.int32]:
        """The tokens of a window, without special ones."""
        return self._ids[self.windows.first[window] : self.windows.last[window]]

    def answer(self, window: int, probabilities: FloatArray) -> None:
        """Takes the probabilities of a window that was computed."""
        if window in self._keys:
            self._answers.keep(self._keys[window], probabilities)
        for twin in self.twins[window]:
            self.stitcher.add(twin, probabilities)

    def fail(self, window: int, error: RecordError) -> None:
        """Gives up on a window, and so on every document that holds its like."""
        for twin in self.twins[window]:
            self._failures.setdefault(int(self.windows.document[twin]), error)
