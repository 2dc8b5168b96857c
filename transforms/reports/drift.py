"""Drift from one run to another for people: in a few sentences, on the terminal and as a page.

    drift.json ──┬─ describe ──> sentences ──┬─ print_drift ──> terminal
                 └─ tabulate ──> rows ───────┴─ render_drift ─> drift.html.j2 ──> one HTML file

Only what the report holds is shown; transforms.scoring.drift.measure_drift describes it.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.text import Text

from transforms.reports import charts, drift_charts
from transforms.reports.charts import printable
from transforms.reports.figures import format_share
from transforms.reports.pages import render_page
from transforms.reports.summary import make_table
from transforms.scoring.drift import DISTRIBUTION, NOVELTY, RATE, VERDICTS
from transforms.scoring.novelty import LEAST_SLICES

TITLES = {
    "entity_rate": "entities per 1,000 tokens",
    "label_shares": "shares of labels",
    "scores": "scores",
    "document_lengths": "lengths of documents",
    "dead_letters": "share of dead letters",
    "unknown_pieces": "share of unknown pieces",
    "new_forms": "new surface forms",
}
REASONS = {
    "": "",
    "within_variation": "no more than chance or parts of A bring about",
    "too_few": "too few to tell",
    "too_few_slices": "too few slices to tell",
    "not_recorded": "not recorded",
}
STYLES = {"stable": "green", "moderate": "yellow", "drifted": "bold red", None: "dim"}

_NAMED = 4


@dataclasses.dataclass(frozen=True)
class Row:
    """A measure as it stands in a table.

    Attributes:
      title: what it is of.
      a: the rate or share in the earlier run, where it is one.
      b: the same in the later run.
      change: from the one to the other.
      interval: of the change.
      js: Jensen-Shannon divergence, of a distribution.
      band: what chance or the slices of A alone may bring about.
      thresholds: moderate and drift.
      verdict: of both.
      about: why there is none, or why it is not what the thresholds say, and what to keep in mind.
      meter: where the change, its interval, the band and the two thresholds lie on a line from 0 to 1.
    """

    title: str
    a: str
    b: str
    change: str
    interval: str
    js: str
    band: str
    thresholds: str
    verdict: str | None
    about: str
    meter: Mapping[str, float] | None


def describe_verdict(report: Mapping[str, Any]) -> str:
    """A report in, one sentence on whether the later run has drifted out."""
    verdict = report["verdict"]
    if verdict is None:
        return "Nothing can be told: there are too few documents, or too little was counted."
    found = [measure for measure in report["measures"] if measure["verdict"] == verdict]
    if verdict == VERDICTS[0]:
        untold = sum(measure["verdict"] is None for measure in report["measures"])
        rest = f"; of {untold} more nothing can be told" if untold else ""
        return f"Stable: none of {len(found)} measures moved from A to B by as much as its threshold{rest}."
    names = [name_measure(measure) for measure in sorted(found, key=_severity)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{verdict.capitalize()} from A to B: {', '.join(names[:_NAMED])}{more}."


def describe_certainty(report: Mapping[str, Any]) -> str:
    """A report in, one sentence on intervals and on what changes are held against out."""
    slices = report["slices"]
    counts = f"{slices['a']:,} slices of A and {slices['b']:,} of B"
    if report["replicates"]:
        level = f"{100 * report['level']:g} %"
        return f"{level} intervals from {report['replicates']:,} resamples of {counts}."
    if min(slices.values()) < LEAST_SLICES:
        return f"No intervals: {counts} are too few, {LEAST_SLICES} are needed of each."
    return f"No intervals were computed, of {counts}."


def find_notices(report: Mapping[str, Any]) -> Iterator[str]:
    """What to know before trusting the figures."""
    caveats = {measure["caveat"] for measure in report["measures"]}
    if "other model" in caveats:
        yield (
            "The runs have different models: all measures but dead letters tell of the models as well as of the text. "
            "Annotate both with the same one to tell the two apart."
        )
    if "other settings" in caveats:
        yield "The runs differ in thresholds or other settings of the tagger, which move rates, shares and scores."
    if shared := report["shared_inputs"]:
        files = f"{shared:,} input file{' is' if shared == 1 else 's are'}"
        yield f"{files} in both runs, which makes the later one look more like the earlier than what is new in it."
    if report["slices"]["a"] < LEAST_SLICES:
        yield (
            f"Run A has fewer than {LEAST_SLICES} slices: how much they differ by themselves is not known, and "
            "verdicts go by chance and thresholds alone."
        )
    for name, count in report["recorded"]["a"].items():
        lacking = [
            f"{report['slices'][side] - recorded:,} slices of {side.upper()}"
            for side, recorded in (("a", count), ("b", report["recorded"]["b"][name]))
            if recorded < report["slices"][side]
        ]
        if lacking:
            yield (
                f"{TITLES[name].capitalize()}: not recorded by {' and '.join(lacking)}, which were annotated by an "
                "earlier version or by a tagger that does not count them."
            )


def name_measure(measure: Mapping[str, Any]) -> str:
    """What a measure is of, in words."""
    title = TITLES[measure["name"]]
    return f"{title} of {measure['label']}" if measure["label"] else title


def tabulate(report: Mapping[str, Any]) -> list[Row]:
    """A report in, its measures as rows out, in the report's order."""
    return [_make_row(measure) for measure in report["measures"]]


