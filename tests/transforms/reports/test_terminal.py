"""Documents on a terminal, with and without colours."""

import io
import re

import pytest
from rich.console import Console

from tests.transforms.reports.conftest import make_sample, make_span
from transforms.reports import charts
from transforms.reports.excerpts import Sample
from transforms.reports.terminal import Tones, print_sample
from transforms.storage.annotations import EntityFilter

LOW = EntityFilter(below=0.6)


def show(sample, wanted=EntityFilter(), **options):  # noqa: B008 - frozen
    """What a document looks like: no terminal unless options of the console make it one."""
    console = Console(file=io.StringIO(), highlight=False, **{"width": 40, **options})
    print_sample(sample, console, wanted, Tones())
    return console.file.getvalue()


def show_in_colour(sample, wanted=EntityFilter(), **options):  # noqa: B008 - frozen
    return show(sample, wanted, force_terminal=True, color_system="truecolor", no_color=False, **options)


def strip_styles(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def background(color):
    return "48;2;" + ";".join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))


def body_of(shown):
    return shown.split("\n", 2)[2].rstrip("\n")


def make_scored(text, **scores):
    """A document with an entity of label PER for each word with a score."""
    entities = [make_span(text, word, "PER") | {"score": score} for word, score in scores.items()]
    return Sample("doc", "corpus/a.parquet", 3, text, entities)


def test_print_sample_writes_label_and_score_behind_each_entity():
    sample = make_sample("Ada Lovelace met Babbage.", ("Ada Lovelace", "PER"), ("Babbage", "ORG"))
    assert show(sample) == ("# doc\ncorpus/a.parquet, row 3\n[Ada Lovelace](PER 0.99) met [Babbage](ORG 0.99).\n\n")


def test_print_sample_marks_gold():
    gold = (("Ada", "PER"), ("in London", "LOC"), ("Turin", "LOC"))
    sample = make_sample("Ada in London, Turin", ("Ada", "PER"), ("London", "ORG"), gold=gold)
    assert body_of(show(sample)) == (
        "[Ada](PER 0.99) {in [London}(LOC missed)](ORG 0.99, not in gold), {Turin}(LOC missed)"
    )


def test_print_sample_marks_entities_under_their_threshold():
    sample = make_scored("Ada and Bob", Ada=0.9, Bob=0.3)
    sample.entities[1]["is_below"] = True
    assert body_of(show(sample)) == "[Ada](PER 0.90) and [Bob](PER 0.30, under its threshold)"


def test_print_sample_lets_low_scores_stand_out():
    sample = make_scored("Ada and Bob", Ada=0.9, Bob=0.3)
    assert body_of(show(sample, LOW)) == "[Ada](PER 0.90) and [Bob](PER 0.30, under 0.6)"
    assert show_in_colour(sample).count(background(charts.COLORS[0])) == 2
    coloured = show_in_colour(sample, LOW)
    assert coloured.count(background(charts.COLORS[0])) == 1
    assert re.search(rf"\x1b\[[\d;]*{background(charts.COLORS[0])}mBob\x1b", coloured)


def test_print_sample_lets_low_scores_of_the_wanted_labels_stand_out():
    sample = make_sample("Ada in London", ("Ada", "PER"), ("London", "LOC"))
    wanted = EntityFilter(labels=frozenset({"LOC"}), below=1)
    assert body_of(show(sample, wanted)) == "[Ada](PER 0.99) in [London](LOC 0.99, under 1)"


def test_print_sample_writes_entities_without_a_score():
    sample = make_scored("Ada", Ada=None)
    assert body_of(show(sample, LOW)) == "[Ada](PER)"


def test_print_sample_gives_labels_colours_of_their_own():
    sample = make_sample("Ada in London met Bob", ("Ada", "PER"), ("London", "LOC"), ("Bob", "PER"))
    coloured = show_in_colour(sample)
    assert coloured.count(background(charts.COLORS[0])) == 2
    assert coloured.count(background(charts.COLORS[1])) == 1
    assert " ".join(body_of(strip_styles(coloured)).split()) == "Ada PER 0.99 in London LOC 0.99 met Bob PER 0.99"


def test_print_sample_wraps_lines_for_people_and_not_for_pipes():
    sample = make_sample("word " * 100)
    assert max(map(len, show(sample).splitlines())) == 500
    assert max(map(len, strip_styles(show_in_colour(sample)).splitlines())) <= 40
    assert max(map(len, strip_styles(show_in_colour(sample, width=300)).splitlines())) <= 100


@pytest.mark.parametrize("options", [{"no_color": True}, {"color_system": None}])
def test_print_sample_does_without_colours_on_a_terminal_that_has_none(options):
    sample = make_sample("Ada", ("Ada", "PER"))
    shown = show(sample, **{"force_terminal": True, "color_system": "truecolor", **options})
    assert "[Ada](PER 0.99)" in strip_styles(shown)
    assert "48;2" not in shown


def test_print_sample_keeps_the_lines_of_a_text():
    assert body_of(show(make_sample("one\r\n\n  two\rthree"))) == "one\n\n  two\ufffdthree"


@pytest.mark.parametrize("show_", [show, show_in_colour])
def test_print_sample_makes_every_string_harmless(show_):
    bad = "\x1b[2J\x9b1m\x07\u202e[red]"
    sample = make_sample(f"{bad} Ada {bad}", (f"Ada {bad}", bad), gold=((bad, f"{bad}x"),), id=bad, source=bad)
    shown = strip_styles(show_(sample, width=200))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    clean = "\ufffd[2J\ufffd1m\ufffd\ufffd[red]"
    assert shown.count(clean) == 6


def test_print_sample_shows_what_is_known_of_a_document_without_text():
    entities = [
        {"start": 20, "end": 26, "label": "LOC", "score": 0.5, "text": "New\nYork"},
        {"start": 0, "end": 3, "label": "PER", "score": 0.25, "text": "Ada", "is_below": True},
    ]
    sample = Sample("doc", "a", 3, "", entities, problem="cannot find 'a' any more")
    assert body_of(show(sample, LOW)) == (
        "the text is not available: cannot find 'a' any more\n"
        "[Ada](PER 0.25, under its threshold, under 0.6) 0–3\n"
        "[New York](LOC 0.50, under 0.6) 20–26"
    )


def test_print_sample_shortens_around_what_is_looked_for():
    text = "Ada " + "word " * 2000 + "Bob" + " word" * 2000
    sample = make_scored(text, Ada=0.9, Bob=0.3)
    assert "[Ada]" in show(sample)
    assert "[Ada]" not in (shown := show(sample, LOW))
    assert "[Bob](PER 0.30, under 0.6)" in shown
    assert body_of(shown).startswith("[…]")
