"""The page of an evaluation, from its report.

    report.json ──┬─ findings ──> what to say in words ──┐
                  ├─ evaluation_charts ──> SVG ──────────┼─ evaluation.html.j2 ──> one HTML file
                  └─ excerpts ──> errors in context ─────┘

The first screen is for those who decide, what is below for those who mend; see transforms.reports.pages for what every
HTML file holds to. Only what the report holds is shown; schemas/evaluation.schema.json describes it.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from transforms.reports import charts, evaluation_charts, findings
from transforms.reports.evaluation_charts import Estimate
from transforms.reports.excerpts import Sample, Segment, mark_excerpts
from transforms.reports.pages import render_page

_MEASURES = ("precision", "recall", "f1")
_MOST_CONFUSED = 20
_SHOWN_GROUPS = 12
_SHOWN_ERRORS = 10


def render_evaluation(report: Mapping[str, Any]) -> str:
    """An evaluation's report in, one self-contained HTML file out.

    Args:
      report: as schemas/evaluation.schema.json describes it, made here or read back from JSON.
    """
    labels = findings.rank_labels(report)
    calibration = report["calibration"] or {"labels": {}}
    view = {
        "report": report,
        "labels": labels,
        "scored": [label for label in labels if label in report["exact"]["default"]["labels"]],
        "tones": {label: rank % len(charts.COLORS) for rank, label in enumerate(labels)},
        "charts": {name: Markup(svg) for name, svg in _draw_charts(report, labels)},
        "bounds": functools.partial(findings.find_interval, report),
        "quality": findings.describe_quality(report),
        "certainty": findings.describe_certainty(report),
        "weakest": findings.find_weakest(report),
        "largest": findings.find_largest_error(report),
        "notices": list(findings.find_notices(report)),
        "counted": list(_name_counts(report["counts"])),
        "kinds": findings.KINDS,
        "outside": findings.OUTSIDE,
        "confused": _choose_confused(report, labels),
        "wrong": findings.rank_wrong(report),
        "breakdowns": dict(_split_breakdowns(report)),
        "calibrated": [label for label in labels if label in calibration["labels"]],
        "samples": dict(_group_samples(report)),
        "max_bars": charts.MAX_BARS,
        "max_panels": charts.MAX_PANELS,
        "shown_groups": _SHOWN_GROUPS,
        "shown_errors": _SHOWN_ERRORS,
    }
    return render_page("evaluation.html.j2", view)


def _draw_charts(report: Mapping[str, Any], labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    scores = report["exact"]["default"]["labels"]
    if scores:
        estimates = {
            label: {measure: _estimate(report, label, measure) for measure in _MEASURES}
            for label in labels
            if label in scores
        }
        yield "estimates", evaluation_charts.draw_estimates(estimates)
    calibration = report["calibration"]
    if not calibration or not calibration["labels"]:
        return
    calibrated = {label: calibration["labels"][label] for label in labels if label in calibration["labels"]}
    yield "reliability", evaluation_charts.draw_reliability_panels(calibrated)
    curves = {label: row["curve"] for label, row in calibrated.items() if row["curve"]}
    if curves:
        thresholds = calibration["thresholds"] or {"labels": {}, "precision": None}
        yield "curves", evaluation_charts.draw_curve_panels(curves, thresholds["labels"], thresholds["precision"])


def _estimate(report: Mapping[str, Any], label: str, measure: str) -> Estimate:
    value = report["exact"]["default"]["labels"][label][measure]
    interval = findings.find_interval(report, f"exact.default.labels.{label}.{measure}") or (value, value)
    return Estimate(value, *interval)


def _name_counts(counts: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    yield "Documents scored", counts["documents"]
    for name in ("sentences", "tokens"):
        if counts[name] is not None:
            yield name.capitalize(), counts[name]
    yield "Entities in gold", counts["gold_entities"]
    yield "Predicted entities", counts["predicted_entities"]


def _choose_confused(report: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """The labels of the table of confusions: the frequent ones, as many as can be read."""
    confusion = report["confusion"]
    met = {label for row in confusion.values() for label in row} | set(confusion)
    return [label for label in labels if label in met][:_MOST_CONFUSED]


def _split_breakdowns(report: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Breakdowns that break something down: one with a single value says nothing that the whole does not."""
    for dimension, groups in report["breakdowns"].items():
        if len(groups) > 1:
            yield dimension, groups


def _group_samples(report: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[Mapping[str, Any], list[Segment]]]]]:
    for kind in findings.KINDS:
        samples = [sample for sample in report["samples"] if sample["kind"] == kind]
        if samples:
            yield kind, [(sample, list(mark_excerpts(_to_sample(sample)))) for sample in samples]


def _to_sample(error: Mapping[str, Any]) -> Sample:
    """An error in its context, as a short document of its own."""
    predicted, gold = (_shift(error[side], error["context_start"]) for side in ("predicted", "gold"))
    return Sample(error["id"], error["source"], error["row"], error["context"], predicted, gold)


def _shift(span: Mapping[str, Any] | None, by: int) -> list[dict[str, Any]]:
    return [{**span, "start": span["start"] - by, "end": span["end"] - by}] if span else []
