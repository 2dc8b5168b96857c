"""How far a later run lies from an earlier one, measure by measure, from the counts of their slices alone.

    tallies of A ──> columns ─┬─ sums ───────────────> change ─────────┐
    tallies of B ──> columns ─┤                                        ├──> verdict
                              ├─ parts of A ─────────> null band ──────┤
                              ├─ Poisson resamples ──> interval        │
                              └─ sizes ──────────────> chance ─────────┘

A change counts when it is beyond a threshold, and beyond what chance and the differences between slices of the earlier
run bring about. All counts are whole numbers and the slices are put in order, so that the result is the same to the
last bit however they were come by.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError, suggest
from schemas.receipts import LENGTH_BINS, SCORE_BINS, Tally, sum_tallies
from schemas.sketches import FormSketch
from transforms.scoring.divergence import (
    chance_of_change,
    chance_of_difference,
    chance_of_index,
    jensen_shannon,
    population_stability_index,
    rate_ratio,
    relative_change,
    share_difference,
    shares_of,
)
from transforms.scoring.intervals import KeyArray, document_keys, interval, resample
from transforms.scoring.novelty import LEAST_SLICES, Novelty, measure_novelty, sample_forms

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Key = tuple[str, str]
"""The name of a measure, and the label it is of; an empty one where it is of all."""

REPORT_VERSION = 1
LEVEL = 0.95
VERDICTS = ("stable", "moderate", "drifted")
DISTRIBUTION, RATE, SHARE, NOVELTY = "distribution", "rate", "share", "novelty"
KINDS = {
    "entity_rate": RATE,
    "label_shares": DISTRIBUTION,
    "scores": DISTRIBUTION,
    "document_lengths": DISTRIBUTION,
    "dead_letters": SHARE,
    "unknown_pieces": SHARE,
    "new_forms": NOVELTY,
}
"""Measures in the order to show them, and what each is."""
THRESHOLDS = {
    DISTRIBUTION: (0.1, 0.25),
    RATE: (0.1, 0.25),
    SHARE: (0.01, 0.05),
    NOVELTY: (0.1, 0.25),
}
"""From where on a change is moderate, and from where on it is drift, by kind of measure.

