"""Gold and predicted entities of the same documents, side by side, as scoring wants them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from transforms.scoring.matching import SpanColumns

IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Document:
    """What is told of a document.

    Attributes:
      id: its id.
      source: the gold file.
      row: its position there, from 0.
      n_tokens: tokens by the gold file's account, or words between white space.
      groups: values of the columns to break scores down by.
    """

    id: str
    source: str
    row: int
    n_tokens: int
    groups: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """What stands for the document in draws: its id, without the folder of a file that is part of it."""
        folder, slash, _ = self.source.rpartition("/")
        return self.id.removeprefix(folder + slash)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """The spans of both sides under one reading of their tags."""

    gold: SpanColumns
    predicted: SpanColumns


class Texts(Protocol):
    """The words behind the spans of a block."""

    def text(self, document: int) -> str:
        """The document's text."""

    def place(self, document: int, first: int, last: int) -> tuple[int, int]:
        """Start and end of a span in the text, in code points."""

    def surface(self, document: int, first: int, last: int) -> str:
        """The span's characters."""

    def count_tokens(self, document: int, first: int, last: int) -> int:
        """How many tokens, or words between white space, the span covers."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PairBlock:
    """Some documents with both their annotations.

    Attributes:
      documents: the documents.
      labels: names of the label numbers.
      default: spans as seqeval's default mode reads them.
      strict: spans as its strict mode does; the same object where spans did not come from tags.
      explained: the one of the two that errors, overlaps, mentions and samples are about.
      texts: the words behind the spans.
      scores: (n_predicted,) scores of the explained predicted spans, where there are any.
      below: predicted spans under their threshold, with their scores.
      tokens: (n_documents, 2) tokens with the right tag, and tokens, where tokens are known.
      counts: what was noticed on the way, by name.
      listed: examples of that, by name, each with a rank that decides which are kept.
    """

    documents: tuple[Document, ...]
    labels: tuple[str, ...]
    default: Reading
    strict: Reading
    explained: Reading
    texts: Texts
    scores: npt.NDArray[np.float32] | None = None
    below: tuple[SpanColumns, npt.NDArray[np.float32]] | None = None
    tokens: IntArray | None = None
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    listed: Mapping[str, tuple[tuple[Any, Any], ...]] = dataclasses.field(default_factory=dict)
