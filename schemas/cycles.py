"""Cycles of a model that stays current: what each is about, and what its steps came to."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from schemas.errors import StorageError
from schemas.slices import FileRef

ANNOTATE, DRIFT, ADAPT, PROMOTE, REANNOTATE = STEPS = ("annotate", "drift", "adapt", "promote", "reannotate")
"""The steps of a cycle, in order."""

DONE, SKIPPED, PROMOTED, REFUSED = "done", "skipped", "promoted", "refused"
"""What a step came to."""


@dataclasses.dataclass(frozen=True)
class LabelRef:
    """A labelled file.

    Attributes:
      source: path or URL, as it may be shown.
      digest: SHA-256 of its decompressed bytes, hex, as cards of trainings have it.
    """

    source: str
    digest: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a cycle is about; it stays the same however often the cycle is cut off and gone on with.

    Attributes:
      number: its number, from 1, without gaps.
      champion: digest of the checkpoint that annotates and that training begins from.
      entries: how many entries the history of the registry had.
      inputs: input files that no cycle had annotated.
      labels: labelled files to train on; empty where none had arrived.
      at: when it began, UTC.
    """

    number: int
    champion: str
    entries: int
    inputs: tuple[FileRef, ...]
    labels: tuple[LabelRef, ...]
    at: str

    def to_json(self) -> dict[str, Any]:
        """The beginning as JSON values, without passwords and queries of URLs."""
        inputs = [dataclasses.asdict(file.without_secret()) for file in self.inputs]
        return {**dataclasses.asdict(self), "inputs": inputs}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step of a cycle came to.

    Attributes:
      step: its name.
      outcome: done, skipped, promoted or refused.
      status: the exit status of the job that it ran, 0 or 3.
      sentence: the outcome in words.
      at: when it was done, UTC.
      values: what later steps and cycles need: `run` and `model` of annotate, `verdict` of drift, `candidate` of adapt,
        `champion` of promote, `runs` by number of the cycle and `model` of reannotate.
    """

    step: str
    outcome: str
    status: int
    sentence: str
    at: str
    values: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cycle:
    """A cycle as far as it has come.

    Attributes:
      beginning: what it is about.
      results: what its steps came to, by name, of those that are done.
      abandoned: why it was given up; empty where it was not.
    """

    beginning: Beginning
    results: Mapping[str, StepResult]
    abandoned: str = ""

    @property
    def number(self) -> int:
        """Its number."""
        return self.beginning.number

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do, since all is done or it was given up."""
        return bool(self.abandoned) or all(step in self.results for step in STEPS)

    @property
    def run(self) -> str:
        """Folder or URL of the run that it annotated; empty for none."""
        return str(self._value(ANNOTATE, "run"))

    @property
    def candidate(self) -> str:
        """Digest of the checkpoint that it trained; empty for none."""
        return str(self._value(ADAPT, "candidate"))

    @property
    def promoted(self) -> str:
        """Digest of the checkpoint that it promoted; empty for none."""
        is_promoted = PROMOTE in self.results and self.results[PROMOTE].outcome == PROMOTED
        return self.candidate if is_promoted else ""

    def _value(self, step: str, name: str) -> Any:
        return self.results[step].values.get(name, "") if step in self.results else ""


def read_beginning(value: Any) -> Beginning:
    """JSON values to a beginning.

    Raises:
      StorageError: they are none.
    """
    try:
        inputs = tuple(FileRef(**file) for file in value["inputs"])
        labels = tuple(LabelRef(**file) for file in value["labels"])
        return Beginning(**{**value, "inputs": inputs, "labels": labels})
    except (TypeError, KeyError) as error:
        raise StorageError(f"expected the beginning of a cycle, found something else: {error}") from error


def read_result(value: Any) -> StepResult:
    """JSON values to what a step came to.

    Raises:
      StorageError: they are none.
    """
    try:
        return StepResult(**value)
    except TypeError as error:
        raise StorageError(f"expected the result of a step of a cycle, found something else: {error}") from error
