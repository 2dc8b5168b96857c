"""A comparison of two runs for people: in a few sentences, on the terminal, as Markdown and as a page.

    comparison.json ──┬─ describe ──> sentences ──┬─ print_comparison ──> terminal
                      └───────────────────────────┼─ render_markdown ───> comparison.md
                                                  └─ render_comparison ─> comparison.html.j2 ──> one HTML file

Only what the report holds is shown; transforms.scoring.comparison.summarise_comparison describes it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from transforms.reports.charts import COLORS, printable, shorten
from transforms.reports.figures import format_score, format_share
from transforms.reports.findings import Notice
from transforms.reports.markdown import make_table as make_markdown_table
from transforms.reports.markdown import quote_code
from transforms.reports.pages import render_page
from transforms.reports.summary import make_table

KINDS = {
    "added": "only B has an entity there",
    "removed": "only A has an entity there",
    "relabelled": "same boundaries, another label",
    "moved": "same label, other boundaries",
    "both": "overlaps, with another label and other boundaries",
}
"""Kinds of changes, in the order to show them, and what they are."""
NAMES = {**{kind: kind for kind in KINDS}, "both": "moved and relabelled"}
MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}

_LEAST_P = 0.001
_LEAST_SCALE = 0.01
_PRINTED_SAMPLES, _PRINTED_DOCUMENTS, _PRINTED_RELABELLINGS, _PRINTED_LABELS = 12, 5, 8, 30
_SURFACE_CHARACTERS, _ID_CHARACTERS = 40, 32


def describe_verdict(report: Mapping[str, Any]) -> str | None:
    """A report in, one sentence on which run gold prefers out; None without gold."""
    gold = report["gold"]
    if gold is None:
        return None
    if not gold["counts"]["entities"]:
        return "This gold has no entities: it cannot tell which run is better."
    f1, found = gold["micro"]["difference"]["f1"], gold["micro"]["found"]
    p_value = f"McNemar {format_p(found['p_value'])}"
    if f1["low"] is None:
        return f"Without intervals there is no verdict: F1 {format_difference(f1['value'])} from A to B, {p_value}."
    better = gold["better"]
    sign = -1 if better == "a" else 1
    low, high = sorted(sign * f1[name] for name in ("low", "high"))
    interval = f"({name_level(gold)} interval {format_difference(low)} to {format_difference(high)})"
    gain = f"F1 {format_difference(sign * f1['value'])}"
    if better:
        other = "b" if better == "a" else "a"
        return f"{better.upper()} is better than {other.upper()}: {gain} {interval}, {p_value}."
    sides = _describe_sides(gold["micro"]["difference"])
    return f"No difference in F1 that this gold could show: {gain} from A to B {interval}{sides}, {p_value}."


def _describe_sides(difference: Mapping[str, Mapping[str, float]]) -> str:
    """What moved although F1 did not: precision and recall with an interval on one side of zero."""
    moved = [
        f"{name} {format_difference(difference[name]['value'])}"
        for name in ("precision", "recall")
        if difference[name]["low"] > 0 or difference[name]["high"] < 0
    ]
    return f", but {' and '.join(moved)}" if moved else ""


def describe_changes(report: Mapping[str, Any]) -> str:
    """A report in, one sentence on what changed out."""
    counts = report["counts"]
    documents, changed = counts["documents"], counts["changed_documents"]
    if not documents:
        return "There is nothing to compare: no document was annotated with the same id and text in both runs."
    if not changed:
        return f"Nothing changed: all {_count(documents, 'document')} have the same entities in A and in B."
    totals = {**count_kinds(report), "unchanged": sum(report["changes"]["unchanged"].values())}
    kinds = ", ".join(f"{n:,} {NAMES.get(kind, kind)}" for kind, n in totals.items() if n)
    share = format_share(changed / documents)
    return f"{changed:,} of {_count(documents, 'document')} changed from A to B ({share}). Entities: {kinds}."


def describe_certainty(report: Mapping[str, Any]) -> str:
    """A report with gold in, one sentence on how the intervals came about out."""
    gold = report["gold"]
    if not gold["replicates"]:
        return "No intervals were computed: chance may have its part in every difference."
    return (
        f"{name_level(gold)} intervals from {gold['replicates']:,} resamples of "
        f"{_count(gold['counts']['documents'], 'gold document')}, the same ones for A and for B."
    )


def find_notices(report: Mapping[str, Any]) -> Iterator[Notice]:
    """What to know before trusting the figures; where examples are listed, by `listed` or `gold.listed` name."""
    counts = report["counts"]
    if not counts["documents"] and counts["only_a"] and counts["only_b"]:
        yield Notice("No id is in both runs: where the input has none, they are made of its file names.", 0)
    for name, (thing, things, text) in _NOTICES.items():
        if n := counts[name]:
            yield Notice(f"{n:,} {thing if n == 1 else things} {text}.", n, name)
    gold = report["gold"]
    for name, (thing, things, text) in _GOLD_NOTICES.items():
        if gold and (n := gold["counts"][name]):
            listed = f"gold.{name}" if name in gold["listed"] else ""
            yield Notice(f"{n:,} {thing if n == 1 else things} {text}.", n, listed)


def count_kinds(report: Mapping[str, Any]) -> dict[str, int]:
    """How many changes there are of each kind."""
    return {kind: sum(report["changes"][kind].values()) for kind in KINDS}


def count_labels(report: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Changes by label and kind, `unchanged` last; the label with the most entities first."""
    kinds = (*KINDS, "unchanged")
    labels = {label for kind in kinds for label in report["changes"][kind]}
    counts = {label: {kind: report["changes"][kind].get(label, 0) for kind in kinds} for label in sorted(labels)}
    return dict(sorted(counts.items(), key=lambda item: -sum(item[1].values())))


