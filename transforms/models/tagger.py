"""What a model is to the rest of spanmill: three small protocols.

A Tagger turns texts into entities and is what the annotator holds. A TaggerConfig is what travels to the workers in its
place. A TokenClassifier turns token ids into tag
probabilities; `window_tagger` makes a Tagger of one.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from schemas.errors import RecordError
from schemas.labels import TagSet

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Tagging:
    """Entities of several texts, in order of text and position.

    Attributes:
      document: (n,) index of the text.
      start: (n,) first code point.
      end: (n,) one past the last.
      label: (n,) index into the tagger's labels.
      score: (n,) probability.
      tokens: (n_texts,) model tokens of each text.
      windows: (n_texts,) windows that covered them.
      failures: texts that could not be tagged, and why.
      computed_tokens: tokens computed, with overlap, special tokens and padding.
      seconds: time by stage.
      counts: what else the tagger counts, by name, such as the tokens of answers; whole numbers.
      unknown: (n_texts,) how many of the tokens of each text stand for what the tokenizer does not know; None where it
        has no such token, or there is no tokenizer.
      chosen: (n_texts,) name of the tagger that was chosen for each text; None where there is no choice.
      probabilities: of each text, (its tokens, tags), as they were decoded; None where they are not kept.
    """

    document: IntArray
    start: IntArray
    end: IntArray
    label: IntArray
    score: FloatArray
    tokens: IntArray
    windows: IntArray
    failures: Mapping[int, RecordError]
    computed_tokens: int
    seconds: Mapping[str, float]
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unknown: IntArray | None = None
    chosen: tuple[str, ...] | None = None
    probabilities: tuple[FloatArray, ...] | None = None


class Tagger(Protocol):
    """Finds entities in texts; one per thread."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it may give."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the taggers that it is made of, each with a column of entities; one alone has the empty name."""

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, entities out; a text that fails is in `failures` and costs its neighbours nothing."""

    def begin(self, texts: Sequence[str]) -> Callable[[], Tagging]:
        """Starts on texts, so that the model is busy with them while others are waited for.

        Returns:
          A function that waits for their entities, to be called once, in the order in which texts were begun.
        """


@runtime_checkable
class TaggerConfig(Protocol):
    """What travels to the workers in place of a tagger."""

    @property
    def digest(self) -> str:
        """SHA-256 of what answers, hex: the `model` column of annotations."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that its taggers may give."""

    @property
    def is_remote(self) -> bool:
        """Whether a server does the work, so that no document can take this process with it."""

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name; among it `tagger`, the kind, and `model`, the digest."""

    def load(self) -> Any:
        """Loads what threads share; called once per process."""

    def build(self, shared: Any) -> Tagger:
        """A tagger for one thread, around what `load` gave."""


class TokenClassifier(Protocol):
    """Gives tag probabilities to tokens; shared by the threads of a process."""

    @property
    def tag_set(self) -> TagSet:
        """Its tags, in the order of its outputs."""

    @property
    def in_flight(self) -> int:
        """Passes to submit before the first is fetched, so that none waits for the caller."""

    def submit(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        """Starts a forward pass and returns a function that waits for its result.

        Args:
          ids: (n_windows, longest) vocabulary ids, padded on the right.
          lengths: (n_windows,) how many of them are real.

        Returns:
          A function giving probabilities, (n_windows, longest, n_tags).

        Raises:
          MemoryError: the batch is too large, here or when the result is fetched.
          ModelError: the model or its device is broken for good.
        """
