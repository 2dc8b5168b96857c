"""A comparison of two runs in words, on the terminal, as Markdown and as a page."""

import copy
import io

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from tests.transforms.reports.conftest import HOSTILE, Page
from transforms.reports.comparison import (
    describe_changes,
    describe_verdict,
    find_notices,
    format_difference,
    print_comparison,
    render_comparison,
    render_markdown,
)
from transforms.scoring.comparison import Comparison, summarise_comparison

ABOUT = {
    "runs": {side: {"name": f"out/run={side}", "model": "ab12", "unit": "codepoint"} for side in "ab"},
    "differences": [{"name": "entities.threshold", "a": 0.0, "b": None}],
    "settings": {"scheme": "BIO", "label map": {"GPE": "LOC"}, "replicates": 1000, "reread inputs": False},
    "versions": {"python": "3.11.2", "spanmill": "0.2.0"},
    "seconds": 1.5,
}


def _contrast(a, b, low, high, p_value, support=40, found=(20, 2, 9, 9)):
    def change(by):
        return {"value": b - a, "low": low and low + by, "high": high and high + by, "p_value": p_value}

    return {
        "a": {"precision": a + 0.1, "recall": a - 0.1, "f1": a, "support": support},
        "b": {"precision": b + 0.1, "recall": b - 0.1, "f1": b, "support": support},
        "difference": {"precision": change(0.001), "recall": change(0.002), "f1": change(0)},
        "found": {**dict(zip(("both", "only_a", "only_b", "neither"), found, strict=True)), "p_value": 0.0654},
    }


def _entity(start, text, label, is_right=None):
    return {
        "start": start,
        "end": start + len(text),
        "label": label,
        "score": 0.625,
        "text": text,
        "is_right": is_right,
    }


def _make_report(label="PER", **gold):
    """A report with every part filled; `gold` changes parts of gold's."""
    return {
        **summarise_comparison(Comparison.empty(), has_gold=False),
        **copy.deepcopy(ABOUT),
        "counts": {
            **{"documents": 200, "changed_documents": 31, "entities": {"a": 90, "b": 97}, "only_a": 2, "only_b": 0},
            **{"dead_a": 1, "dead_b": 0, "other_texts": 3, "other_units": 0, "duplicate_ids": 1},
        },
        "listed": {
            **{"only_a": ["lost-1", "lost-2"], "only_b": [], "dead_a": ["dead-1"], "dead_b": []},
            **{"other_texts": ["o-1", "o-2", "o-3"], "other_units": [], "duplicate_ids": ["twice"]},
        },
        "changes": {
            "added": {label: 7, "LOC": 5},
            "removed": {label: 3, "ORG": 2},
            "relabelled": {"ORG": 11},
            "moved": {label: 4},
            "both": {},
            "unchanged": {label: 40, "LOC": 20, "ORG": 10},
        },
        "relabellings": [{"a": "ORG", "b": label, "kind": "relabelled", "count": 11}],
        "documents": [
            {"id": "doc-9", "source": "in.jsonl", "row": 9, "a": 3, "b": 5, "changes": 6}
            | {"added": 2, "removed": 0, "relabelled": 3, "moved": 1, "both": 0}
        ],
        "samples": [
            {"id": "doc-9", "source": "in.jsonl", "row": 9, "kind": "moved", "context_start": 100}
            | {"a": _entity(107, "York", label, False), "b": _entity(103, "New York", label, True)}
            | {"context": "in\nNew York now"},
            {"id": "in.jsonl#4", "source": "in.jsonl", "row": 4, "kind": "added", "a": None}
            | {"b": _entity(5, "Acme", "ORG"), "context": None, "context_start": None},
        ],
        "gold": {
            "name": "dev.conll",
            "counts": {
                **{"documents": 60, "entities": 40, "unmatched_a": 0, "unmatched_b": 2, "dead_a": 1, "dead_b": 0},
                **{"unlabelled_documents": 0, "invalid_sequences": 3},
            },
            "listed": {"unmatched_a": [], "unmatched_b": ["gone-1", "gone-2"], "dead_a": ["dead-1"], "dead_b": []},
            "level": 0.95,
            "replicates": 1000,
            "micro": _contrast(0.521, 0.539, 0.006, 0.031, 0.004),
            "labels": {label: _contrast(0.6, 0.65, -0.01, 0.08, 0.2, 30), "ORG": _contrast(0.4, 0.4, 0, 0, 1.0, 10)},
            "better": "b",
            **gold,
        },
    }


REPORT = _make_report()
WITHOUT_GOLD = REPORT | {"gold": None}
VOID = {**summarise_comparison(Comparison.empty(), has_gold=False), **ABOUT, "differences": []}
VOID_GOLD = {**summarise_comparison(Comparison.empty(), has_gold=True), **ABOUT}
VOID_GOLD["gold"]["name"] = "dev.conll"
PAGE = render_comparison(REPORT)