def rank_labels(report: Mapping[str, Any]) -> list[str]:
    """Every label there is, those with many entities first; gold's come before."""
    rows = report["gold"]["labels"] if report["gold"] else {}
    scored = sorted(rows, key=lambda label: (-rows[label]["a"]["support"], label))
    pairs = [label for row in report["relabellings"] for label in (row["a"], row["b"])]
    shown = [sample[side]["label"] for sample in report["samples"] for side in ("a", "b") if sample[side]]
    return list(dict.fromkeys([*scored, *count_labels(report), *pairs, *shown]))


def format_difference(difference: float) -> str:
    """A difference of scores in, points with their sign out; only what is nothing is 0.

    >>> format_difference(0.0183), format_difference(-0.00001), format_difference(0)
    ('+1.8', '−0.1', '0.0')
    """
    points = max(abs(100 * difference), 0.1) if difference else 0.0
    return f"{'+' if difference > 0 else '−' if difference < 0 else ''}{points:.1f}"


def format_p(p_value: float) -> str:
    """A p-value in, the same as it is written in a sentence out.

    >>> format_p(0.0213), format_p(0.0000001)
    ('p = 0.021', 'p < 0.001')
    """
    return f"p < {_LEAST_P}" if p_value < _LEAST_P else f"p = {p_value:.3f}"


def name_level(gold: Mapping[str, Any]) -> str:
    """The level of the intervals, as in `95 %`."""
    return f"{100 * gold['level']:g} %"


def print_comparison(report: Mapping[str, Any], console: Console) -> None:
    """A comparison's report in; sentences and tables go to the console."""

    def say(text: str, style: str = "") -> None:
        # Whatever reads the lines wants them as they are.
        console.print(Text(text, style), soft_wrap=not console.is_terminal)

    verdict = describe_verdict(report)
    if verdict:
        say(verdict, "bold")
        say(describe_certainty(report), "dim")
    say(describe_changes(report), "" if verdict else "bold")
    for table in _make_tables(report):
        console.print()
        console.print(table)
    notices = list(find_notices(report))
    if notices:
        console.print()
        say("before you trust these figures", "italic")
    for notice in notices:
        say(f"- {notice.text}")


def render_markdown(report: Mapping[str, Any]) -> str:
    """A comparison's report in, Markdown that fits into a comment on a pull request out."""
    sentences = [f"**{describe_verdict(report)}**", describe_certainty(report)] if report["gold"] else []
    names = [f"{side.upper()} {quote_code(report['runs'][side]['name'])}" for side in ("a", "b")]
    if report["gold"]:
        names.append(f"gold {quote_code(report['gold']['name'])}")
    parts = [
        "### Comparison of two runs",
        " ".join([*sentences, describe_changes(report)]),
        f"{', '.join(names)}.",
        *_show_differences(report),
        *_show_scores(report),
        *_show_changes(report),
    ]
    if notices := [f"- {notice.text}" for notice in find_notices(report)]:
        parts.append("\n".join(["Before you trust these figures:", "", *notices]))
    return "\n\n".join(parts) + "\n"


