"""Charts of an evaluation: safe to inline, the same bytes every time, and true to their numbers."""

import re
from xml.etree import ElementTree

import pytest

from tests.transforms.reports.conftest import HOSTILE
from transforms.reports import evaluation_charts as charts
from transforms.reports.evaluation_charts import Estimate

BINS = [
    {"low": 0.4, "high": 0.5, "entities": 10, "correct": 2, "mean_score": 0.45},
    {"low": 0.9, "high": 1.0, "entities": 90, "correct": 88, "mean_score": 0.97},
]
CURVE = [[0.45, 0.9, 0.95], [0.9, 0.98, 0.9]]


def _calibration(**changes):
    return {"ece": 0.0489, "entities": 100, "correct": 90, "bins": BINS, "curve": CURVE} | changes


def _estimates(value=0.8, low=0.7, high=0.9):
    return dict.fromkeys(("precision", "recall", "f1"), Estimate(value, low, high))


def _draw_all(label="PER"):
    return {
        "estimates": charts.draw_estimates({label: _estimates(), "LOC": _estimates(0.5, 0.5, 0.5)}),
        "reliability": charts.draw_reliability_panels({label: _calibration(), "LOC": _calibration(bins=[])}),
        "curves": charts.draw_curve_panels({label: CURVE, "LOC": CURVE}, {label: 0.9, "LOC": None}, 0.95),
    }


def _texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def _count_dots(svg):
    return len(list(ElementTree.fromstring(svg).iter("use")))


@pytest.mark.parametrize("name", ["estimates", "reliability", "curves"])
def test_charts_hold_nothing_from_outside(name):
    svg = _draw_all()[name]
    assert svg.startswith("<svg ")
    for forbidden in ("<?xml", "<!DOCTYPE", "<!--", "<style", "<metadata", "xmlns", "http", "<script"):
        assert forbidden not in svg


def test_charts_are_the_same_bytes_every_time():
    assert _draw_all() == _draw_all()


def test_charts_share_no_ids_and_refer_to_their_own():
    seen: set[str] = set()
    for svg in _draw_all().values():
        elements = list(ElementTree.fromstring(svg).iter())
        ids = {element.attrib["id"] for element in elements if "id" in element.attrib}
        used = {value for element in elements for value in element.attrib.values()}
        assert {found for value in used for found in re.findall(r"#([\w.]+-[\w.-]+)", value)} <= ids
        assert not ids & seen
        seen |= ids


@pytest.mark.parametrize("label", [*HOSTILE, "$", r"$\frac{1}{0}$", "a\x00b", "人名"])
def test_labels_are_text_and_nothing_else(label):
    for svg in _draw_all(label).values():
        wanted = label.replace("\x00", "\ufffd")
        assert any(text and (wanted.startswith(text.rstrip("…")) or text == wanted) for text in _texts(svg))
        assert "<script" not in svg
        assert "<img" not in svg


def test_draw_estimates_zooms_in_on_the_lowest_interval():
    high = _texts(charts.draw_estimates({"PER": _estimates(0.93, 0.91, 0.95)}))
    low = _texts(charts.draw_estimates({"PER": _estimates(0.93, 0.91, 0.95), "LOC": _estimates(0.0, 0.0, 0.1)}))
    assert "90" in high
    assert "0" not in high
    assert "0" in low


def test_draw_estimates_shows_scores_that_are_perfect():
    texts = _texts(charts.draw_estimates({"PER": _estimates(1.0, 1.0, 1.0)}))
    assert texts.count("100") == 3


def test_draw_estimates_draws_a_dot_per_score():
    assert _count_dots(charts.draw_estimates({"PER": _estimates(), "LOC": _estimates()})) == 6


def test_draw_estimates_stops_at_the_most_bars():
    texts = _texts(charts.draw_estimates({f"label-{k:02d}": _estimates() for k in range(60)}))
    assert "label-19" in texts
    assert "label-20" not in texts


def test_draw_reliability_panels_tells_the_error_of_each_label():
    texts = _texts(charts.draw_reliability_panels({"PER": _calibration(), "LOC": _calibration(ece=0.2)}))
    assert "ECE 4.9" in texts
    assert "ECE 20.0" in texts


@pytest.mark.parametrize("count", [0, 1, 2])
def test_draw_reliability_panels_draws_a_dot_per_bin(count):
    svg = charts.draw_reliability_panels({"PER": _calibration(bins=BINS[:count])})
    assert svg.count("fill-opacity: 0.85") == count


def test_draw_curve_panels_marks_the_chosen_threshold():
    texts = _texts(charts.draw_curve_panels({"PER": CURVE}, {"PER": 0.5}, 0.9))
    assert "threshold 0.500" in texts


@pytest.mark.parametrize("thresholds", [{}, {"PER": None}, {"PER": 0.99}])
def test_draw_curve_panels_marks_nothing_where_no_threshold_lies_on_the_curve(thresholds):
    assert not [text for text in _texts(charts.draw_curve_panels({"PER": CURVE}, thresholds, None)) if "thr" in text]


def test_panels_stop_at_the_most():
    many = {f"label-{k:02d}": _calibration() for k in range(40)}
    curves = charts.draw_curve_panels(dict.fromkeys(many, CURVE), {}, None)
    for svg in (charts.draw_reliability_panels(many), curves):
        assert "label-11" in _texts(svg)
        assert "label-12" not in _texts(svg)


def test_charts_of_nothing_are_drawn():
    assert charts.draw_estimates({})
    assert charts.draw_reliability_panels({})
    assert charts.draw_curve_panels({}, {}, None)


def test_charts_leave_matplotlib_as_it_was():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    _draw_all()
    assert dict(mpl.rcParams) == before
