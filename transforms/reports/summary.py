"""Reports as summaries for the terminal: of a run, and of an evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from transforms.reports import charts, findings
from transforms.reports.annotation import order_stages, rank_counts
from transforms.reports.costs import describe_costs
from transforms.reports.figures import format_duration, format_rate, format_share
from transforms.reports.reuse import describe_reuse


def print_summary(report: Mapping[str, Any], console: Console) -> None:
    """A report in; its headline figures and tables go to the console.

    Args:
      report: what `build_report` gave.
      console: where to print.
    """
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(justify="right", style="bold")
    facts.add_row("documents", f"{report['documents']:,}")
    facts.add_row("failed", f"{report['failed_documents']:,} ({format_share(report['failed_fraction'])})")
    facts.add_row("entities", f"{report['entities']:,}")
    facts.add_row("documents/s", format_rate(report["documents_per_s"]))
    facts.add_row("tokens/s", format_rate(report["tokens_per_s"]))
    facts.add_row("wall time", format_duration(report["seconds"]))
    if report["scores"]:
        facts.add_row("strict F1", f"{report['scores']['micro']['f1']:.4f}")
    console.print(facts)
    for table in _summary_tables(report):
        console.print()
        console.print(table)


def _summary_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    total = report["entities"]
    shares = [
        (label, f"{n:,}", format_share(n / total)) for label, n in rank_counts(report["entities_by_label"]).items()
    ]
    yield make_table("entities by label", ("label", "entities", "share"), shares)
    if report["scores"]:
        rows = [*report["scores"]["labels"], report["scores"]["micro"]]
        scores = [
            (row["label"], *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), f"{row['support']:,}")
            for row in rows
        ]
        yield make_table("strict scores", ("label", "precision", "recall", "F1", "support"), scores)
    if report["dead_letters_by_error"]:
        letters = [(error, f"{n:,}") for error, n in rank_counts(report["dead_letters_by_error"]).items()]
        yield make_table("dead letters", ("error", "letters"), letters)
    if report.get("counts"):
        yield make_table("counted by taggers", ("what", "count"), [(k, f"{n:,}") for k, n in report["counts"].items()])
    if report["stages"]:
        stages = [(stage, report["stages"][stage]) for stage in order_stages(report["stages"])]
        times = [(stage, format_duration(value["seconds"]), format_share(value["share"])) for stage, value in stages]
        yield make_table("time, summed over workers", ("stage", "time", "share"), times)
    if usage := list(describe_costs(report.get("costs"))):
        yield make_table("what all starts used, summed over workers", ("what", "used"), usage)
    if reuse := list(describe_reuse(report.get("reused"))):
        yield make_table("reused, and what that saved about", ("what", "how much"), reuse)


def print_evaluation(report: Mapping[str, Any], console: Console) -> None:
    """An evaluation's report in; its headline and tables go to the console.

    Args:
      report: as schemas/evaluation.schema.json describes it.
      console: where to print.
    """
    console.print(Text(findings.describe_quality(report), style="bold"))
    console.print(Text(findings.describe_certainty(report), style="dim"))
    for table in _evaluation_tables(report):
        console.print()
        console.print(table)
    notices = list(findings.find_notices(report))
    if notices:
        console.print()
        console.print(Text("before you trust these figures", style="italic"))
    for notice in notices:
        console.print(Text(f"- {notice.text}"))


def _evaluation_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    exact = report["exact"]
    labels = [label for label in findings.rank_labels(report) if label in exact["default"]["labels"]]
    if not labels:
        return
    rows = [(label, exact["default"]["labels"][label], f"exact.default.labels.{label}") for label in labels]
    rows += [(name, exact["default"][name], f"exact.default.{name}") for name in ("micro", "macro", "weighted")]
    rows += [("micro, strict", exact["strict"]["micro"], "exact.strict.micro")]
    rows += [("micro, partial", report["partial"]["partial"] | {"support": None}, "partial.partial")]
    columns = ("label", "precision", "recall", "F1", f"{findings.name_level(report)} of F1", "support")
    yield make_table("scores", columns, [_score_cells(report, *row) for row in rows])
    wrong = findings.rank_wrong(report)
    if wrong:
        totals = {kind: sum(counts[kind] for counts in wrong.values()) for kind in findings.KINDS}
        cells = [
            (label, *map("{:,}".format, (*counts.values(), sum(counts.values())))) for label, counts in wrong.items()
        ]
        cells.append(("all", *map("{:,}".format, (*totals.values(), sum(totals.values())))))
        yield make_table(
            "errors by kind",
            (
                "label",
                *(f"{kind} only" if kind in ("boundary", "label") else kind for kind in findings.KINDS),
                "errors",
            ),
            cells,
        )


def _score_cells(report: Mapping[str, Any], name: str, scores: Mapping[str, Any], path: str) -> tuple[str, ...]:
    bounds = findings.find_interval(report, f"{path}.f1") or ()
    support = scores["support"]
    return (
        name,
        *(f"{scores[measure]:.4f}" for measure in ("precision", "recall", "f1")),
        "–".join(f"{bound:.4f}" for bound in bounds),
        "" if support is None else f"{support:,}",
    )


def make_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, is_number: Sequence[bool] = ()
) -> Table:
    """Names of columns and their cells in, a table for the terminal out; nothing in a cell is read as markup.

    Args:
      title: what stands above it.
      columns: names of the columns.
      rows: their cells.
      is_number: which columns stand to the right; all but the first where that is not said.
    """
    is_number = is_number or [index > 0 for index in range(len(columns))]
    table = Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
    for column, is_right in zip(columns, is_number, strict=True):
        table.add_column(Text(charts.printable(column)), justify="right" if is_right else "left", overflow="fold")
    for row in rows:
        # Text, not str: a label such as [red] is no markup.
        table.add_row(*(Text(charts.printable(cell)) for cell in row))
    return table
