import dataclasses
import io

from rich.console import Console

from schemas.receipts import Tally
from tests.transforms.reports.conftest import RUN, TALLY
from transforms.reports.annotation import build_report
from transforms.reports.summary import print_summary


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