def rank_labels(report: Mapping[str, Any]) -> list[str]:
    """Every label there is, those with many entities in both runs first."""
    labels = report["labels"]
    return sorted(labels, key=lambda label: (-sum(labels[label][side]["entities"] for side in "ab"), label))


def print_drift(report: Mapping[str, Any], console: Console) -> None:
    """A drift's report in; sentences and a table go to the console."""

    def say(text: str, style: str = "") -> None:
        # Whatever reads the lines wants them as they are.
        console.print(Text(text, style), soft_wrap=not console.is_terminal)

    say(printable(describe_verdict(report)), "bold")
    say(describe_certainty(report), "dim")
    console.print()
    columns = ("measure", "A", "B", "change", "interval", "natural", "thresholds", "verdict")
    rows = [
        (
            *(row.title, row.a, row.b, row.change, row.interval, row.band, row.thresholds),
            row.verdict or row.about.partition(";")[0],
        )
        for row in tabulate(report)
    ]
    table = make_table("from A to B", columns, rows, is_number=[False, *[True] * 6, False])
    for row, measure in zip(table.rows, report["measures"], strict=True):
        row.style = STYLES[measure["verdict"]] if measure["verdict"] != VERDICTS[0] else ""
    console.print(table)
    if report["forms"]:
        console.print()
        say(describe_forms(report["forms"]))
    notices = list(find_notices(report))
    if notices:
        console.print()
        say("before you trust these figures", "italic")
    for notice in notices:
        say(f"- {notice}")


def describe_forms(forms: Mapping[str, Any]) -> str:
    """Estimates of surface forms in, one sentence out."""
    counts = [
        f"{'about ' if forms[f'relative_error_{side}'] else ''}{forms[side]:,} in {side.upper()}" for side in ("a", "b")
    ]
    if forms["new"] is None:
        return f"Distinct surface forms: {counts[0]}, {counts[1]}."
    error = f" (± {1.96 * 100 * forms['error_of_new']:.1f})" if forms["error_of_new"] else ""
    return f"Distinct surface forms: {counts[0]}, {counts[1]}, of which A has not {format_share(forms['new'])}{error}."


def render_drift(report: Mapping[str, Any]) -> str:
    """A drift's report in, one self-contained HTML file out."""
    labels = rank_labels(report)
    view = {
        "report": report,
        "labels": labels,
        "tones": {label: rank % len(charts.COLORS) for rank, label in enumerate(labels)},
        "verdict": describe_verdict(report),
        "certainty": describe_certainty(report),
        "notices": list(find_notices(report)),
        "rows": tabulate(report),
        "tally": {verdict: _count(report, verdict) for verdict in (*VERDICTS, None)},
        "forms": describe_forms(report["forms"]) if report["forms"] else "",
        "charts": {name: Markup(svg) for name, svg in _draw(report, labels)},
        "earlier": drift_charts.EARLIER,
        "max_panels": charts.MAX_PANELS,
        "max_bars": charts.MAX_BARS,
    }
    return render_page("drift.html.j2", view)


def _count(report: Mapping[str, Any], verdict: str | None) -> int:
    return sum(measure["verdict"] == verdict for measure in report["measures"])


def _severity(measure: Mapping[str, Any]) -> float:
    """Rank of a measure: how many times its threshold it has changed by, the most first."""
    threshold = measure["thresholds"][VERDICTS[2]]
    return -float(measure["change"] / threshold if threshold else math.inf)


