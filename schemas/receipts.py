"""What a slice leaves behind when it is committed: counts that add up to the run's report."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.sketches import FormSketch

SCORE_BINS = 20
LENGTH_BINS = 24
"""Bin k of the length histogram counts documents of 2**(k-1) to 2**k - 1 tokens; bin 0 the empty ones."""

STAGES = ("read", "reuse", "route", "tokenize", "forward", "decode", "write")


@dataclasses.dataclass(frozen=True)
class Tally:
    """Counts of a slice, or of many: a commutative, associative sum, as a CombineFn needs.

    Attributes:
      documents: rows written.
      dead: dead letters by error.
      dead_rows: documents lost to them; a letter about a file may stand for many.
      entities: entities by label, at or above their threshold.
      below: entities by label under their threshold.
      scores: histogram of scores by label over [0, 1], SCORE_BINS bins, entities and below together.
      lengths: histogram of document lengths in tokens, LENGTH_BINS bins.
      characters: code points read.
      tokens: model tokens of the documents, each once.
      windows: windows they were cut into.
      computed_tokens: tokens the model computed, with overlap, special tokens and padding.
      seconds: time by stage, summed over workers; tokenizing runs beside the forward pass.
      used: seconds of workers, cores and GPUs by name, all stages together, and among those of workers `load`, in which
        models were loaded; empty by earlier versions.
      counts: what else taggers count, by name.
      pieces: tokens that the tokenizer has in its vocabulary, `known`, and those that stand for text it has not,
        `unknown`; empty where that is not counted, as by earlier versions.
      forms: a bounded sample of the surfaces of entities at or above their threshold; empty by earlier versions.
      matches: gold entities found, spurious and missed by label, strict, when the corpus carries gold.
      reused: `documents`, `tokens` and `windows` that were copied and met no model, by the earlier run that they are
        from. `counts` and `pieces` are of the others, and `scores` lacks what that run dropped under its thresholds.
    """

    documents: int = 0
    dead: Mapping[str, int] = dataclasses.field(default_factory=dict)
    dead_rows: int = 0
    entities: Mapping[str, int] = dataclasses.field(default_factory=dict)
    below: Mapping[str, int] = dataclasses.field(default_factory=dict)
    scores: Mapping[str, list[int]] = dataclasses.field(default_factory=dict)
    lengths: tuple[int, ...] = (0,) * LENGTH_BINS
    characters: int = 0
    tokens: int = 0
    windows: int = 0
    computed_tokens: int = 0
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    used: Mapping[str, float] = dataclasses.field(default_factory=dict)
    counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    pieces: Mapping[str, int] = dataclasses.field(default_factory=dict)
    forms: FormSketch = FormSketch()  # noqa: RUF009 - frozen, so safe to share
    matches: Mapping[str, list[int]] = dataclasses.field(default_factory=dict)
    reused: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)

    @property
    def read_tokens(self) -> int:
        """Tokens of the documents that met the model."""
        return self.tokens - sum(counts["tokens"] for counts in self.reused.values())

    def __add__(self, other: "Tally") -> "Tally":
        sums = {field.name: _add(getattr(self, field.name), getattr(other, field.name)) for field in _FIELDS}
        return Tally(**sums)

    def to_json(self) -> dict[str, Any]:
        """The tally as JSON values."""
        return {**dataclasses.asdict(self), "forms": self.forms.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Tally":
        """The inverse of `to_json`."""
        forms = FormSketch.from_json(value.get("forms", ""))
        return cls(**{**value, "lengths": tuple(value["lengths"]), "forms": forms})


_FIELDS = dataclasses.fields(Tally)


def sum_tallies(tallies: Iterable[Tally]) -> Tally:
    """Adds tallies up; none give the empty one."""
    total = Tally()
    for tally in tallies:
        total += tally
    return total


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, Mapping):
        return {
            key: _add(a[key], b[key]) if key in a and key in b else a.get(key, b.get(key)) for key in sorted({*a, *b})
        }
    if isinstance(a, list | tuple):
        return type(a)(x + y for x, y in zip(a, b, strict=True))
    return a + b


@dataclasses.dataclass(frozen=True)
class Receipt:
    """A committed slice: what was written and where.

    Attributes:
      slice_id: the slice.
      rows: documents the slice holds; documents written plus dead rows.
      attempts: how many times the slice was started.
      files: a mapping for each file: attempt, final, sha256, size_bytes, rows.
      tally: its counts.
    """

    slice_id: str
    rows: int
    attempts: int
    files: tuple[dict[str, Any], ...]
    tally: Tally

    def to_json(self) -> dict[str, Any]:
        """The receipt as JSON values."""
        return {**dataclasses.asdict(self), "files": list(self.files), "tally": self.tally.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Receipt":
        """The inverse of `to_json`."""
        return cls(**{**value, "files": tuple(value["files"]), "tally": Tally.from_json(value["tally"])})
