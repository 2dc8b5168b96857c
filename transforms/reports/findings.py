"""What an evaluation's report says in words: how good, where to look first, what to know before trusting it.

Page, Markdown and terminal say the same, each in its own form; nothing is computed here, only chosen and phrased.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from transforms.reports.figures import format_score

KINDS = {
    "missed": "nothing was predicted there",
    "spurious": "gold has nothing there",
    "boundary": "right label, wrong boundaries",
    "label": "right boundaries, wrong label",
    "both": "overlaps, with another label and other boundaries",
}
"""Kinds of errors, in the order to show them, and what they are."""

OUTSIDE = "O"
"""Stands for no entity where a label is expected."""

_SURE_SUPPORT = 10
_WIDE_INTERVAL = 0.1
_REPAIRS = {
    "conlleval": "a stray inside tag begins an entity, as conlleval reads it",
    "discard": "entities that an illegal step touches are dropped",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """The largest group of errors.

    Attributes:
      kind: one of KINDS.
      label: gold's label; the predicted one for spurious entities.
      count: how many errors it has.
      total: errors of all kinds and labels.
    """

    kind: str
    label: str
    count: int
    total: int


@dataclasses.dataclass(frozen=True)
class Notice:
    """Something about the data that the reader should know of.

    Attributes:
      text: one sentence; holds no strings from data.
      count: how many there are.
      listed: the name of the examples in the report's `listed`, or an empty string.
    """

    text: str
    count: int
    listed: str = ""


def describe_quality(report: Mapping[str, Any]) -> str:
    """A report in, one sentence for a reader in a hurry out."""
    gold, predicted = report["counts"]["gold_entities"], report["counts"]["predicted_entities"]
    if not gold and not predicted:
        return "There is nothing to score: neither gold nor the prediction has an entity."
    if not gold:
        return f"Gold has no entities, so that all {predicted:,} predicted ones are wrong."
    if not predicted:
        return f"Nothing was predicted: all {gold:,} gold entities are missed."
    micro = report["exact"]["default"]["micro"]
    precision, recall, f1 = (format_score(micro[name]) for name in ("precision", "recall", "f1"))
    interval = find_interval(report, "exact.default.micro.f1")
    within = ""
    if interval:
        low, high = map(format_score, interval)
        within = f" ({name_level(report)} interval {low} to {high})"
    return (
        f"F1 is {f1}{within}: {recall} % of the gold entities are found, "
        f"and {precision} % of the predicted ones are right."
    )


def describe_certainty(report: Mapping[str, Any]) -> str:
    """A report in, one sentence on how sure its figures are out."""
    replicates, documents = report["intervals"]["replicates"], report["counts"]["documents"]
    if not replicates:
        return "No intervals were computed: chance may have its part in every difference."
    things = "document" if documents == 1 else "documents"
    text = f"{name_level(report)} intervals from {replicates:,} resamples of {documents:,} {things}."
    interval = find_interval(report, "exact.default.micro.f1")
    if interval and interval[1] - interval[0] > _WIDE_INTERVAL:
        return f"{text} They are wide: more documents would tell more."
    return text


def find_interval(report: Mapping[str, Any], name: str) -> list[float] | None:
    """The bounds of a score by its name, such as `exact.default.micro.f1`; None where there are none."""
    interval: list[float] | None = report["intervals"].get(name)
    return interval


def name_level(report: Mapping[str, Any]) -> str:
    """The level of the intervals, as in `95 %`."""
    return f"{100 * report['intervals']['level']:g} %"


def find_weakest(report: Mapping[str, Any]) -> str | None:
    """The label with the lowest F1 of those with ten gold entities or more; of all in gold where none has as many.

    None where gold has fewer than two labels.
    """
    labels = report["exact"]["default"]["labels"]
    supported = {label: row for label, row in labels.items() if row["support"]}
    sure = {label: row for label, row in supported.items() if row["support"] >= _SURE_SUPPORT}
    candidates = sure or supported
    if len(supported) < 2:
        return None
    return min(sorted(candidates), key=lambda label: candidates[label]["f1"], default=None)


def find_largest_error(report: Mapping[str, Any]) -> Finding | None:
    """The kind and label with the most errors; None where there are no errors."""
    counts = {(kind, label): n for kind, by_label in report["errors"].items() for label, n in by_label.items() if n}
    if not counts:
        return None
    kind, label = max(sorted(counts), key=lambda key: counts[key])
    return Finding(kind, label, counts[kind, label], sum(counts.values()))


def rank_labels(report: Mapping[str, Any]) -> list[str]:
    """Every label there is, those with many gold entities first."""
    exact = report["exact"]
    support = {label: row["support"] for mode in ("strict", "default") for label, row in exact[mode]["labels"].items()}
    confused = {label for row in report["confusion"].values() for label in row} | set(report["confusion"])
    confused |= {row[side] for row in report["confusions"] for side in ("gold", "predicted")}
    wrong = {label for by_label in report["errors"].values() for label in by_label}
    calibrated = set((report["calibration"] or {"labels": {}})["labels"])
    sides = [sample[side] for sample in report["samples"] for side in ("gold", "predicted")]
    shown = {side["label"] for side in sides if side}
    others = {*calibrated, *shown, *wrong, *confused} - {OUTSIDE}
    return sorted({*support, *others}, key=lambda label: (-support.get(label, 0), label))


def rank_wrong(report: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Errors of each label by kind, the label with the most first, those without errors left out."""
    errors = report["errors"]
    by_label = {label: {kind: errors[kind].get(label, 0) for kind in KINDS} for label in rank_labels(report)}
    wrong = {label: counts for label, counts in by_label.items() if any(counts.values())}
    return dict(sorted(wrong.items(), key=lambda item: -sum(item[1].values())))


