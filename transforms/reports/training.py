"""The page of a training, from its report.

    report.json ──┬─ what to say in words ────────┐
                  └─ training_charts ──> SVG ─────┴─ training.html.j2 ──> one HTML file

Only what the report holds is shown. See transforms.reports.pages for what every HTML file holds to.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from markupsafe import Markup

from transforms.reports import charts, findings, training_charts
from transforms.reports.figures import format_interval, format_score
from transforms.reports.pages import render_page

_MOST_CONFUSED = 20
_SHOWN_ERRORS = 10
_WIDE_INTERVAL = 0.1
_FEW_ENTITIES = 10


def render_training(report: Mapping[str, Any]) -> str:
    """A training's report in, one self-contained HTML file out.

    Args:
      report: as training.reports builds it, made here or read back from JSON; rows of `history` may have holes.
    """
    files = report["files"]
    labels = rank_labels(report)
    history = [{key: value for key, value in row.items() if value is not None} for row in report["history"]]
    lines = list(training_charts.read_file_points(history))
    drawn = {"curves": training_charts.draw_curves(history, report["best_step"])}
    if files:
        drawn["gains"] = training_charts.draw_gains(files)
    view = {
        "report": {**report, "history": history},
        "epochs_s": sum(row.get("seconds", 0.0) for row in history),
        "labels": labels,
        "tones": {label: rank % len(charts.COLORS) for rank, label in enumerate(labels)},
        "charts": {name: Markup(svg) for name, svg in drawn.items() if svg},
        "lines": {name: rank % len(charts.COLORS) for rank, name in enumerate(lines) if name},
        "summary": describe_gain(report),
        "notices": list(find_notices(report)),
        "means": {role: _mean(files, role) for role in ("dev", "test")},
        "mistakes_by_file": [(file, *_read_mistakes(file, labels)) for file in files],
        "kinds": findings.KINDS,
        "outside": findings.OUTSIDE,
        "shown_errors": _SHOWN_ERRORS,
        "max_bars": charts.MAX_BARS,
    }
    return render_page("training.html.j2", view)


def describe_gain(report: Mapping[str, Any]) -> str:
    """A report in, one sentence for a reader in a hurry out."""
    scored = [file for file in report["files"] if file["role"] == "dev"] or report["files"]
    if not scored:
        return "Nothing was scored."
    before, after = (format_score(fmean(file[side]["micro"]["f1"] for file in scored)) for side in ("before", "after"))
    if len(scored) > 1:
        return f"Entity F1 went from {before} to {after}, as a mean over {len(scored)} {scored[0]['role']} files."
    interval = scored[0]["after"]["micro"]["interval"]
    within = f" (95 % interval {format_interval(interval)})" if interval else ""
    return f"Entity F1 went from {before} to {after}{within} on the {scored[0]['role']} file."


def find_notices(report: Mapping[str, Any]) -> Iterator[str]:
    """What to know before trusting the checkpoint; sentences without strings from data, but for the names of labels."""
    history, options = report["history"], report["options"]
    wanted = options.get("epochs")
    if history and wanted:
        if len(history) >= wanted > 1 and history[-1].get("step") == report["best_step"]:
            yield "The last epoch was the best one: more epochs may bring more."
        elif len(history) < wanted:
            yield f"Training stopped after {len(history)} of {wanted} epochs, as nothing better came."
    for file in report["files"]:
        yield from _find_doubts(file)
    trained: Counter[str] = Counter()
    for file in report["data"]:
        if file["role"] == "train":
            trained.update(file["entities"])
    if rare := [label for label in report["labels"] if trained[label] < _FEW_ENTITIES]:
        few = ", ".join(f"{label} {trained[label]}" for label in rare)
        yield f"Some labels have fewer than {_FEW_ENTITIES} entities to train on: {few}."


def _find_doubts(file: Mapping[str, Any]) -> Iterator[str]:
    gain, interval = file["gain"]["interval"], file["after"]["micro"]["interval"]
    if gain and gain[1] < 0:
        yield f"On {file['name']} the checkpoint is worse than before, by more than chance explains."
    elif gain and gain[0] <= 0:
        yield f"On {file['name']} the gain is within what chance explains."
    if interval and interval[1] - interval[0] > _WIDE_INTERVAL:
        yield f"The interval on {file['name']} is wide: more labelled documents would tell more."


def rank_labels(report: Mapping[str, Any]) -> list[str]:
    """Every label there is, those with many gold entities in the dev and test files first."""
    support: Counter[str] = Counter(dict.fromkeys(report["labels"], 0))
    for file in report["files"]:
        for label, row in file["after"]["labels"].items():
            support[label] += row["support"]
    return sorted(support, key=lambda label: (-support[label], label))


def _mean(files: Sequence[Mapping[str, Any]], role: str) -> dict[str, float] | None:
    own = [file for file in files if file["role"] == role]
    return {side: fmean(file[side]["micro"]["f1"] for file in own) for side in ("before", "after")} if own else None


def _read_mistakes(file: Mapping[str, Any], labels: Sequence[str]) -> tuple[list[str], dict[str, dict[str, int]], int]:
    """Labels of the table of confusions, errors of each label by kind with the most first, and how many there are."""
    met = {label for row in file["confusion"].values() for label in row} | set(file["confusion"])
    by_label = {label: {kind: file["errors"][kind].get(label, 0) for kind in findings.KINDS} for label in labels}
    wrong = {label: counts for label, counts in by_label.items() if any(counts.values())}
    ranked = dict(sorted(wrong.items(), key=lambda item: -sum(item[1].values())))
    n_errors = sum(sum(counts.values()) for counts in ranked.values())
    return [label for label in labels if label in met][:_MOST_CONFUSED], ranked, n_errors
