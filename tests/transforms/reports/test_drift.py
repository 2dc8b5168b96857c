"""Drift in words, on the terminal and as a page."""

import copy
import io

import pytest
from rich.console import Console

from schemas.receipts import Tally
from tests.transforms.reports.conftest import HOSTILE, Page
from tests.transforms.reports.drifts import describe_drift, make_drift
from tests.transforms.scoring.slices import Trait, make_slices
from transforms.reports.drift import (
    describe_certainty,
    describe_forms,
    describe_verdict,
    find_notices,
    print_drift,
    rank_labels,
    render_drift,
    tabulate,
)


@pytest.fixture(scope="module")
def drifted():
    return make_drift()


@pytest.fixture(scope="module")
def stable():
    return describe_drift(make_slices(Trait(), 12, seed=0), make_slices(Trait(), 12, seed=1))


def _print(report, width=160):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_drift(report, console)
    return console.file.getvalue()


def test_verdict_names_what_drifted_most_first(drifted, stable):
    assert describe_verdict(drifted).startswith("Drifted from A to B: ")
    changes = {
        row.title: measure["change"] / measure["thresholds"]["drifted"]
        for row, measure in zip(tabulate(drifted), drifted["measures"], strict=True)
        if measure["verdict"] == "drifted"
    }
    first = max(changes, key=changes.get)
    assert describe_verdict(drifted).startswith(f"Drifted from A to B: {first}")
    assert describe_verdict(stable).startswith(
        "Stable: none of 9 measures moved from A to B by as much as its threshold"
    )


def test_verdict_of_nothing_says_so():
    report = describe_drift({"1": Tally()}, {"1": Tally()})
    assert describe_verdict(report).startswith("Nothing can be told")
    assert describe_certainty(report).startswith("No intervals: 1 slices of A and 1 of B are too few, 10 are needed")
    assert "verdict" in _print(report)
    assert "No entity was found." in render_drift(report)


def test_numbers_stand_in_their_units(drifted):
    rows = {row.title: row for row in tabulate(drifted)}
    rate = next(measure for measure in drifted["measures"] if measure["name"] == "entity_rate")
    row = rows["entities per 1,000 tokens"]
    assert (row.a, row.b) == (f"{rate['a']:.1f}", f"{rate['b']:.1f}")
    assert row.change == f"× {rate['statistics']['ratio']['value']:.2f}"
    assert row.thresholds == "× 1.1 / × 1.25"
    assert rows["share of dead letters"].change.startswith("+")
    assert rows["share of dead letters"].thresholds == "1 / 5"
    assert rows["shares of labels"].thresholds == "0.1 / 0.25"
    assert rows["share of unknown pieces"].change == "–"
    assert rows["share of unknown pieces"].about == "not recorded; other model"


def test_meters_stay_on_their_line(drifted, stable):
    for report in (drifted, stable):
        meters = [row.meter for row in tabulate(report) if row.meter]
        assert len(meters) >= 7
        for meter in meters:
            assert all(0 <= place <= 1 for place in meter.values())
            assert meter["low"] <= meter["high"]
            assert meter["moderate"] < meter["drifted"] == 0.5


def test_the_meter_of_a_falling_rate_holds_its_change():
    falling = describe_drift(make_slices(Trait(), 12, seed=0), make_slices(Trait(rate=0.055), 12, seed=1))
    row = tabulate(falling)[0]
    assert row.change.startswith("× 0.")
    assert row.meter["low"] < row.meter["change"] < row.meter["high"]


def test_notices_tell_of_models_files_and_what_was_not_recorded(drifted, stable):
    text = " ".join(find_notices(drifted))
    assert "The runs have different models" in text
    assert "2 input files are in both runs" in text
    assert "Share of unknown pieces: not recorded by 1 slices of B" in text
    assert list(find_notices(stable)) == []
    assert "differ in thresholds" in " ".join(find_notices({**stable, "measures": [{"caveat": "other settings"}]}))


def test_terminal_shows_a_row_per_measure_and_colours_nothing_in_data(drifted):
    printed = _print(drifted)
    for row in tabulate(drifted):
        assert row.title in printed
    assert printed.startswith("Drifted from A to B: ")
    assert "before you trust these figures" in printed
    hostile = make_drift("[red]\x1b[31m")
    assert "[red]" in _print(hostile)
    assert "\x1b" not in _print(hostile)


def test_forms_are_told_with_their_error():
    forms = {"sampled": 4096, "a": 1000, "b": 2000, "relative_error_a": 0.02, "relative_error_b": 0.01}
    told = describe_forms({**forms, "new": 0.5, "error_of_new": 0.01})
    assert told == "Distinct surface forms: about 1,000 in A, about 2,000 in B, of which A has not 50.0 % (± 2.0)."
    exact = {**forms, "relative_error_a": 0.0, "relative_error_b": None, "b": 0, "new": None, "error_of_new": None}
    assert describe_forms(exact) == "Distinct surface forms: 1,000 in A, 0 in B."


def test_page_shows_every_measure_and_picture(drifted):
    text = "".join(Page(render_drift(drifted)).texts)
    for row in tabulate(drifted):
        assert row.title in text
    assert describe_verdict(drifted) in text
    for chart in ("chart-shares", "chart-scores", "chart-lengths"):
        assert chart in render_drift(drifted)
    assert [label for label in rank_labels(drifted) if label in text] == rank_labels(drifted)


def test_equal_reports_give_equal_pages(drifted):
    assert render_drift(drifted) == render_drift(copy.deepcopy(drifted))


@pytest.mark.parametrize("label", HOSTILE)
def test_page_is_inert_whatever_comes_from_data(label):
    page = Page(render_drift(make_drift(label)))
    assert page.comments == []
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in Page(render_drift(make_drift("PEZ"))).tags}
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert label in "".join(page.texts)
