"""The report of a run: as JSON values, and as one HTML file.

    tally, run --build--> report --render--> HTML, with a few documents and their entities
                                 --print---> terminal (see transforms.reports.summary)

See transforms.reports.pages for what every HTML file holds to.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from schemas.costs import RESOURCES, Prices
from schemas.receipts import SCORE_BINS, STAGES, Tally
from transforms.reports import annotation_charts, charts
from transforms.reports.costs import describe_costs
from transforms.reports.excerpts import Sample, mark_excerpts
from transforms.reports.pages import render_page
from transforms.reports.reuse import describe_reuse, report_reuse
from transforms.scoring.matching import score_matches

REPORT_VERSION = 1

_MAX_INPUTS = 50


def build_report(tally: Tally, *, run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's counts and description in, its report as JSON values out.

    Shares and rates that would divide by zero, or whose counts are not given, are None; of no documents, none failed.

    Args:
      tally: counts of the whole run.
      run: `fingerprint`, `settings`, `versions`, `model` (name, digest), `inputs` (mappings of uri, size_bytes,
        rows; the first of them where `n_inputs` and `input_bytes` say that there are more) and `seconds` (wall
        time of this start); for the rates also `documents_this_start` and `tokens_this_start`, because a
        resumed run did part of its documents before; for what it cost, `prices`; for what it saved, `reused`, a
        mapping of earlier runs to the Tally of each, or None.
    """
    seconds = run["seconds"]
    return {
        "report_version": REPORT_VERSION,
        **{key: run[key] for key in ("fingerprint", "model", "settings", "versions")},
        "inputs": [dict(item) for item in run["inputs"]],
        "n_inputs": run.get("n_inputs", len(run["inputs"])),
        "input_bytes": run.get("input_bytes", sum(item["size_bytes"] for item in run["inputs"])),
        "documents": tally.documents,
        "failed_documents": tally.dead_rows,
        "failed_fraction": _divide(tally.dead_rows, tally.documents + tally.dead_rows) or 0.0,
        "dead_letters": sum(tally.dead.values()),
        "dead_letters_by_error": rank_counts(tally.dead),
        "entities": sum(tally.entities.values()),
        "entities_by_label": rank_counts(tally.entities),
        "entities_below_threshold_by_label": dict(sorted(tally.below.items())),
        **_report_histograms(tally),
        "characters": tally.characters,
        "tokens": tally.tokens,
        "windows": tally.windows,
        "computed_tokens": tally.computed_tokens,
        "overhead_fraction": _divide(tally.computed_tokens - tally.read_tokens, tally.read_tokens),
        "seconds": seconds,
        "documents_per_s": _divide(run.get("documents_this_start"), seconds),
        "tokens_per_s": _divide(run.get("tokens_this_start"), seconds),
        "stages": _share_seconds(tally.seconds),
        "costs": _report_costs(tally, run.get("prices")),
        "reused": report_reuse(tally, run.get("reused", {}), run.get("prices")),
        "counts": dict(sorted(tally.counts.items())),
        "scores": _report_scores(tally.matches),
    }


def render_html(report: Mapping[str, Any], samples: Sequence[Sample]) -> str:
    """A report and the documents to show in, one self-contained HTML file out.

    Args:
      report: what `build_report` gave, or the same read back from JSON.
      samples: documents in the order to show them; long ones are shortened around their entities.
    """
    labels = _rank_labels(report, samples)
    view = {
        "report": report,
        "tones": {label: rank % len(charts.COLORS) for rank, label in enumerate(labels)},
        "charts": {name: Markup(svg) for name, svg in _draw_charts(report, labels)},
        "labels": labels,
        "max_bars": charts.MAX_BARS,
        "max_panels": charts.MAX_PANELS,
        "samples": [(sample, list(mark_excerpts(sample))) for sample in samples],
        "has_gold": any(sample.gold is not None for sample in samples),
        "scored": sorted((report["scores"] or {"labels": []})["labels"], key=lambda row: labels.index(row["label"])),
        "usage": list(describe_costs(report.get("costs"))),
        "reuse": list(describe_reuse(report.get("reused"))),
        "stages": {stage: report["stages"][stage] for stage in order_stages(report["stages"])},
        "dead_letters": rank_counts(report["dead_letters_by_error"]),
        "settings": list(_flatten(report["settings"])),
        "versions": [("model digest", report["model"]["digest"]), *report["versions"].items()],
        "inputs": report["inputs"][:_MAX_INPUTS],
    }
    return render_page("annotation.html.j2", view)


