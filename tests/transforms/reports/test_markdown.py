"""Markdown for pull requests, read back by a parser of Markdown."""

import copy

import pytest
from markdown_it import MarkdownIt

from tests.transforms.reports.conftest import HOSTILE, Page
from tests.transforms.reports.evaluations import make_hostile_report, make_report, make_void_report
from transforms.reports.markdown import quote_code, render_markdown

BREAKERS = (
    *HOSTILE,
    "a|b",
    "a\\|b",
    "|",
    "\\",
    "`",
    "``` x",
    "a`b``c",
    "a\n| b |\n\n# c",
    "a\r\nb",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "http://evil.example www.evil.example",
    "@everyone #1",
    "**x** ~~y~~",
    "<!-- x",
    "&lt;b&gt;",
    "",
    " ",
    "\u202egnp.exe",
    "a\x1b[31m\x00",
    "x" * 300,
)
REPORT = make_report()


def _read(markdown):
    """The page that a renderer makes which lets HTML through and turns addresses into links."""
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def _count(page, tag):
    return len(page.find(tag))


def test_render_markdown_is_short():
    assert len(render_markdown(REPORT).splitlines()) < 60


def test_render_markdown_tells_the_score_of_every_label():
    text = render_markdown(REPORT)
    row = REPORT["exact"]["default"]["labels"]["PER"]
    low, high = REPORT["intervals"]["exact.default.labels.PER.f1"]
    scores = " | ".join(f"{100 * row[name]:.1f}" for name in ("precision", "recall", "f1"))
    assert f"| `PER` | {scores} | {100 * low:.1f}–{100 * high:.1f} | {row['support']} |" in text


def test_render_markdown_tells_totals_errors_and_notices():
    text = render_markdown(REPORT)
    for fragment in (
        "| **micro** |",
        "| **macro** |",
        "| **micro, strict** |",
        "2 gold documents without a prediction",
    ):
        assert fragment in text
    first = REPORT["confusions"][0]
    assert f"| `{first['gold']}` | *nothing* | missed | {first['count']} |" in text


def test_render_markdown_leaves_intervals_out_that_there_are_not():
    report = REPORT | {"intervals": {"level": 0.95, "replicates": 0}}
    row = next(line for line in render_markdown(report).splitlines() if line.startswith("| `PER`"))
    assert row.count("|") == 7
    assert "|  |" in row


@pytest.mark.parametrize("hostile", BREAKERS)
def test_render_markdown_is_not_broken_by_data(hostile):
    page = _read(render_markdown(make_hostile_report(hostile)))
    plain = _read(render_markdown(make_hostile_report("plain")))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.comments == []


def test_render_markdown_shows_a_label_as_it_is():
    page = _read(render_markdown(make_hostile_report("<b>{{ 7*7 }}</b> `x` *y*")))
    assert "<b>{{ 7*7 }}</b> `x` *y*" in page.texts


def test_render_markdown_stops_at_thirty_labels():
    report = copy.deepcopy(REPORT)
    row = report["exact"]["default"]["labels"]["PER"]
    report["exact"]["default"]["labels"] = {f"label-{k:02d}": row for k in range(75)}
    text = render_markdown(report)
    assert "`label-29`" in text
    assert "`label-30`" not in text
    assert "45 labels more" in text


def test_render_markdown_of_nothing_is_a_sentence():
    page = _read(render_markdown(make_void_report()))
    assert _count(page, "table") == 0
    assert any("nothing to score" in text for text in page.texts)


@pytest.mark.parametrize("text", BREAKERS)
def test_quote_code_is_one_code_span_without_pipes(text):
    quoted = quote_code(text)
    assert "|" not in quoted
    assert [tag for tag, _ in _read(f"x {quoted} y").tags] == ["p", "code"]
