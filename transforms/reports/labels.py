"""A look at labelled files, as a page and in the terminal; both show the same findings and tables.

    report ──┬─ label_findings ──> what to mend first ──┐
             └─ tables ──> rows of text and numbers ────┴─> labels.html.j2, or the console

Words, labels and tags come from data: nothing in them is read as markup.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from transforms.reports import charts
from transforms.reports.figures import format_share
from transforms.reports.label_findings import LEVELS, Finding, find_findings
from transforms.reports.pages import render_page
from transforms.reports.summary import make_table

Cell = str | int
_MOST_CHARACTERS = 72
_STYLES = {"broken": "red", "harmful": "yellow", "note": "dim"}


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
      anchor: its name within the page.
      title: what it is about.
      note: how to read it.
      head: names of the columns.
      rows: cells, whole numbers to the right.
    """

    anchor: str
    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def render_labels(report: Mapping[str, Any], *, limit: int = 20, versions: Mapping[str, str] | None = None) -> str:
    """A report of labelled files in, one self-contained HTML file out.

    Args:
      report: as training.inspection makes it.
      limit: most rows of a table; 0 for all that the report holds.
      versions: `spanmill`.
    """
    found = find_findings(report)
    view = {
        "report": {**report, "versions": versions or {}},
        "findings": found,
        "levels": {level: sum(one.level == level for one in found) for level in LEVELS},
        "tables": list(list_tables(report, limit=limit)),
        "summary": describe_files(report, found),
    }
    return render_page("labels.html.j2", view)


def print_labels(report: Mapping[str, Any], console: Console, *, limit: int = 20) -> None:
    """A report of labelled files in; what is found and the tables go to the console."""
    found = find_findings(report)
    console.print(Text(charts.printable(describe_files(report, found)), style="bold"), soft_wrap=True)
    for one in found:
        line = Text(f"{one.level:<8} ", style=_STYLES[one.level]).append(charts.printable(one.text), "default")
        console.print(line, soft_wrap=True)
    for table in list_tables(report, limit=limit):
        rows = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in table.rows]
        console.print()
        console.print(make_table(table.title, table.head, rows, is_number=find_numbers(table)))


def describe_files(report: Mapping[str, Any], found: Sequence[Finding]) -> str:
    """A report in, one sentence for a reader in a hurry out."""
    files = report["files"]
    n_sentences, n_words = (sum(file[name] for file in files) for name in ("sentences", "words"))
    n_entities = sum(sum(file["entities"].values()) for file in files)
    n_labels = len(report["labels"])
    size = (
        f"{n_sentences:,} {'sentence' if n_sentences == 1 else 'sentences'}, "
        f"{n_words:,} {'word' if n_words == 1 else 'words'} and "
        f"{n_entities:,} {'entity' if n_entities == 1 else 'entities'} of "
        f"{n_labels} {'label' if n_labels == 1 else 'labels'}"
    )
    grave = sum(one.level != "note" for one in found)
    things = "nothing that must be mended" if not grave else f"{grave} thing{'' if grave == 1 else 's'} to mend"
    return f"{size} in {len(files)} file{'' if len(files) == 1 else 's'}: {things}."


def find_numbers(table: Table) -> tuple[bool, ...]:
    """Which columns of a table hold numbers."""
    return tuple(bool(table.rows) and isinstance(table.rows[0][at], int) for at in range(len(table.head)))


def list_tables(report: Mapping[str, Any], *, limit: int = 20) -> Iterator[Table]:
    """A report in, its tables out; those without rows are left out."""
    for table in _list_all(report):
        if table.rows:
            yield dataclasses.replace(table, rows=table.rows[: limit or None])


def _list_all(report: Mapping[str, Any]) -> Iterator[Table]:
    yield _list_files(report)
    yield _list_labels(report)
    yield Table(
        "tags",
        "Tags against the scheme",
        "Steps from one tag to the next that the file's scheme forbids, O before and after every sentence, and what "
        "becomes of them by the rules of conlleval; and tags that are none.",
        ("File", "From", "To", "Becomes", "Times", "Lines"),
        tuple(_list_tags(report)),
    )
    yield _list_conflicts(report)
    yield _list_leaks(report)
    yield Table(
        "duplicates",
        "Duplicates within a file",
        "Sentences of the same words, those first that are not tagged alike.",
        ("File", "Sentence", "Times", "Taggings", "Lines"),
        tuple(
            (file["name"], _cut(row["words"]), row["count"], row["taggings"], _lines(row["lines"], row["count"]))
            for file in report["files"]
            for row in file["duplicates"]["rows"]
        ),
    )
    yield _list_lengths(report)
    yield Table(
        "layout",
        "Layout",
        "Lines with unusual columns, documents without words, and words that print nothing.",
        ("File", "What", "Times", "Lines"),
        tuple(_list_layout(report)),
    )


