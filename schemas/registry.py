"""What a registry keeps: checkpoints, how candidates were judged, who was champion when."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from schemas.errors import StorageError
from schemas.scores import LabelScore

PROMOTION, ROLLBACK, COLLECTION = "promotion", "rollback", "collection"
MODEL, ADAPTER, BASE = "model", "adapter", "base"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointRecord:
    """A checkpoint of which every file is in the registry.

    Attributes:
      digest: its digest, as runs know it.
      copy: which copy of it this is: how often it had been collected before.
      kind: model, adapter, or base for the base of an adapter.
      weights_digest: SHA-256 of its weights, hex.
      base: digest of the base in the registry, where it is an adapter; else empty.
      files: SHA-256 of each of its files by name, hex.
      card: its card as JSON values, where training wrote one; see `schemas.checkpoints.CheckpointCard`.
      at: when it was added, UTC.
      command: the command that added it.
    """

    digest: str
    copy: int
    kind: str
    weights_digest: str
    base: str
    files: Mapping[str, str]
    card: Mapping[str, Any] | None
    at: str
    command: str

    @property
    def name(self) -> str:
        """What its folder is called."""
        return name_copy(self.digest, self.copy)

    @property
    def parent_weights(self) -> str:
        """SHA-256 of the weights that training began from; empty where nothing is known of it."""
        return str(self.card["base_digest"]) if self.card else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateResult:
    """What a gate found.

    Attributes:
      name: the gate and what it looked at.
      measured: the number that was measured; None where there was nothing to measure.
      interval: where it lies with a chance of 95 %, or its range, where that is known.
      limit: what it was held against.
      passed: whether the candidate passes.
      sentence: the same in words.
    """

    name: str
    measured: float | None
    interval: tuple[float, float] | None
    limit: float
    passed: bool
    sentence: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetScore:
    """How a candidate does on a test set.

    Attributes:
      name: name of the set.
      digest: SHA-256 of its file's decompressed bytes, hex; of their digests where there are several files.
      documents: how many documents it has.
      scores: entity scores by label and over all.
      ece: expected calibration error.
    """

    name: str
    digest: str
    documents: int
    scores: tuple[LabelScore, ...]
    ece: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a candidate was judged.

    Attributes:
      champion: digest of the checkpoint that it was compared with; empty where there was none.
      gates_digest: SHA-256 of the file that the gates came from, hex.
      gates: what they found.
      sets: scores of the candidate.
    """

    champion: str
    gates_digest: str
    gates: tuple[GateResult, ...]
    sets: tuple[SetScore, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate lets the candidate through."""
        return all(gate.passed for gate in self.gates)

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """The gates that do not."""
        return tuple(gate for gate in self.gates if not gate.passed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """A numbered record of the history. The one with the highest number tells who is champion.

    Attributes:
      number: its number, from 1, without gaps.
      kind: promotion, rollback or collection.
      champion: digest of the champion from here on; empty for none.
      copy: which copy of it.
      replaces: digest of the champion before.
      at: when, UTC.
      command: the command that made it.
      token: what no other entry has, so that whoever wrote it knows it again.
      forced: the reason, where a candidate was promoted past its gates.
      verdict: how the candidate was judged; None for rollbacks, collections and promotions by force without gates.
      removed: names of the folders that a collection removes.
    """

    number: int
    kind: str
    champion: str
    copy: int
    replaces: str
    at: str
    command: str
    token: str
    forced: str = ""
    verdict: Verdict | None = None
    removed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A candidate that was not promoted.

    Attributes:
      digest: the candidate.
      number: its how many-th refusal it is, from 1.
      verdict: why.
      at: when, UTC.
      command: the command that had it judged.
      token: what no other refusal has.
    """

    digest: str
    number: int
    verdict: Verdict
    at: str
    command: str
    token: str


def name_copy(digest: str, copy: int) -> str:
    """What the folder of a copy of a checkpoint is called.

    >>> name_copy("0a1b", 0), name_copy("0a1b", 2)
    ('0a1b', '0a1b.2')
    """
    return f"{digest}.{copy}" if copy else digest


def read_checkpoint_record(value: Any) -> CheckpointRecord:
    """JSON values to a record of a checkpoint.

    Raises:
      StorageError: they are none.
    """
    try:
        return CheckpointRecord(**value)
    except TypeError as error:
        raise StorageError(f"expected a checkpoint's record in the registry, found something else: {error}") from error


def read_history_entry(value: Any) -> HistoryEntry:
    """JSON values to an entry of the history.

    Raises:
      StorageError: they are none.
    """
    try:
        verdict = value["verdict"] and _read_verdict(value["verdict"])
        return HistoryEntry(**{**value, "verdict": verdict, "removed": tuple(value["removed"])})
    except (TypeError, KeyError) as error:
        raise StorageError(f"expected an entry of the registry's history, found something else: {error}") from error


def read_refusal(value: Any) -> Refusal:
    """JSON values to a refusal.

    Raises:
      StorageError: they are none.
    """
    try:
        return Refusal(**{**value, "verdict": _read_verdict(value["verdict"])})
    except (TypeError, KeyError) as error:
        raise StorageError(f"expected a refusal in the registry, found something else: {error}") from error


def _read_verdict(value: Mapping[str, Any]) -> Verdict:
    gates = [{**gate, "interval": gate["interval"] and tuple(gate["interval"])} for gate in value["gates"]]
    sets = [{**item, "scores": tuple(LabelScore(**score) for score in item["scores"])} for item in value["sets"]]
    return Verdict(
        champion=value["champion"],
        gates_digest=value["gates_digest"],
        gates=tuple(GateResult(**gate) for gate in gates),
        sets=tuple(SetScore(**item) for item in sets),
    )
