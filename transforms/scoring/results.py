"""An evaluation as the JSON values that people and programs read; schemas/evaluation.schema.json describes them.

Totals are computed twice by the same functions: once from the counts, once from their bootstrap replicates.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from schemas.calibration import Calibrator, Thresholds
from schemas.errors import ConfigError
from transforms.scoring.averages import AVERAGES, Array, Prf, average_labels, score_labels
from transforms.scoring.calibration import (
    calibrate_histogram,
    calibration_error,
    choose_thresholds,
    fit_calibrator,
    summarise_scores,
)
from transforms.scoring.evaluation import FOUND, LENGTHS, MISSED, SPURIOUS, Evaluation, Key
from transforms.scoring.intervals import DISTINCT_WIDENING, interval, shifted_interval
from transforms.scoring.overlaps import MEASURES, OUTCOMES, score_overlaps

REPORT_VERSION = 1
LEVEL = 0.95
MODES = ("default", "strict")
_KINDS = ("missed", "spurious", "boundary", "label", "both")
_MOST_CONFUSIONS = 20
_LEAST_DOCUMENTS = 2
_MOST_GROUPS = 30
_COUNTS = (
    "spelling_differences",
    "retokenized_sentences",
    "widened_entities",
    "overlapping_entities",
    "unlabelled_documents",
    "dead_documents",
    "unmatched_gold",
    "unmatched_predicted",
    "duplicate_ids",
)


@dataclasses.dataclass(frozen=True)
class ResultsConfig:
    """What is made of an evaluation beside its scores.

    Attributes:
      calibrator: kind of calibrator to fit on the scores; empty for none.
      precision: precision to find thresholds for; 0 for none.
      applied: digest of the calibrator that the scores have passed through; empty for none.
    """

    calibrator: str = ""
    precision: float = 0.0
    applied: str = ""


@dataclasses.dataclass(frozen=True)
class Results:
    """An evaluation as values.

    Attributes:
      report: the report, but for names, settings, versions and seconds.
      calibrator: the fitted calibrator, when one was asked for; what it was fitted on is for the caller to say.
      thresholds: the thresholds, when a precision was asked for.
    """

    report: dict[str, Any]
    calibrator: Calibrator | None
    thresholds: Thresholds | None


def make_results(evaluation: Evaluation, config: ResultsConfig) -> Results:
    """An evaluation to its report and artefacts.

    Raises:
      ConfigError: a calibrator or thresholds are asked for and there are no scores, or too few.
    """
    histogram = evaluation.scores
    if histogram is None:
        if config.calibrator or config.precision:
            raise ConfigError("expected predictions with scores for --calibrate and --wanted-precision, found none")
        return Results({**summarise(evaluation), "calibration": None}, None, None)
    calibration: dict[str, Any] = {**summarise_scores(histogram), "thresholds": None, "calibrator": None}
    calibrator = thresholds = None
    if config.precision:
        thresholds = choose_thresholds(histogram, config.precision, calibrator=config.applied)
        calibration["thresholds"] = {"precision": config.precision, "labels": dict(thresholds.labels)}
    if config.calibrator:
        calibrator = fit_calibrator(histogram, config.calibrator, fitted_on={})
        calibration["calibrator"] = {
            "kind": config.calibrator,
            "ece_before": calibration_error(histogram.overall),
            "ece_after": calibration_error(calibrate_histogram(histogram, calibrator).overall),
        }
    return Results({**summarise(evaluation), "calibration": calibration}, calibrator, thresholds)


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Everything of a report that comes from counts, replicates and samples."""
    labels = {mode: _labels_of(evaluation, mode) for mode in MODES}
    return {
        "report_version": REPORT_VERSION,
        "kind": "evaluation",
        "counts": _counts(evaluation),
        "listed": _listed(evaluation),
        "exact": {mode: _exact(evaluation, mode, labels[mode]) for mode in MODES},
        "partial": _partial(evaluation, labels["default"]),
        "tokens": _tokens(evaluation),
        "surface": _surface(evaluation),
        "confusion": _confusion(evaluation),
        "errors": _errors(evaluation),
        "confusions": _confusions(evaluation),
        "breakdowns": _breakdowns(evaluation),
        "worst": [value for _, value in evaluation.samples.get("worst", ())],
        "samples": [value for _, value in evaluation.samples.get("error", ())],
        "intervals": _intervals(evaluation, labels),
    }