def _print(report, width=110):
    out = io.StringIO()
    print_comparison(report, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def test_verdict_says_which_run_is_better_by_how_much_and_how_sure():
    assert describe_verdict(REPORT) == "B is better than A: F1 +1.8 (95 % interval +0.6 to +3.1), McNemar p = 0.065."


def test_verdict_for_a_tells_what_a_gains():
    report = _make_report(micro=_contrast(0.539, 0.521, -0.031, -0.006, 0.004), better="a")
    assert describe_verdict(report) == "A is better than B: F1 +1.8 (95 % interval +0.6 to +3.1), McNemar p = 0.065."


def test_verdict_admits_that_gold_shows_no_difference():
    report = _make_report(micro=_contrast(0.539, 0.535, -0.02, 0.011, 0.6), better=None)
    expected = "No difference in F1 that this gold could show: F1 −0.4 from A to B (95 % interval −2.0 to +1.1)"
    assert describe_verdict(report) == f"{expected}, McNemar p = 0.065."
    difference = report["gold"]["micro"]["difference"]
    difference["precision"] |= {"value": 0.2, "low": 0.1, "high": 0.3}
    difference["recall"] |= {"value": -0.1, "low": -0.2, "high": -0.01}
    assert describe_verdict(report) == f"{expected}, but precision +20.0 and recall −10.0, McNemar p = 0.065."


def test_verdict_without_intervals_or_entities_or_gold():
    report = _make_report(micro=_contrast(0.539, 0.549, None, None, None), better=None, replicates=0)
    assert describe_verdict(report).startswith("Without intervals there is no verdict: F1 +1.0 from A to B")
    assert describe_verdict(VOID_GOLD) == "This gold has no entities: it cannot tell which run is better."
    assert describe_verdict(WITHOUT_GOLD) is None


def test_changes_are_told_by_kind():
    assert describe_changes(REPORT) == (
        "31 of 200 documents changed from A to B (15.5 %). "
        "Entities: 12 added, 5 removed, 11 relabelled, 4 moved, 70 unchanged."
    )
    assert describe_changes(VOID).startswith("There is nothing to compare")
    counts = REPORT["counts"] | {"changed_documents": 0, "documents": 1}
    assert describe_changes(REPORT | {"counts": counts}) == (
        "Nothing changed: all 1 document have the same entities in A and in B."
    )


def test_notices_tell_of_everything_that_is_odd_and_where_it_is_listed():
    notices = {notice.listed: notice.text for notice in find_notices(REPORT)}
    assert notices == {
        "only_a": "2 documents in A only.",
        "dead_a": "1 document that could not be annotated in A.",
        "other_texts": "3 documents read with another text in B; not compared.",
        "duplicate_ids": "1 id of more than one document.",
        "gold.unmatched_b": "2 gold documents that B does not have; missed by B.",
        "gold.dead_a": "1 gold document that could not be annotated in A; missed by A.",
        "": "3 gold sequences of tags against the scheme.",
    }
    assert list(find_notices(VOID)) == []


def test_notices_explain_ids_that_never_meet():
    counts = VOID["counts"] | {"only_a": 3, "only_b": 3}
    assert next(iter(find_notices(VOID | {"counts": counts}))).text.startswith("No id is in both runs")


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "+50.0"), (-0.123, "−12.3"), (1e-9, "+0.1"), (-1e-9, "−0.1"), (0.0, "0.0"), (-0.0, "0.0")]
)
def test_only_no_difference_is_zero(value, text):
    assert format_difference(value) == text


def test_print_comparison_prints_verdict_scores_changes_and_examples():
    text = _print(REPORT)
    lines = text.splitlines()
    assert lines[0] == describe_verdict(REPORT)
    assert describe_changes(REPORT) in lines
    [row] = [line for line in lines if line.startswith("PER ") and "+5.0" in line]
    assert row.split() == ["PER", "60.0", "65.0", "+5.0", "−1.0", "to", "+8.0", "0.200", "2", "9", "30"]
    [row] = [line for line in lines if line.startswith("PER ") and "+5.0" not in line]
    assert row.split() == ["PER", "7", "3", "0", "4", "0", "40"]
    [row] = [line for line in lines if line.startswith("York")]
    assert row.split() == ["York", "PER", "✗", "New", "York", "PER", "✓", "moved", "doc-9"]
    assert "- 3 gold sequences of tags against the scheme." in lines


def test_print_comparison_keeps_the_end_of_long_ids():
    report = copy.deepcopy(WITHOUT_GOLD)
    report["samples"][0]["id"] = f"{'folder/' * 20}dev.conll#37"
    assert "…/folder/folder/folder/dev.conll#37"[-20:] in _print(report)


def test_print_comparison_of_nothing_is_one_sentence():
    assert _print(VOID).count("\n") == 1
    assert "cannot tell" in _print(VOID_GOLD)


def test_print_comparison_reads_no_markup_and_no_escapes_in_data():
    text = _print(_make_report("[red]a\x1b[31m[/red]"), width=200)
    assert "[red]a�[31m[/red]" in text
    assert "\x1b" not in text