def _list_files(report: Mapping[str, Any]) -> Table:
    return Table(
        "files",
        "Files",
        "Documents are counted where they are marked.",
        ("File", "Scheme", "Documents", "Sentences", "Without entities", "Words", "Entities", "Labels"),
        tuple(
            (
                file["name"],
                file["scheme"],
                file["documents"],
                file["sentences"],
                file["sentences_without_entities"],
                file["words"],
                sum(file["entities"].values()),
                len(file["entities"]),
            )
            for file in report["files"]
        ),
    )


def _list_labels(report: Mapping[str, Any]) -> Table:
    files = report["files"]
    totals = {label: sum(file["entities"].get(label, 0) for file in files) for label in report["labels"]}
    total = sum(totals.values())
    ranked = sorted(totals, key=lambda label: (-totals[label], label))
    return Table(
        "labels",
        "Entities by label",
        "Entities as they are read, by the rules of conlleval.",
        ("Label", *(file["name"] for file in files), *(("All",) if len(files) > 1 else ()), "Share"),
        tuple(
            (
                label,
                *(file["entities"].get(label, 0) for file in files),
                *((totals[label],) if len(files) > 1 else ()),
                format_share(totals[label] / total),
            )
            for label in ranked
        ),
    )


def _list_tags(report: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    for file in report["files"]:
        for row in file["odd_tags"]:
            yield (
                file["name"],
                "",
                row["tag"],
                "training refuses it",
                row["count"],
                _lines(row["lines"], row["count"]),
            )
        for row in (file["illegal"] or {"rows": []})["rows"]:
            lines = _lines(row["lines"], row["count"])
            yield (file["name"], row["before"], row["after"], row["becomes"], row["count"], lines)


def _list_conflicts(report: Mapping[str, Any]) -> Table:
    return Table(
        "conflicts",
        "The same words, labelled in several ways",
        "How often each label was given, O where the words stand outside of every entity; those first that deviate "
        "most often from their commonest reading. Some are right; many of one kind are two opinions.",
        ("Words", "Readings", "Deviating", "The rarest at"),
        tuple(
            (
                _cut(row["words"]),
                ", ".join(f"{reading['label']} {reading['count']:,}" for reading in row["readings"]),
                row["deviating"],
                " ".join(row["readings"][-1]["places"]),
            )
            for row in report["conflicts"]["rows"]
        ),
    )


def _list_leaks(report: Mapping[str, Any]) -> Table:
    return Table(
        "leaks",
        "The same sentences in two files",
        "Sentences of a file whose words the other file has too; long ones have five words or more.",
        ("File", "In it", "Share", "Long", "Other file", "There", "Share there", "Tagged otherwise", "Such as"),
        tuple(
            (
                leak["second"],
                leak["second_count"],
                format_share(leak["second_share"]),
                leak["second_long"],
                leak["first"],
                leak["first_count"],
                format_share(leak["first_share"]),
                leak["disagreeing"],
                _cut(leak["rows"][0]["words"]),
            )
            for leak in report["leaks"]
            if leak["second_count"]
        ),
    )


def _list_lengths(report: Mapping[str, Any]) -> Table:
    model = report["model"]
    names = ("median", "p95", "p99", "longest")
    rows = []
    for file in report["files"]:
        longest = " ".join(f"{row['line']}" for row in file["longest"][:5])
        rows.append((file["name"], "words", *(file["lengths"][name] for name in names), longest))
        if model:
            pieces = file["pieces"]
            over = pieces["over"]["count"]
            text = f"{over:,} over {model['limit']}" + (f": {_lines(pieces['over']['lines'], over)}" if over else "")
            rows.append((file["name"], "pieces", *(pieces[name] for name in names), text))
    return Table(
        "lengths",
        "Lengths of sentences",
        f"In words, and in pieces of {model['name']}, special ones included." if model else "In words.",
        ("File", "In", "Median", "95 %", "99 %", "Longest", "Lines of the longest"),
        tuple(rows),
    )


def _list_layout(report: Mapping[str, Any]) -> Iterator[tuple[Cell, ...]]:
    for file in report["files"]:
        for row in file["columns"][1:]:
            lines = _lines(row["lines"], row["count"])
            yield (file["name"], f"{row['columns']} columns, not {file['columns'][0]['columns']}", row["count"], lines)
        for name, text in (("empty_documents", "documents without words"), ("blank_words", "words that print nothing")):
            if count := file[name]["count"]:
                yield (file["name"], text, count, _lines(file[name]["lines"], count))


def _lines(lines: Sequence[int], count: int) -> str:
    shown = " ".join(map(str, lines[:5]))
    return f"{shown} …" if count > 5 else shown


def _cut(words: str) -> str:
    return charts.shorten(words, _MOST_CHARACTERS)
