"""Charts of a run: safe to inline, and the same bytes every time."""

from xml.etree import ElementTree

import pytest

from transforms.reports import annotation_charts as charts

HOSTILE = "<script>alert(1)</script>"


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("text")]


def _draw_all() -> list[str]:
    return [
        charts.draw_label_bars({"PER": 5, "LOC": 2}),
        charts.draw_score_panels({"PER": [0] * 19 + [5], "LOC": [1] * 20}),
        charts.draw_length_bars([0, 1, 4, 2] + [0] * 20),
        charts.draw_time_bar({"read": 0.25, "forward": 0.75}),
    ]


@pytest.mark.parametrize("svg", _draw_all(), ids=["labels", "scores", "lengths", "time"])
def test_charts_hold_nothing_from_outside(svg):
    assert svg.startswith("<svg ")
    for forbidden in ("<?xml", "<!DOCTYPE", "<!--", "<style", "<metadata", "xmlns", "http", "<script"):
        assert forbidden not in svg


def test_charts_are_the_same_bytes_every_time():
    assert _draw_all() == _draw_all()


def test_charts_share_no_ids():
    roots = [ElementTree.fromstring(svg) for svg in _draw_all()]
    ids = [element.attrib["id"] for root in roots for element in root.iter() if "id" in element.attrib]
    assert ids
    assert len(ids) == len(set(ids))


def test_charts_refer_to_ids_that_exist():
    for svg in _draw_all():
        elements = list(ElementTree.fromstring(svg).iter())
        ids = {element.attrib.get("id") for element in elements}
        clips = {element.attrib["clip-path"] for element in elements if "clip-path" in element.attrib}
        assert {clip.removeprefix("url(#").removesuffix(")") for clip in clips} <= ids


@pytest.mark.parametrize("label", [HOSTILE, "$x_1$", r"$\frac{1}{0}$", "$", "a & b", '"><img onerror=x>', "人名", "שם"])
def test_labels_are_shown_as_they_are(label):
    for svg in (charts.draw_label_bars({label: 3}), charts.draw_score_panels({label: [1] * 20})):
        assert label in _texts(svg)
        assert "<script" not in svg
        assert "<img" not in svg


def test_labels_lose_control_characters():
    assert "a\ufffdb\ufffd" in _texts(charts.draw_label_bars({"a\x00b\n": 3}))


def test_labels_are_shortened():
    assert "x" * 27 + "…" in _texts(charts.draw_label_bars({"x" * 500: 3}))


def test_stages_are_shown_as_they_are():
    assert any("$a$ <b>" in text for text in _texts(charts.draw_time_bar({"$a$ <b>": 1.0})))


def test_draw_label_bars_stops_at_the_most_bars():
    svg = charts.draw_label_bars({f"label-{k:02d}": 100 - k for k in range(60)})
    assert "label-19" in _texts(svg)
    assert "label-20" not in _texts(svg)


def test_draw_score_panels_stops_at_the_most_panels():
    svg = charts.draw_score_panels({f"label-{k:02d}": [1] * 20 for k in range(40)})
    assert "label-11" in _texts(svg)
    assert "label-12" not in _texts(svg)


def test_charts_of_nothing_are_drawn():
    assert charts.draw_label_bars({})
    assert charts.draw_label_bars({"PER": 0})
    assert charts.draw_score_panels({})
    assert charts.draw_length_bars([0] * 24)
    assert charts.draw_time_bar({})


def test_draw_length_bars_shows_only_filled_bins_and_gaps_between():
    texts = _texts(charts.draw_length_bars([0, 0, 7, 0, 9] + [0] * 19))
    assert [text for text in texts if "–" in text] == ["2–3", "4–7", "8–15"]


def test_name_length_bin_names_the_last_one_open():
    assert charts.name_length_bin(23, is_last=True) == "≥ 4M"


def test_charts_leave_matplotlib_as_it_was():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    _draw_all()
    assert dict(mpl.rcParams) == before