def _divide(part: float | None, whole: float) -> float | None:
    return part / whole if whole and part is not None else None


def _report_histograms(tally: Tally) -> dict[str, Any]:
    return {
        "score_histogram": {
            "edges": [k / SCORE_BINS for k in range(SCORE_BINS + 1)],
            "by_label": {label: list(tally.scores[label]) for label in sorted(tally.scores)},
        },
        "length_histogram": {
            "first_tokens": [0, *(2**k for k in range(len(tally.lengths) - 1))],
            "documents": list(tally.lengths),
        },
    }


def _share_seconds(seconds: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    total = sum(seconds.values())
    return {
        stage: {"seconds": seconds[stage], "share": _divide(seconds[stage], total)} for stage in order_stages(seconds)
    }


def _report_costs(tally: Tally, prices: Prices | None) -> dict[str, Any] | None:
    """What all starts of a run have used; None where its receipts do not tell."""
    if not tally.used:
        return None
    worker_s, model_s = tally.used.get("worker", 0.0), tally.seconds.get("forward", 0.0)
    cost = prices.cost(tally.used) if prices else None
    return {
        **{f"{what}_seconds": tally.used.get(what, 0.0) for what in RESOURCES},
        "load_seconds": tally.used.get("load", 0.0),
        "model_seconds": model_s,
        "other_seconds": max(0.0, worker_s - model_s),
        "tokens_per_core_s": _divide(tally.tokens, tally.used.get("core", 0.0)),
        "prices_per_hour": prices.to_json() if prices else {},
        "cost": cost,
        "cost_per_million_tokens": _divide(None if cost is None else 1e6 * cost, tally.tokens),
        "cost_per_million_documents": _divide(None if cost is None else 1e6 * cost, tally.documents),
    }


def order_stages(stages: Iterable[str]) -> list[str]:
    """Stages in the order in which data pass them."""
    return sorted(stages, key=lambda stage: (STAGES.index(stage) if stage in STAGES else len(STAGES), stage))


def rank_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts with the largest first; JSON with sorted keys loses that order."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _report_scores(matches: Mapping[str, list[int]]) -> dict[str, Any] | None:
    if not matches:
        return None
    *labels, micro = [dataclasses.asdict(score) for score in score_matches(matches)]
    return {"labels": labels, "micro": micro, "matches": {label: list(matches[label]) for label in sorted(matches)}}


def _rank_labels(report: Mapping[str, Any], samples: Sequence[Sample]) -> list[str]:
    """Every label there is, the frequent first: the rank decides about the colour."""
    counts = report["entities_by_label"]
    scored = [row["label"] for row in (report["scores"] or {"labels": []})["labels"]]
    shown = {span["label"] for sample in samples for span in (*sample.entities, *(sample.gold or ()))}
    others = {*report["entities_below_threshold_by_label"], *report["score_histogram"]["by_label"], *scored, *shown}
    return [*rank_counts(counts), *sorted(others - set(counts))]


def _draw_charts(report: Mapping[str, Any], labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    if report["entities"]:
        yield (
            "labels",
            annotation_charts.draw_label_bars({label: report["entities_by_label"].get(label, 0) for label in labels}),
        )
    histograms = report["score_histogram"]["by_label"]
    if any(map(any, histograms.values())):
        empty = [0] * SCORE_BINS
        yield "scores", annotation_charts.draw_score_panels({label: histograms.get(label, empty) for label in labels})
    if any(report["length_histogram"]["documents"]):
        yield "lengths", annotation_charts.draw_length_bars(report["length_histogram"]["documents"])
    shares = {stage: report["stages"][stage]["share"] for stage in order_stages(report["stages"])}
    if any(shares.values()):
        yield "time", annotation_charts.draw_time_bar(shares)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