def render_comparison(report: Mapping[str, Any]) -> str:
    """A comparison's report in, one self-contained HTML file out."""
    labels = rank_labels(report)
    gold = report["gold"]
    view = {
        "report": report,
        "labels": labels,
        "tones": {label: rank % len(COLORS) for rank, label in enumerate(labels)},
        "verdict": describe_verdict(report),
        "certainty": describe_certainty(report) if gold else "",
        "changes": describe_changes(report),
        "notices": list(find_notices(report)),
        "kinds": KINDS,
        "names": NAMES,
        "measures": MEASURES,
        "totals": count_kinds(report),
        "by_label": count_labels(report),
        "level": name_level(gold) if gold else "",
        "scale": _find_scale(gold) if gold else 0,
        "difference": format_difference,
        "p_of": format_p,
    }
    return render_page("comparison.html.j2", view)


def _make_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    gold = report["gold"]
    if gold and gold["counts"]["entities"]:
        head = ("", "A", "B", "B − A", f"{name_level(gold)} interval", "p")
        totals = [_cells_of(gold["micro"], measure, name) for measure, name in MEASURES.items()]
        yield make_table("scores on gold, all labels", head, totals)
        scores = [
            (*_cells_of(row, "f1", label), *(f"{row['found'][side]:,}" for side in ("only_a", "only_b")), _support(row))
            for label, row in _scored_labels(gold)
        ]
        yield make_table("F1 by label", ("label", *head[1:], "A only", "B only", "support"), scores)
    if not report["counts"]["changed_documents"]:
        return
    rows: list[tuple[str, ...]] = [
        (label, *(f"{counts[kind]:,}" for kind in (*KINDS, "unchanged")))
        for label, counts in count_labels(report).items()
    ]
    yield make_table("changes from A to B by label", ("label", *NAMES.values(), "unchanged"), rows)
    if report["relabellings"]:
        rows = [
            (row["a"], row["b"], NAMES[row["kind"]], f"{row['count']:,}")
            for row in report["relabellings"][:_PRINTED_RELABELLINGS]
        ]
        yield _to_left(make_table("most frequent changes of label", ("A", "B", "kind", "entities"), rows), 3)
    rows = [
        (_name_side(sample["a"]), _name_side(sample["b"]), NAMES[sample["kind"]], _shorten_id(sample["id"]))
        for sample in report["samples"][:_PRINTED_SAMPLES]
    ]
    marks = "; ✓ is in gold, ✗ is not" if gold else ""
    title = f"{len(rows)} of {sum(count_kinds(report).values()):,} changes, drawn by chance{marks}"
    yield _to_left(make_table(title, ("A", "B", "kind", "document"), rows), 4)
    rows = [
        (_shorten_id(row["id"]), *(f"{row[name]:,}" for name in ("a", "b", "changes")))
        for row in report["documents"][:_PRINTED_DOCUMENTS]
    ]
    yield make_table("documents with the most changes", ("document", "entities in A", "in B", "changes"), rows)


def _to_left(table: Table, n_columns: int) -> Table:
    for column in table.columns[:n_columns]:
        column.justify = "left"
    return table


