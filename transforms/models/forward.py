"""Windows to token probabilities: packed, padded, run a batch ahead, and stitched.

Windows with the same tokens are computed once, for boilerplate comes in thousands. A batch that runs out of memory is
cut again under half the budget; one that fails is halved until the window at fault stands alone, and only the
documents that hold it are lost.
"""

import hashlib
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from schemas.errors import ModelError, RecordError, TaggingError
from transforms.models.tagger import FloatArray, IntArray, TokenClassifier
from transforms.text.packing import pack_windows
from transforms.text.stitching import Stitcher
from transforms.text.tokens import ColumnTokenizer, TokenColumns
from transforms.text.windows import Windows

_IN_FLIGHT = 2
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
      dedupe: compute windows with the same tokens once.
    """

    def __init__(
        self, tokenizer: ColumnTokenizer, classifier: TokenClassifier, *, batch_tokens: int, dedupe: bool
    ) -> None:
        self._prefix, self._suffix, self._pad_id = tokenizer.prefix_ids, tokenizer.suffix_ids, tokenizer.pad_id
        self._classifier = classifier
        self._n_tags = len(classifier.tag_set.tags)
        self._batch_tokens = batch_tokens
        self._dedupe = dedupe

    def run(
        self, columns: TokenColumns, windows: Windows, failures: dict[int, RecordError], answers: Answers
    ) -> tuple[Stitcher, int]:
        """Windows of the documents that have not failed to their probabilities, and how many padded tokens that took.

        Args:
          columns: the tokens.
          windows: the windows over them.
          failures: documents that failed; those that fail here are added.
          answers: what is known already; what is found is added.
        """
        work = _Work(columns, windows, failures, answers, Stitcher(windows, columns.bounds, self._n_tags))
        work.begin(dedupe=self._dedupe)
        lengths = windows.last - windows.first + len(self._prefix) + len(self._suffix)
        fresh = np.array(list(work.twins), dtype=np.int64)
        todo = [fresh[batch] for batch in reversed(pack_windows(lengths[fresh], self._batch_tokens))]
        flying: deque[tuple[IntArray, Callable[[], FloatArray]]] = deque()
        computed = 0
        while todo or flying:
            try:
                while todo and len(flying) < _IN_FLIGHT:
                    batch = todo.pop()
                    flying.append((batch, self._classifier.submit(self._pad(work, batch), lengths[batch])))
                batch, fetch = flying.popleft()
                probabilities = fetch()
            except ModelError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a model raises, its neighbours go on
                todo += self._split(batch, lengths[batch], error, work)
                continue
            computed += len(batch) * int(lengths[batch].max())
            self._take(batch, lengths[batch], probabilities, work)
        return work.stitcher, computed

    def _pad(self, work: "_Work", batch: IntArray) -> IntArray:
        """Vocabulary ids of a batch, (n_windows, longest), special tokens around them, padded on the right."""
        rows = [[*self._prefix, *work.ids_of(window), *self._suffix] for window in batch]
        ids = np.full((len(rows), max(map(len, rows))), self._pad_id, dtype=np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
        return ids

    def _split(self, batch: IntArray, lengths: IntArray, error: Exception, work: "_Work") -> list[IntArray]:
        """What to run instead of a batch that failed; a window that fails alone takes its documents with it."""
        if len(batch) == 1:
            code = "too_large" if isinstance(error, MemoryError) else "inference_failed"
            # The error's own words may quote the text, so only its type is told.
            message = f"the model failed on a window of {lengths[0]} tokens: {type(error).__name__}"
            work.fail(int(batch[0]), TaggingError(code, message))
            return []
        if isinstance(error, MemoryError):
            longest = int(lengths.max())
            self._batch_tokens = max(longest, min(self._batch_tokens, len(batch) * longest) // 2)
            return [batch[part] for part in pack_windows(lengths, self._batch_tokens)]
        return [batch[len(batch) // 2 :], batch[: len(batch) // 2]]

    def _take(self, batch: IntArray, lengths: IntArray, probabilities: FloatArray, work: "_Work") -> None:
        expected = (len(batch), int(lengths.max()), self._n_tags)
        if probabilities.shape != expected:
            raise ModelError(f"expected probabilities of shape {expected}, found {probabilities.shape}")
        for row, window in enumerate(batch):
            answer = probabilities[row, len(self._prefix) : lengths[row] - len(self._suffix)]
            if not np.isfinite(answer).all():
                raise ModelError("expected probabilities that are numbers, found NaN or infinity; try --precision fp32")
            work.answer(int(window), answer)


class _Work:
    """The windows of a group of documents, and what has come of them."""

    def __init__(
        self,
        columns: TokenColumns,
        windows: Windows,
        failures: dict[int, RecordError],
        answers: Answers,
        stitcher: Stitcher,
    ) -> None:
        self._ids = columns.ids
        self._windows = windows
        self._failures = failures
        self._answers = answers
        self._keys: dict[int, bytes] = {}
        self.stitcher = stitcher
        self.twins: dict[int, list[int]] = {}

    def begin(self, *, dedupe: bool) -> None:
        """Finds the windows to compute, each with those that it answers for, itself among them."""
        alive = np.flatnonzero(~np.isin(self._windows.document, list(self._failures))).tolist()
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
        return self._ids[self._windows.first[window] : self._windows.last[window]]

    def answer(self, window: int, probabilities: FloatArray) -> None:
        """Takes the probabilities of a window that was computed."""
        if window in self._keys:
            self._answers.keep(self._keys[window], probabilities)
        for twin in self.twins[window]:
            self.stitcher.add(twin, probabilities)

    def fail(self, window: int, error: RecordError) -> None:
        """Gives up on a window, and so on every document that holds its like."""
        for twin in self.twins[window]:
            self._failures.setdefault(int(self._windows.document[twin]), error)