def find_notices(report: Mapping[str, Any]) -> Iterator[Notice]:
    """What to know before trusting the figures, the gravest first."""
    counts = report["counts"]
    if not counts["documents"]:
        yield Notice("No documents were scored.", 0)
    invalid = counts["invalid_sequences"]
    numbers = counts | {f"{side}_invalid_sequences": count for side, count in invalid.items()}
    for name, (thing, things, text, listed) in _COUNTED.items():
        if number := numbers[name]:
            repair = _repair(report) if name.endswith("invalid_sequences") else ""
            yield Notice(f"{number:,} {thing if number == 1 else things} {text}{repair}.", number, listed)
    if report["surface"]["is_sampled"]:
        yield Notice("Surface forms were scored on a sample of the mentions.", 0)


def _repair(report: Mapping[str, Any]) -> str:
    policy = _REPAIRS.get(str(report["settings"].get("repair")))
    return f"; {policy}" if policy else ""


_COUNTED = {
    "unmatched_gold": ("gold document", "gold documents", "without a prediction", "unmatched_gold"),
    "unmatched_predicted": ("predicted document", "predicted documents", "without gold", "unmatched_predicted"),
    "dead_documents": ("document", "documents", "that could not be annotated", "dead_documents"),
    "duplicate_ids": ("id", "ids", "of more than one document", "duplicate_ids"),
    "gold_invalid_sequences": ("gold sequence", "gold sequences", "with tags against the scheme", ""),
    "predicted_invalid_sequences": ("predicted sequence", "predicted sequences", "with tags against the scheme", ""),
    "spelling_differences": ("token", "tokens", "spelled differently in gold and prediction", "spelling"),
    "retokenized_sentences": ("sentence", "sentences", "cut into other tokens; matched by their characters", ""),
    "unlabelled_documents": ("gold document", "gold documents", "that nobody labelled, which are not scored", ""),
    "overlapping_entities": (
        "predicted entity",
        "predicted entities",
        "left out, as another one touches the same token",
        "",
    ),
    "widened_entities": ("predicted entity", "predicted entities", "widened to whole tokens of gold", ""),
}
"""Counts to notice: one, many, what of them, and where examples are listed."""