def exact_scores(counts: Mapping[Key, Any], mode: str, labels: Sequence[str]) -> Iterator[tuple[str, Prf]]:
    """Counts, or their replicates, to scores by name: `micro`, `macro`, `weighted`, `labels.<LABEL>`."""
    found, spurious, missed = (_column(counts, mode, labels, outcome) for outcome in (FOUND, SPURIOUS, MISSED))
    for average in AVERAGES:
        yield average, average_labels(found, spurious, missed, average)
    for at, label in enumerate(labels):
        yield f"labels.{label}", score_labels(found[at], spurious[at], missed[at])


def _column(counts: Mapping[Key, Any], mode: str, labels: Sequence[str], outcome: str) -> Array:
    """Counts (n_labels, ...) of one outcome."""
    nothing = np.zeros_like(next(iter(counts.values()), 0))
    return np.array([counts.get((mode, label, outcome), nothing) for label in labels]).reshape(
        len(labels), *nothing.shape
    )


def _labels_of(evaluation: Evaluation, mode: str) -> list[str]:
    return sorted({key[1] for key in evaluation.counters if key[0] == mode})


def _prf(scores: Prf) -> dict[str, Any]:
    return {
        "precision": float(scores.precision),
        "recall": float(scores.recall),
        "f1": float(scores.f1),
        "support": int(scores.support),
    }


def _counts(evaluation: Evaluation) -> dict[str, Any]:
    counts = {key[1]: count for key, count in evaluation.tallies.items() if key[0] == "count"}
    tokens = evaluation.counters.get(("tokens", "total"))
    totals = {
        outcome: sum(count for key, count in evaluation.counters.items() if key[0] == "default" and key[2] == outcome)
        for outcome in (FOUND, SPURIOUS, MISSED)
    }
    return {
        "documents": counts.get("documents", 0),
        "sentences": counts.get("sentences"),
        "tokens": tokens,
        "gold_entities": totals[FOUND] + totals[MISSED],
        "predicted_entities": totals[FOUND] + totals[SPURIOUS],
        "invalid_sequences": {side: counts.get(f"{side} invalid sequences", 0) for side in ("gold", "predicted")},
        **{name: counts.get(name, 0) for name in _COUNTS},
    }


def _listed(evaluation: Evaluation) -> dict[str, list[Any]]:
    names = ("unmatched_gold", "unmatched_predicted", "duplicate_ids", "dead_documents", "spelling")
    return {name: [value for _, value in evaluation.samples.get(name, ())] for name in names}


def _exact(evaluation: Evaluation, mode: str, labels: Sequence[str]) -> dict[str, Any]:
    scores = dict(exact_scores(evaluation.counters, mode, labels))
    result: dict[str, Any] = {average: _prf(scores[average]) for average in AVERAGES}
    result["labels"] = {
        label: {
            **_prf(scores[f"labels.{label}"]),
            **{outcome: evaluation.counters.get((mode, label, outcome), 0) for outcome in (FOUND, SPURIOUS, MISSED)},
        }
        for label in labels
    }
    return result


def _partial(evaluation: Evaluation, labels: Sequence[str]) -> dict[str, Any]:
    def describe(source: Mapping[Key, int], *prefix: str) -> dict[str, Any]:
        return {
            measure: _describe_overlap(measure, [source.get((*prefix, measure, outcome), 0) for outcome in OUTCOMES])
            for measure in MEASURES
        }

    by_label = {label: describe(evaluation.tallies, "overlap", label) for label in labels}
    return {**describe(evaluation.counters, "overlap"), "labels": by_label}


def _describe_overlap(measure: str, counts: Sequence[int]) -> dict[str, Any]:
    precision, recall, f1 = score_overlaps(measure, counts)
    scores = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
    return {**dict(zip(OUTCOMES, counts, strict=True)), **scores}


def _tokens(evaluation: Evaluation) -> dict[str, Any] | None:
    total = evaluation.counters.get(("tokens", "total"), 0)
    if not total:
        return None
    correct = evaluation.counters.get(("tokens", "correct"), 0)
    return {"accuracy": correct / total, "correct": correct, "total": total}


def _surface(evaluation: Evaluation) -> dict[str, Any]:
    scores = evaluation.mentions.score()
    values = {name: getattr(scores, name) for name in ("precision", "recall", "f1", "support")}
    return {"micro": values, "is_sampled": evaluation.mentions.is_sampled}