def _make_row(measure: Mapping[str, Any]) -> Row:
    about = [REASONS[measure["reason"]], measure["caveat"]]
    thresholds = [measure["thresholds"][name] for name in VERDICTS[1:]]
    bound = max(measure["chance"] or 0.0, measure["null"]["high"] if measure["null"] else 0.0)
    is_known = bool(measure["statistics"]) and measure["chance"] is not None
    a, b, change, interval = _show_change(measure) if is_known else ("–", "–", "–", "")
    js = measure["statistics"].get("js")
    unit = _UNITS[measure["kind"]]
    return Row(
        title=name_measure(measure),
        a=a,
        b=b,
        change=change,
        interval=interval,
        js=f"{js['value']:.3f}" if js else "",
        band=unit(bound) if is_known else "",
        thresholds=" / ".join(map(unit, thresholds)),
        verdict=measure["verdict"],
        about="; ".join(filter(None, about)),
        meter=_make_meter(measure, bound, thresholds) if is_known else None,
    )


def _show_change(measure: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """A measure in; A, B, the change between them and its interval as people read them out."""
    kind, statistics = measure["kind"], measure["statistics"]
    if kind == DISTRIBUTION:
        psi = statistics["psi"]
        return "", "", f"{psi['value']:.3f}", _span(psi, "{:.3f}")
    if kind == RATE:
        a, b = ("–" if measure[side] is None else f"{measure[side]:.1f}" for side in ("a", "b"))
        return a, b, f"× {statistics['ratio']['value']:.2f}", _span(statistics["ratio"], "{:.2f}")
    a, b = (_show_share(measure[side]) for side in ("a", "b"))
    difference = statistics["excess" if kind == NOVELTY else "difference"]
    points = {part: value and 100 * value for part, value in difference.items()}
    return a, b, _sign(points["value"]), _span(points, "{:.2f}")


def _show_share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"


def _sign(points: float) -> str:
    return f"{'+' if points > 0 else '−' if points < 0 else ''}{abs(points):.2f}"


def _span(statistic: Mapping[str, float | None], form: str) -> str:
    if statistic["low"] is None:
        return ""
    return " to ".join(form.format(statistic[name]).replace("-", "−") for name in ("low", "high"))


def _make_meter(measure: Mapping[str, Any], bound: float, thresholds: Sequence[float]) -> dict[str, float]:
    """Places on a line from 0 to twice the threshold of drift."""
    low, high = _change_bounds(measure)
    whole = 2 * thresholds[1] or 1.0
    places = {
        "change": measure["change"],
        "low": low,
        "high": high,
        "band": bound,
        "moderate": thresholds[0],
        "drifted": thresholds[1],
    }
    return {name: min(1.0, value / whole) for name, value in places.items()}


def _change_bounds(measure: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of what is held against thresholds; the change itself where there is none."""
    name = {DISTRIBUTION: "psi", RATE: "ratio", NOVELTY: "excess"}.get(measure["kind"], "difference")
    low, high = (measure["statistics"][name][part] for part in ("low", "high"))
    if low is None:
        return measure["change"], measure["change"]
    if measure["kind"] == RATE:
        low, high = math.log(low), math.log(high)
    if low < 0 < high:
        low, high = 0.0, max(-low, high)
    low, high = sorted((abs(low), abs(high)))
    return (math.expm1(low), math.expm1(high)) if measure["kind"] == RATE else (low, high)


def _draw(report: Mapping[str, Any], labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    rows = report["labels"]
    if any(rows[label][side]["entities"] for label in labels for side in "ab"):
        shares = {label: (rows[label]["a"]["share"] or 0.0, rows[label]["b"]["share"] or 0.0) for label in labels}
        yield "shares", drift_charts.draw_label_shares(shares)
    scores = {label: (rows[label]["a"]["scores"], rows[label]["b"]["scores"]) for label in labels}
    if any(any(part) for pair in scores.values() for part in pair):
        yield (
            "scores",
            drift_charts.draw_score_panels({label: (_share(a), _share(b)) for label, (a, b) in scores.items()}),
        )
    if any(map(any, report["lengths"].values())):
        yield "lengths", drift_charts.draw_lengths((_share(report["lengths"]["a"]), _share(report["lengths"]["b"])))


def _share(counts: Sequence[int]) -> list[float]:
    return [count / (sum(counts) or 1) for count in counts]


def _format_index(value: float) -> str:
    return f"{value:.2g}"


def _format_times(value: float) -> str:
    return f"× {1 + value:.3g}"


def _format_points(value: float) -> str:
    return f"{100 * value:.3g}"


_UNITS = {DISTRIBUTION: _format_index, RATE: _format_times, "share": _format_points, NOVELTY: _format_points}
