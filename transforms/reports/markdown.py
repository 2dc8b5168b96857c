"""An evaluation as Markdown, short enough for a comment on a pull request.

Strings from data stand in code spans, in which Markdown and HTML mean nothing and nobody is mentioned.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transforms.reports import findings
from transforms.reports.charts import shorten
from transforms.reports.figures import format_interval, format_score

_MOST_LABELS = 30
_MOST_CONFUSIONS = 8
_MOST_CHARACTERS = 60


def render_markdown(report: Mapping[str, Any]) -> str:
    """An evaluation's report in, Markdown out; schemas/evaluation.schema.json describes the report."""
    parts = [
        f"### Evaluation\n\n**{findings.describe_quality(report)}** {findings.describe_certainty(report)}",
        f"Gold {quote_code(report['gold']['name'])}, predicted {quote_code(report['predicted']['name'])}.",
        *_show_weaknesses(report),
        *_show_labels(report),
        *_show_notices(report),
        *_show_confusions(report),
    ]
    return "\n\n".join(parts) + "\n"


def quote_code(text: str) -> str:
    r"""Any text in, a code span that fits into a cell of a table out.

    A pipe would end the cell in some renderers whatever is done, so that it is shown as a broken bar.

    >>> quote_code("a|b"), quote_code("a`b"), quote_code("")
    ('`a¦b`', '``a`b``', '` `')
    """
    line = shorten(text, _MOST_CHARACTERS).replace("|", "¦")
    if line.startswith("`") or line.endswith("`") or not line.strip():
        line = f" {line} " if line.strip() else " "
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence}{line}{fence}"


def _show_weaknesses(report: Mapping[str, Any]) -> Iterator[str]:
    weakest, largest = findings.find_weakest(report), findings.find_largest_error(report)
    if weakest is not None and largest is not None:
        f1 = format_score(report["exact"]["default"]["labels"][weakest]["f1"])
        yield (
            f"Weakest label: {quote_code(weakest)}, F1 {f1}. Look first at: {largest.kind} "
            f"{quote_code(largest.label)}, {largest.count:,} of {largest.total:,} errors."
        )


def _show_labels(report: Mapping[str, Any]) -> Iterator[str]:
    exact = report["exact"]["default"]
    labels = [label for label in findings.rank_labels(report) if label in exact["labels"]]
    if not labels:
        return
    rows = [
        _row_of(report, quote_code(label), exact["labels"][label], f"exact.default.labels.{label}")
        for label in labels[:_MOST_LABELS]
    ]
    rows += [_row_of(report, f"**{name}**", exact[name], f"exact.default.{name}") for name in ("micro", "macro")]
    rows.append(_row_of(report, "**micro, strict**", report["exact"]["strict"]["micro"], "exact.strict.micro"))
    interval = f"{findings.name_level(report)} interval of F1"
    yield make_table({"Label": "l", "Precision": "r", "Recall": "r", "F1": "r", interval: "r", "Support": "r"}, rows)
    if len(labels) > _MOST_LABELS:
        yield f"{len(labels) - _MOST_LABELS:,} labels more are in the report."


def _row_of(report: Mapping[str, Any], name: str, scores: Mapping[str, Any], path: str) -> Sequence[str]:
    interval = format_interval(findings.find_interval(report, f"{path}.f1"))
    return (
        name,
        *(format_score(scores[measure]) for measure in ("precision", "recall", "f1")),
        interval,
        f"{scores['support']:,}",
    )


def _show_notices(report: Mapping[str, Any]) -> Iterator[str]:
    notices = [f"- {notice.text}" for notice in findings.find_notices(report)]
    if notices:
        yield "\n".join(["Before you trust these figures:", "", *notices])


def _show_confusions(report: Mapping[str, Any]) -> Iterator[str]:
    if not report["confusions"]:
        return
    rows = [
        (_name_side(row["gold"]), _name_side(row["predicted"]), row["kind"], f"{row['count']:,}")
        for row in report["confusions"][:_MOST_CONFUSIONS]
    ]
    yield make_table({"Most frequent errors: gold": "l", "Predicted": "l", "Kind": "l", "Errors": "r"}, rows)


def _name_side(label: str) -> str:
    return "*nothing*" if label == findings.OUTSIDE else quote_code(label)


def make_table(columns: Mapping[str, str], rows: Sequence[Sequence[str]]) -> str:
    """Names of columns with their side, `l` or `r`, and cells in; a table out."""
    sides = ["---:" if side == "r" else ":---" for side in columns.values()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, sides, *rows))