def _confusion(evaluation: Evaluation) -> dict[str, dict[str, int]]:
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    for key, count in sorted(evaluation.tallies.items()):
        if key[0] == "confusion":
            rows[key[1]][key[2]] = count
    return dict(rows)


def _errors(evaluation: Evaluation) -> dict[str, dict[str, int]]:
    kinds: dict[str, dict[str, int]] = {kind: {} for kind in _KINDS}
    for key, count in sorted(evaluation.tallies.items()):
        if key[0] == "error":
            kinds[key[1]][key[2]] = count
    return kinds


def _confusions(evaluation: Evaluation) -> list[dict[str, Any]]:
    counts = {key[1:]: count for key, count in evaluation.tallies.items() if key[0] == "confused"}
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"kind": kind, "gold": gold, "predicted": predicted, "count": count}
        for (kind, gold, predicted), count in ranked[:_MOST_CONFUSIONS]
    ]


def _breakdowns(evaluation: Evaluation) -> dict[str, list[dict[str, Any]]]:
    counts: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for key, count in evaluation.tallies.items():
        if key[0] == "by":
            counts[key[1]][key[2]][key[3]] += count
    return {dimension: _groups(dimension, groups) for dimension, groups in sorted(counts.items())}


def _groups(dimension: str, groups: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Lengths in their order, others by support, the largest first."""
    rows = []
    for value, counts in groups.items():
        found, spurious, missed = (counts.get(outcome, 0) for outcome in (FOUND, SPURIOUS, MISSED))
        scores = _prf(score_labels(np.array(found), np.array(spurious), np.array(missed)))
        rows.append({"value": value, **scores, "predicted": found + spurious})
    if dimension in LENGTHS:
        return sorted(rows, key=lambda row: int("".join(filter(str.isdigit, row["value"].partition(" to ")[0]))))
    return sorted(rows, key=lambda row: (-row["support"], row["value"]))[:_MOST_GROUPS]


def _intervals(evaluation: Evaluation, labels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    n_replicates = evaluation.mentions.n_replicates
    intervals: dict[str, Any] = {"level": LEVEL, "replicates": n_replicates}
    # One document, however long, says nothing about others.
    if not n_replicates or not evaluation.counters or evaluation.tallies["count", "documents"] < _LEAST_DOCUMENTS:
        return intervals
    for name, replicates, is_defined in _replicated_totals(evaluation, labels):
        if is_defined.any():
            intervals[name] = list(interval(replicates[is_defined], LEVEL))
    point = evaluation.mentions.score()
    names = ("precision", "recall", "f1")
    for name, replicates in zip(names, evaluation.mentions.replicate_scores(), strict=True):
        bounds = shifted_interval(getattr(point, name), replicates, LEVEL, DISTINCT_WIDENING)
        intervals[f"surface.micro.{name}"] = list(bounds)
    return intervals


def _replicated_totals(
    evaluation: Evaluation, labels: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Array, Array]]:
    """Names of totals, their values in each replicate, and which replicates hold anything to score."""
    replicates = evaluation.replicates
    for mode in MODES:
        outcomes = [_column(replicates, mode, labels[mode], outcome) for outcome in (FOUND, SPURIOUS, MISSED)]
        holds = np.sum(outcomes, axis=0) > 0
        for name, scores in exact_scores(replicates, mode, labels[mode]):
            label = name.partition("labels.")[2]
            is_defined = holds[labels[mode].index(label)] if label else holds.any(axis=0)
            for field in dataclasses.fields(scores)[:3]:
                yield f"exact.{mode}.{name}.{field.name}", getattr(scores, field.name), is_defined
    nothing = np.zeros(evaluation.mentions.n_replicates, dtype=np.int64)
    for measure in MEASURES:
        counts = [replicates.get(("overlap", measure, outcome), nothing) for outcome in OUTCOMES]
        for name, overlap in zip(("precision", "recall", "f1"), score_overlaps(measure, counts), strict=True):
            yield f"partial.{measure}.{name}", np.asarray(overlap), np.sum(counts, axis=0) > 0
    total = replicates.get(("tokens", "total"))
    if total is not None:
        yield "tokens.accuracy", replicates.get(("tokens", "correct"), nothing) / np.maximum(total, 1), total > 0
