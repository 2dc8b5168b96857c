import dataclasses
import io

from rich.console import Console

from schemas.receipts import Tally
from tests.transforms.reports.conftest import RUN, TALLY
from tests.transforms.reports.evaluations import make_hostile_report, make_report, make_void_report
from transforms.reports.annotation import build_report
from transforms.reports.summary import print_evaluation, print_summary


def _summarize(report: dict) -> str:
    out = io.StringIO()
    print_summary(report, Console(file=out, width=100))
    return out.getvalue()


def test_print_summary_prints_every_figure():
    text = _summarize(build_report(TALLY, run=RUN))
    for part in ("900", "2,000", "1,500", "100 (10.0 %)", "TokenizationError", "2,500", "75.0 %", "0.6667", "20.0 s"):
        assert part in text


def test_print_summary_of_an_empty_run_without_gold():
    text = _summarize(build_report(Tally(), run=RUN | {"seconds": 0.0}))
    assert "strict" not in text
    assert "dead letters" not in text


def test_print_summary_reads_no_markup_and_no_escapes_in_data():
    text = _summarize(build_report(dataclasses.replace(TALLY, entities={"[red]x[/red]": 1, "a\x1b[31mb": 2}), run=RUN))
    assert "[red]x[/red]" in text
    assert "\x1b" not in text


def _evaluate(report: dict, width: int = 110) -> str:
    out = io.StringIO()
    print_evaluation(report, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_print_evaluation_prints_the_headline_first():
    report = make_report()
    first = " ".join(_evaluate(report).splitlines()[:2])
    assert first.startswith("F1 is ")
    assert "95 % interval" in first


def test_print_evaluation_prints_scores_with_intervals_and_support():
    report = make_report()
    row = report["exact"]["default"]["labels"]["ORG"]
    low, high = report["intervals"]["exact.default.labels.ORG.f1"]
    [line] = [line for line in _evaluate(report).splitlines() if line.startswith("ORG ") and "–" in line]
    scores = [f"{row[name]:.4f}" for name in ("precision", "recall", "f1")]
    assert line.split() == ["ORG", *scores, f"{low:.4f}–{high:.4f}", str(row["support"])]


def test_print_evaluation_prints_errors_by_kind():
    report = make_report()
    lines = [line.split() for line in _evaluate(report).splitlines()]
    counts = [report["errors"][kind]["ORG"] for kind in ("missed", "spurious", "boundary", "label", "both")]
    assert ["ORG", *map(str, counts), str(sum(counts))] in lines


def test_print_evaluation_prints_notices():
    text = _evaluate(make_report())
    assert "- 2 gold documents without a prediction." in text
    assert "- 17 sentences cut into other tokens" in text


def test_print_evaluation_of_nothing_prints_no_tables():
    text = _evaluate(make_void_report())
    assert "nothing to score" in text
    assert "precision" not in text


def test_print_evaluation_reads_no_markup_and_no_escapes_in_data():
    text = _evaluate(make_hostile_report("[red]x[/red]\x1b[31m\u202e"), width=200)
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_print_evaluation_fits_a_narrow_terminal():
    assert max(map(len, _evaluate(make_report(), width=80).splitlines())) <= 80