def test_render_markdown_tells_verdict_scores_and_changes():
    text = render_markdown(REPORT)
    assert f"**{describe_verdict(REPORT)}**" in text
    assert "| **F1** | 52.1 | 53.9 | +1.8 | +0.6 to +3.1 | 0.004 |  |" in text
    assert "| F1 of `PER` | 60.0 | 65.0 | +5.0 | −1.0 to +8.0 | 0.200 | 30 |" in text
    assert "| `PER` | 7 | 3 | 0 | 4 | 0 | 40 |" in text
    assert "found by A only: 2, by B only: 9, by both: 20, by neither: 9" in text
    assert "| `entities.threshold` | `0.0` | `None` |" in text
    assert len(text.splitlines()) < 50
    assert "interval" not in render_markdown(WITHOUT_GOLD)
    assert "|" not in render_markdown(VOID)


@pytest.mark.parametrize("hostile", [*HOSTILE, "a|b", "``` x", "[x](javascript:alert(1))", "\u202egnp.exe", "a\n# b"])
def test_render_markdown_quotes_everything_from_data(hostile):
    def read(label):
        report = _make_report(label)
        report["runs"]["a"]["name"] = report["gold"]["name"] = report["differences"][0]["a"] = label
        return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(render_markdown(report)))

    assert [tag for tag, _ in read(hostile).tags] == [tag for tag, _ in read("x").tags]


def test_render_comparison_is_inert_and_complete_in_itself():
    page = Page(PAGE)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert page.comments == []
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        assert (attrs.get("href") or "#").startswith("#")
        assert "src" not in attrs
    [policy] = [attrs["content"] for attrs in page.find("meta") if "http-equiv" in attrs]
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("report", [REPORT, WITHOUT_GOLD, VOID, VOID_GOLD])
def test_render_comparison_links_to_sections_that_exist_and_names_regions(report):
    page = Page(render_comparison(report))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"].removeprefix("#") for attrs in page.find("a")} <= set(ids)
    names = [attrs["aria-label"] for attrs in page.find("div", "scroll")]
    assert len(names) == len(set(names))


def test_render_comparison_begins_with_the_verdict():
    texts = Page(PAGE).texts
    assert texts.index(describe_verdict(REPORT)) < texts.index("F1 of A") < texts.index("Scores on gold")
    assert describe_changes(WITHOUT_GOLD) in Page(render_comparison(WITHOUT_GOLD)).texts


def test_render_comparison_shows_scores_changes_and_lists():
    texts = Page(PAGE).texts
    for text in ("52.1", "53.9", "+1.8", "+0.6 to +3.1", "0.004", "12 added", "0 moved and relabelled"):
        assert text in texts
    for text in ("lost-2", "o-3", "twice", "gone-1", "doc-9", "entities.threshold"):
        assert text in texts
    assert PAGE.count("Settings in which the runs differ") == 1
    assert "Both runs have the same settings." in render_comparison(VOID)


def test_render_comparison_draws_intervals_around_the_line_of_no_difference():
    strips = [attrs["style"] for attrs in Page(PAGE).find("i", "band")]
    assert len(strips) == 9
    # The scale ends at +8.2, so that 0.6 to 3.1 begins right of the middle.
    assert strips[2] == f"left:{50 + 50 * 0.006 / 0.082:.2f}%;width:{50 * 0.025 / 0.082:.2f}%"
    report = _make_report(micro=_contrast(0.5, 0.5, None, None, None), labels={}, better=None)
    assert Page(render_comparison(report)).find("i", "band") == []


def test_render_comparison_marks_both_entities_in_the_text():
    page = Page(PAGE)
    assert 'in\nNew <mark class="t0" title="PER · score 0.625">York<b class="tag">PER</b></mark> now</div>' in PAGE
    assert 'in\n<mark class="t0" title="PER · score 0.625">New York<b class="tag">PER</b></mark> now</div>' in PAGE
    assert page.texts.count("in gold") == page.texts.count("not in gold") == 1
    assert "nothing" in page.texts
    assert "Acme" in page.texts


@pytest.mark.parametrize("hostile", [*HOSTILE, "\x1b[2J", "\u202e"])
def test_render_comparison_escapes_everything_from_data(hostile):
    def render(name):
        report = _make_report(name)
        for row in (*report["documents"], *report["samples"]):
            row |= {"id": name, "source": f"x{name}"}
        report["samples"][0]["context"] = name * 3
        report["samples"][1]["b"] |= {"text": name, "label": name}
        report["gold"] |= {"name": name, "listed": {key: [name] for key in report["gold"]["listed"]}}
        report["listed"] = {key: [name] for key in report["listed"]}
        report["differences"] = [{"name": name, "a": name, "b": [name]}]
        report["settings"] = {name: name}
        report["versions"] = {name: name, "spanmill": name}
        report["runs"] = {side: {"name": name} for side in "ab"}
        return render_comparison(report)

    page = render(hostile)
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert [tag for tag, _ in Page(page).tags] == [tag for tag, _ in Page(render("x")).tags]