def _scored_labels(gold: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    rows: dict[str, Mapping[str, Any]] = gold["labels"]
    return sorted(rows.items(), key=lambda item: (-item[1]["a"]["support"], item[0]))


def _cells_of(row: Mapping[str, Any], measure: str, name: str) -> tuple[str, ...]:
    change = row["difference"][measure]
    return (
        name,
        *(format_score(row[side][measure]) for side in ("a", "b")),
        format_difference(change["value"]),
        *_describe_interval(change),
    )


def _describe_interval(change: Mapping[str, Any]) -> tuple[str, str]:
    if change["low"] is None:
        return "", ""
    bounds = " to ".join(format_difference(change[name]) for name in ("low", "high"))
    return bounds, format_p(change["p_value"]).removeprefix("p = ").removeprefix("p ")


def _support(row: Mapping[str, Any]) -> str:
    return f"{row['a']['support']:,}"


def _name_side(side: Mapping[str, Any] | None) -> str:
    if side is None:
        return "–"
    mark = {True: " ✓", False: " ✗", None: ""}[side["is_right"]]
    return f"{shorten(side['text'], _SURFACE_CHARACTERS)} {printable(side['label'])}{mark}"


def _shorten_id(id_: str) -> str:
    """An id that fits into a line; the end of one that is made of a file's name tells more than its beginning."""
    return id_ if len(id_) <= _ID_CHARACTERS else f"…{id_[1 - _ID_CHARACTERS :]}"


def _show_differences(report: Mapping[str, Any]) -> Iterator[str]:
    rows = [tuple(quote_code(str(row[name])) for name in ("name", "a", "b")) for row in report["differences"]]
    if rows:
        yield make_markdown_table({"Setting": "l", "A": "l", "B": "l"}, rows)


def _show_scores(report: Mapping[str, Any]) -> Iterator[str]:
    gold = report["gold"]
    if not gold or not gold["counts"]["entities"]:
        return
    rows = [(*_cells_of(gold["micro"], measure, f"**{name}**"), "") for measure, name in MEASURES.items()]
    rows += [
        (*_cells_of(row, "f1", f"F1 of {quote_code(label)}"), _support(row))
        for label, row in _scored_labels(gold)[:_PRINTED_LABELS]
    ]
    rows[0] = (*rows[0][:-1], _support(gold["micro"]))
    interval = f"{name_level(gold)} interval"
    yield make_markdown_table(
        {"Score": "l", "A": "r", "B": "r", "B − A": "r", interval: "r", "p": "r", "Support": "r"}, rows
    )
    found = gold["micro"]["found"]
    yield (
        f"Gold entities found by A only: {found['only_a']:,}, by B only: {found['only_b']:,}, by both: "
        f"{found['both']:,}, by neither: {found['neither']:,} (McNemar {format_p(found['p_value'])})."
    )


def _show_changes(report: Mapping[str, Any]) -> Iterator[str]:
    if not report["counts"]["changed_documents"]:
        return
    by_label = list(count_labels(report).items())
    kinds = (*KINDS, "unchanged")
    rows = [(quote_code(label), *(f"{counts[kind]:,}" for kind in kinds)) for label, counts in by_label]
    head = {name.capitalize(): "r" for name in (*NAMES.values(), "unchanged")}
    yield make_markdown_table({"Label": "l", **head}, rows[:_PRINTED_LABELS])
    if len(rows) > _PRINTED_LABELS:
        yield f"{len(rows) - _PRINTED_LABELS:,} labels more are in the report."


def _find_scale(gold: Mapping[str, Any]) -> float:
    """The largest difference or end of an interval that is drawn."""
    rows = [row["difference"][measure] for row in (gold["micro"], *gold["labels"].values()) for measure in MEASURES]
    bounds: list[float] = [abs(row[name]) for row in rows for name in ("value", "low", "high") if row[name] is not None]
    return max([_LEAST_SCALE, *bounds])


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


_NOTICES = {
    "only_a": ("document", "documents", "in A only"),
    "only_b": ("document", "documents", "in B only"),
    "dead_a": ("document", "documents", "that could not be annotated in A"),
    "dead_b": ("document", "documents", "that could not be annotated in B"),
    "other_texts": ("document", "documents", "read with another text in B; not compared"),
    "other_units": (
        "document",
        "documents",
        "with offsets in two units and no gold text to tell them by; not compared",
    ),
    "duplicate_ids": ("id", "ids", "of more than one document"),
}
"""Counts to notice: one, many, and what of them."""

_GOLD_NOTICES = {
    "unmatched_a": ("gold document", "gold documents", "that A does not have; missed by A"),
    "unmatched_b": ("gold document", "gold documents", "that B does not have; missed by B"),
    "dead_a": ("gold document", "gold documents", "that could not be annotated in A; missed by A"),
    "dead_b": ("gold document", "gold documents", "that could not be annotated in B; missed by B"),
    "unlabelled_documents": ("document", "documents", "of the gold files that nobody labelled; not scored"),
    "invalid_sequences": ("gold sequence", "gold sequences", "of tags against the scheme"),
}