Those of a distribution are the ones that credit scoring goes by (Siddiqi, "Credit Risk Scorecards", 2006). The others
are a choice: a rate that is a tenth or a quarter larger, a share that moved by one or five points, one of new forms by
ten or twenty-five.
"""

_SPLITS = 200
_NULL_QUANTILES = (0.5, 0.99)
_PER_TOKENS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class DriftConfig:
    """How drift is judged.

    Attributes:
      thresholds: by measure, from where on a change is moderate, and drift; for those that are left out THRESHOLDS.
      replicates: bootstrap replicates for the intervals; 0 for none.
    """

    thresholds: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    replicates: int = 1000

    def __post_init__(self) -> None:
        for name, (moderate, drifted) in self.thresholds.items():
            if name not in KINDS:
                raise ConfigError(f"expected a measure of {list(KINDS)}, found {name!r}{suggest(name, KINDS)}")
            if not 0 <= moderate <= drifted < math.inf:
                raise ConfigError(
                    f"expected thresholds of {name} from 0 on and in order, found {moderate:g} and {drifted:g}"
                )
        if self.replicates < 0:
            raise ConfigError(f"expected 0 replicates or more, found {self.replicates}")

    def thresholds_of(self, name: str) -> tuple[float, float]:
        """The two thresholds of a measure."""
        return self.thresholds.get(name, THRESHOLDS[KINDS[name]])


@dataclasses.dataclass(frozen=True, eq=False)
class RunCounts:
    """What the slices of a run counted.

    Attributes:
      keys: (n_slices,) keys of the slices, in order of their ids.
      columns: (n_slices, n_cells) counts by measure and label: the bins of a distribution, the events and all of a
        rate or share.
      entities: (n_slices,) entities.
      sketches: surface forms by slice.
      recorded: slices that have counted what a measure needs, by measure, for unknown_pieces and new_forms, which
        receipts of earlier versions lack.
      total: the sum of the tallies.
    """

    keys: KeyArray
    columns: Mapping[Key, IntArray]
    entities: IntArray
    sketches: tuple[FormSketch, ...]
    recorded: Mapping[str, int]
    total: Tally

    def has(self, name: str) -> bool:
        """Whether all slices have counted what a measure needs."""
        return self.recorded.get(name, len(self.keys)) == len(self.keys)


class _Judged(NamedTuple):
    """A change and what it is held against."""

    change: float
    chance: float
    null: tuple[float, float] | None


def count_slices(tallies: Mapping[str, Tally], labels: Sequence[str]) -> RunCounts:
    """What a run's receipts hold by slice, with the labels to count of this run and the one it is compared with.

    Args:
      tallies: by slice id.
      labels: every label that either run has counted.
    """
    ids = sorted(tallies)
    slices = [tallies[id_] for id_ in ids]
    entities = _stack([[tally.entities.get(label, 0) for label in labels] for tally in slices], len(labels))
    documents = _stack([[tally.documents, tally.dead_rows] for tally in slices], 2)
    pieces = _stack([[tally.pieces.get("unknown", 0), sum(tally.pieces.values())] for tally in slices], 2)
    tokens = _stack([[tally.tokens] for tally in slices], 1)
    found = entities.sum(axis=1)
    empty = [0] * SCORE_BINS
    columns: dict[Key, IntArray] = {
        ("entity_rate", ""): np.column_stack([found, tokens]),
        ("label_shares", ""): entities,
        **{
            ("scores", label): _stack([tally.scores.get(label, empty) for tally in slices], SCORE_BINS)
            for label in labels
        },
        ("document_lengths", ""): _stack([tally.lengths for tally in slices], LENGTH_BINS),
        ("dead_letters", ""): np.column_stack([documents[:, 1], documents.sum(axis=1)]),
        ("unknown_pieces", ""): pieces,
    }
    return RunCounts(
        keys=document_keys(ids),
        columns=columns,
        entities=found,
        sketches=tuple(tally.forms for tally in slices),
        recorded={
            "unknown_pieces": sum(bool(tally.pieces) or not tally.tokens for tally in slices),
            "new_forms": sum(len(tally.forms) > 0 or not sum(tally.entities.values()) for tally in slices),
        },
        total=sum_tallies(slices),
    )


def find_labels(*runs: Mapping[str, Tally]) -> list[str]:
    """Every label that runs have counted."""
    tallies = [tally for run in runs for tally in run.values()]
    return sorted({label for tally in tallies for label in (*tally.entities, *tally.scores)})


def measure_drift(a: RunCounts, b: RunCounts, config: DriftConfig) -> dict[str, Any]:
    """Counts of an earlier and a later run in, what a report says of them out.

        verdict     the worst of the measures': stable, moderate, drifted, or null where nothing could be told
        level       of the intervals, such as 0.95
        replicates  how many the intervals are made of; 0 where there are none
        slices      {a, b}
        measures    [{name, label, kind, ...}], the same label "" for what is of all:
          kind        distribution, rate, share or novelty
          n           {a, b}: what was counted: the entries of a distribution, else what the rate or share is of
          a, b        the rate or share in either run; null for a distribution
          statistics  name -> {value, low, high}, the last two null without intervals; psi and js (Jensen-Shannon, base
                      2) of a distribution, difference and ratio of a rate or share, excess of a novelty
          change      what is held against the thresholds: the index; by how much the larger rate exceeds the smaller;
                      the size of a difference of shares; the excess
          null        {median, high}: the change from the rest of A to a part of it, of as many slices as B or half of
                      A's, over ways to choose them: median and 99 % quantile; null where A has too few slices
          chance      the change that independent draws from one source exceed in one case of a hundred, of a novelty
                      half the width of its interval; null if there is nothing to draw
          thresholds  {moderate, drifted}
          verdict     stable, moderate, drifted or null
          reason      why the thresholds alone do not decide: "", within_variation (stable since chance or parts of A
                      reach as far), too_few, too_few_slices or not_recorded (null)
        labels      label -> {a, b}, each {entities, share, rate (per 1,000 tokens), scores (counts by bin)}
        lengths     {a, b}: documents by bin of their length, as receipts have them
        totals      {a, b}: documents, dead_rows, entities, tokens
        forms       null where not recorded, or {sampled, a, b, relative_error_a, relative_error_b, new, error_of_new}:
                    estimated distinct surface forms, the share of B's that all of A has not, standard errors
        recorded    {a, b}: slices with what a measure needs, by name

    Args:
      a: the earlier run.
      b: the later one, with the same labels.
      config: how drift is judged.
    """
    has_intervals = config.replicates > 0 and min(len(a.keys), len(b.keys)) >= LEAST_SLICES
    samples = _Samples(a, b, config.replicates if has_intervals else 0)
    measures = [
        _measure(key, a, b, samples, config) if a.has(key[0]) and b.has(key[0]) else _not_recorded(key, config)
        for key in a.columns
    ]
    forms = None
    if a.has("new_forms") and b.has("new_forms"):
        sample = sample_forms(a.sketches, b.sketches)
        forms = sample.summarise() if sample.n_forms else None
        novelty = measure_novelty(sample, a.entities, b.entities, samples.parts, samples.orders)
        measures.append(_judge_novelty(novelty, (a, b), config))
    else:
        measures.append(_not_recorded(("new_forms", ""), config))
    return {
        "verdict": worst_verdict(measures),
        "level": LEVEL,
        "replicates": samples.n_replicates,
        "slices": {"a": len(a.keys), "b": len(b.keys)},
        "measures": measures,
        "labels": _describe_labels(a, b),
        "lengths": {side: list(run.total.lengths) for side, run in (("a", a), ("b", b))},
        "totals": {side: _describe_total(run.total) for side, run in (("a", a), ("b", b))},
        "forms": forms,
        "recorded": {side: dict(run.recorded) for side, run in (("a", a), ("b", b))},
    }


def worst_verdict(measures: Sequence[Mapping[str, Any]]) -> str | None:
    """The worst verdict of some measures; None where none has one."""
    ranks = [VERDICTS.index(measure["verdict"]) for measure in measures if measure["verdict"]]
    return VERDICTS[max(ranks)] if ranks else None


class _Samples:
    """Resamples of both runs and parts of the earlier one, for all measures at once.

    Attributes:
      n_replicates: resamples; 0 for none.
      parts: (n_splits, n_slices_a) parts of A that are like B in size, half of it at most; none where A has too few
        slices.
      orders: (n_splits, n_slices_b) orders of B's slices.
    """

    def __init__(self, a: RunCounts, b: RunCounts, n_replicates: int) -> None:
        self.n_replicates = n_replicates
        matrices = [np.hstack(list(run.columns.values())) for run in (a, b)]
        bounds = np.cumsum([0, *(column.shape[1] for column in a.columns.values())])
        self._spans = {key: slice(bounds[at], bounds[at + 1]) for at, key in enumerate(a.columns)}
        self._replicates = [
            resample(matrix, run.keys, n_replicates) if n_replicates else None
            for matrix, run in zip(matrices, (a, b), strict=True)
        ]
        n_splits = _SPLITS if len(a.keys) >= LEAST_SLICES else 0
        # Of slices in order of their ids, so that the parts are the same whenever the job is run.
        orders = _shuffle(len(a.keys), n_splits, seed=0)
        n_part = max(1, min(len(b.keys), len(a.keys) // 2))
        self.parts = np.zeros(orders.shape, dtype=bool)
        np.put_along_axis(self.parts, orders[:, :n_part], values=True, axis=1)
        self.orders = _shuffle(len(b.keys), n_splits, seed=1)
        self._part = (self.parts.astype(np.float64) @ matrices[0]).astype(np.int64)
        self._rest = matrices[0].sum(axis=0) - self._part

    def resamples(self, key: Key) -> tuple[IntArray, IntArray] | None:
        """The counts of a measure in each resample of A and of B."""
        a, b = self._replicates
        return None if a is None or b is None else (a[:, self._spans[key]], b[:, self._spans[key]])

    def splits(self, key: Key) -> tuple[IntArray, IntArray] | None:
        """The counts of a measure in the rest of A and in a part of it, for each part."""
        return (self._rest[:, self._spans[key]], self._part[:, self._spans[key]]) if len(self._part) else None


def _measure(key: Key, a: RunCounts, b: RunCounts, samples: _Samples, config: DriftConfig) -> dict[str, Any]:
    """One measure of both runs, with its verdict."""
    name, label = key
    kind = KINDS[name]
    counts = a.columns[key].sum(axis=0), b.columns[key].sum(axis=0)
    change_of, chance_of = _CHANGES[kind]
    splits = samples.splits(key)
    null = None if splits is None else tuple(np.quantile(change_of(*splits), _NULL_QUANTILES).tolist())
    resamples = samples.resamples(key)
    statistics = {
        statistic: _estimate(measure, counts, resamples, most)
        for statistic, (measure, most) in _STATISTICS[kind].items()
    }
    is_histogram = kind == DISTRIBUTION
    scale = _PER_TOKENS if kind == RATE else 1
    if kind == RATE:
        statistics["difference"] = {part: value and scale * value for part, value in statistics["difference"].items()}
    return {
        "name": name,
        "label": label,
        "kind": kind,
        "n": {side: int(part.sum() if is_histogram else part[1]) for side, part in zip("ab", counts, strict=True)},
        **{
            side: None if is_histogram or not part[1] else scale * int(part[0]) / int(part[1])
            for side, part in zip("ab", counts, strict=True)
        },
        "statistics": statistics,
        **_judge(_Judged(float(change_of(*counts)), chance_of(*counts), null), config.thresholds_of(name)),
    }


def _judge(judged: _Judged, thresholds: tuple[float, float]) -> dict[str, Any]:
    """The verdict on a change, and what led to it."""
    change, chance, null = judged
    rank = sum(change >= threshold for threshold in thresholds)
    verdict: str | None = VERDICTS[rank]
    reason = ""
    if change <= max(chance, null[1] if null else 0.0):
        verdict, reason = VERDICTS[0], "within_variation" if rank else ""
        if chance >= thresholds[1]:
            # So few counts that chance alone goes as far as drift does.
            verdict, reason = None, "too_few"
    return {
        "change": change,
        "null": null and dict(zip(("median", "high"), null, strict=True)),
        "chance": chance if math.isfinite(chance) else None,
        "thresholds": dict(zip(VERDICTS[1:], thresholds, strict=True)),
        "verdict": verdict,
        "reason": reason,
    }


def _judge_novelty(novelty: Novelty | None, runs: tuple[RunCounts, RunCounts], config: DriftConfig) -> dict[str, Any]:
    thresholds = config.thresholds_of("new_forms")
    about = {
        "name": "new_forms",
        "label": "",
        "kind": NOVELTY,
        "n": {side: int(run.entities.sum()) for side, run in zip("ab", runs, strict=True)},
    }
    if novelty is None:
        return {**about, **_without_verdict(thresholds, "too_few_slices")}
    excess = novelty.found - novelty.natural
    # The spread between parts is in the interval: an excess that may be nothing is none.
    judged = _Judged(max(excess, 0.0), max(excess - novelty.low, 0.0), None)
    return {
        **about,
        "a": novelty.natural,
        "b": novelty.found,
        "statistics": {"excess": {"value": excess, "low": novelty.low, "high": novelty.high}},
        **_judge(judged, thresholds),
    }


def _not_recorded(key: Key, config: DriftConfig) -> dict[str, Any]:
    name, label = key
    about = {"name": name, "label": label, "kind": KINDS[name], "n": {"a": None, "b": None}}
    return {**about, **_without_verdict(config.thresholds_of(name), "not_recorded")}


def _without_verdict(thresholds: tuple[float, float], reason: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(("a", "b", "change", "null", "chance", "verdict")),
        "statistics": {},
        "thresholds": dict(zip(VERDICTS[1:], thresholds, strict=True)),
        "reason": reason,
    }


def _estimate(
    measure: Callable[[IntArray, IntArray], FloatArray],
    counts: tuple[IntArray, IntArray],
    resamples: tuple[IntArray, IntArray] | None,
    most: float | None,
) -> dict[str, float | None]:
    """A statistic with its interval; one that cannot be negative, and is above 0 by chance, has a bound, `most`."""
    value = float(measure(*counts))
    if resamples is None:
        return {"value": value, "low": None, "high": None}
    replicates = measure(*resamples)
    low, high = interval(replicates, LEVEL)
    if most is not None:
        # Resamples differ more than the samples do; their mean is put where the estimate is.
        shift = value - float(np.mean(replicates))
        low, high = max(0.0, low + shift), min(most, high + shift)
    return {"value": value, "low": low, "high": high}


def _change_rate(a: IntArray, b: IntArray) -> FloatArray:
    return relative_change(rate_ratio(a, b))


def _change_share(a: IntArray, b: IntArray) -> FloatArray:
    return np.abs(share_difference(a, b))


_CHANGES: dict[str, tuple[Callable[..., FloatArray], Callable[..., float]]] = {
    DISTRIBUTION: (population_stability_index, chance_of_index),
    RATE: (_change_rate, chance_of_change),
    SHARE: (_change_share, chance_of_difference),
}
_STATISTICS: dict[str, dict[str, tuple[Callable[..., FloatArray], float | None]]] = {
    DISTRIBUTION: {"psi": (population_stability_index, math.inf), "js": (jensen_shannon, 1.0)},
    RATE: {"difference": (share_difference, None), "ratio": (rate_ratio, None)},
    SHARE: {"difference": (share_difference, None), "ratio": (rate_ratio, None)},
}


def _describe_labels(a: RunCounts, b: RunCounts) -> dict[str, Any]:
    labels = [label for name, label in a.columns if name == "scores"]
    described: dict[str, dict[str, Any]] = {label: {} for label in labels}
    for side, run in (("a", a), ("b", b)):
        entities = run.columns["label_shares", ""].sum(axis=0)
        shares = shares_of(entities)
        for label, n, share in zip(labels, entities.tolist(), shares.tolist(), strict=True):
            described[label][side] = {
                "entities": n,
                "share": share if entities.any() else None,
                "rate": _PER_TOKENS * n / run.total.tokens if run.total.tokens else None,
                "scores": run.columns["scores", label].sum(axis=0).tolist(),
            }
    return described


def _describe_total(tally: Tally) -> dict[str, int]:
    return {
        "documents": tally.documents,
        "dead_rows": tally.dead_rows,
        "entities": sum(tally.entities.values()),
        "tokens": tally.tokens,
    }


def _shuffle(n: int, n_times: int, *, seed: int) -> IntArray:
    """Orders of n things, (n_times, n)."""
    orders: IntArray = np.random.default_rng(seed).random((n_times, n)).argsort(axis=1)
    return orders


def _stack(rows: Sequence[Sequence[int]], n_columns: int) -> IntArray:
    return np.array(rows, dtype=np.int64).reshape(len(rows), n_columns)
