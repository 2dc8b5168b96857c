"""A look at labelled files, as a page and in the terminal."""

import io
import json

import pytest
from rich.console import Console

from schemas.manifest import dump_json
from tests.transforms.reports.conftest import HOSTILE, Page
from tests.transforms.reports.labelled import make_labels
from training.inspection import InspectedFile, inspect_files
from transforms.corpora.conll import Sentence
from transforms.reports.labels import list_tables, print_labels, render_labels

REPORT = make_labels()
PAGE = render_labels(REPORT)


def show(report, limit=20):
    out = io.StringIO()
    print_labels(report, Console(file=out, width=200, highlight=False), limit=limit)
    return out.getvalue()


def table(report, anchor):
    return next(one for one in list_tables(report) if one.anchor == anchor)


def test_list_tables_has_every_part():
    assert [one.anchor for one in list_tables(REPORT)] == [
        *("files", "labels", "tags", "conflicts", "leaks", "duplicates", "lengths", "layout")
    ]
    for one in list_tables(REPORT):
        assert {len(row) for row in one.rows} == {len(one.head)}


def test_list_tables_leaves_out_what_has_no_rows():
    file = InspectedFile("a", "0" * 64, ("Rome\tB-LOC",), (Sentence(("Rome",), ("B-LOC",), line=1),))
    anchors = [one.anchor for one in list_tables(inspect_files([file]))]
    assert anchors == ["files", "labels", "lengths"]


def test_list_tables_shows_as_many_rows_as_are_asked_for():
    assert len(next(one for one in list_tables(REPORT, limit=1) if one.anchor == "tags").rows) == 1
    assert len(next(one for one in list_tables(REPORT, limit=0) if one.anchor == "tags").rows) > 1


def test_tables_name_lines_and_what_becomes_of_illegal_steps():
    row = next(row for row in table(REPORT, "tags").rows if row[1] == "B-ORG")
    assert row == ("a/train.conll", "B-ORG", "I-LOC", "a LOC begins", 1, "61")


def test_tables_show_the_readings_of_a_surface():
    words, readings, deviating, places = table(REPORT, "conflicts").rows[0]
    assert (words, readings, deviating) == ("Rome", "LOC 11, ORG 2, O 2", 4)
    assert places == "a/train.conll:63 b/dev.conll:63"


def test_print_labels_counts_one_of_a_thing_in_the_singular():
    file = InspectedFile("a", "0" * 64, ("Rome\tB-LOC",), (Sentence(("Rome",), ("B-LOC",), line=1),))
    assert "1 sentence, 1 word and 1 entity of 1 label in 1 file" in show(inspect_files([file]))


def test_both_forms_show_the_same_findings():
    text, page = " ".join(show(REPORT).split()), " ".join(" ".join(Page(PAGE).texts).split())
    for part in (
        "3 sentences of b/dev.conll (100.0 %) also stand in a/train.conll, 1 of them long",
        "1 sentence of a/train.conll has a single column and no tags: line 66.",
        "1 word of a/train.conll has a tag that is none",
        "breaks the scheme BIO",
    ):
        assert part in text
        assert part in page


def test_render_labels_is_balanced_and_inert():
    page = Page(PAGE)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    ids = {attrs["id"] for _, attrs in page.tags if attrs.get("id")}
    assert {attrs["href"].removeprefix("#") for attrs in page.find("a")} <= ids


def test_render_labels_is_the_same_from_json():
    assert render_labels(json.loads(dump_json(REPORT))) == PAGE


@pytest.mark.parametrize("text", HOSTILE)
def test_render_labels_escapes_words_labels_and_names(text):
    page = Page(render_labels(make_labels(text, text, name=text)))
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in Page(PAGE).tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert text in "".join(page.texts)


def test_print_labels_reads_no_markup_and_no_escapes_in_data():
    text = show(make_labels("[red]x[/red]", "a\x1b[31mb"))
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
