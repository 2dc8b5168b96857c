"""Documents chosen for labelling, and what people said of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from schemas.errors import ConfigError

SELECTION_VERSION = 1

RANDOM = "random"
"""The way of the documents that were drawn by chance, whose labels tell of the whole corpus without bias."""

Span = tuple[int, int, str]
"""Start, end and label, in code points of a text."""


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """An entity that the model found, for an annotator to accept, change or remove.

    Attributes:
      start: first code point of the text.
      end: one past the last.
      label: its label.
      score: how sure the model is, 0 to 1.
    """

    start: int
    end: int
    label: str
    score: float

    @property
    def span(self) -> Span:
        """Start, end and label."""
        return self.start, self.end, self.label


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectedDocument:
    """A document that is to be labelled.

    Attributes:
      digest: SHA-256 of its text in UTF-8, hex; what it is known by on its way through a tool.
      id: its id in the corpus.
      source: the input file it came from.
      row: its position there, from 0.
      text: its text.
      tokens: its length in tokens of the model.
      suggestions: what the model found, without overlaps, by position.
      chosen_by: the way it was chosen: RANDOM, uncertainty, ...
      rank: its place among those chosen that way, from 1.
      score: what it was ranked by; None where chance chose.
    """

    digest: str
    id: str
    source: str
    row: int
    text: str
    tokens: int
    suggestions: tuple[Suggestion, ...]
    chosen_by: str
    rank: int
    score: float | None

    @property
    def provenance(self) -> dict[str, Any]:
        """What goes along with the text into a tool and is hoped to come back: flat, with keys that tools leave be."""
        return {
            "digest": self.digest,
            "document": self.id,
            "chosen_by": self.chosen_by,
            "rank": self.rank,
            "ranked_by": self.score,
        }

    def to_json(self) -> dict[str, Any]:
        """The document as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "SelectedDocument":
        """The inverse of `to_json`."""
        return cls(**{**value, "suggestions": tuple(Suggestion(**each) for each in value["suggestions"])})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """How documents were chosen from a run.

    Attributes:
      run: `root`, `fingerprint` and `model` (its digest) of the run.
      tagger: the tagger whose entities are suggested; empty where the run has one only.
      labels: labels of that tagger.
      settings: everything that was asked, by name.
      counts: documents read, left out by reason, and chosen by way.
    """

    run: Mapping[str, str]
    tagger: str
    labels: tuple[str, ...]
    settings: Mapping[str, Any]
    counts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The selection as JSON values."""
        return {"version": SELECTION_VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Selection":
        """The inverse of `to_json`.

        Raises:
          ConfigError: another version of spanmill wrote it.
        """
        rest = dict(value)
        if (found := rest.pop("version", None)) != SELECTION_VERSION:
            raise ConfigError(f"expected a selection of version {SELECTION_VERSION}, found {found!r}; select again")
        return cls(**{**rest, "labels": tuple(rest["labels"])})


LABELLED, SKIPPED, UNLABELLED = "labelled", "skipped", "unlabelled"
"""States of an answer: given; refused by the annotator; not asked for yet."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What one annotator said of one document.

    Attributes:
      place: where it stands in its file, for messages.
      digest: the digest that went out with the document; empty where the tool lost it.
      text: the text as the tool has it; None where the format holds words only.
      spans: the entities, in code points, or in words where there is no text.
      annotator: who gave it, as the tool names them.
      labelled_at: when, ISO 8601; empty where the tool does not tell.
      state: LABELLED, SKIPPED or UNLABELLED.
      words: the words, where there is no text.
    """

    place: str
    digest: str
    text: str | None
    spans: tuple[Span, ...]
    annotator: str
    labelled_at: str = ""
    state: str = LABELLED
    words: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """An answer that cannot be used.

    Attributes:
      file: the file it came from.
      place: where it stands there.
      digest: of the document, as far as it is known.
      annotator: who gave it, as far as that is known.
      reason: short and machine-readable.
      message: what was expected and found; never the text.
    """

    file: str
    place: str
    digest: str
    annotator: str
    reason: str
    message: str
