"""What all charts are made with: names that can be shown, settings that stay, SVG that can stand in a page."""

from xml.etree import ElementTree

import pytest

from transforms.reports.charts import chart_style, cycle_colors, new_figure, new_panels, printable, shorten, to_svg


def test_printable_leaves_no_control_characters():
    text = printable("a\x00b\x1b[2Jc\r\nd\x85e\u2028f\ud800g")
    assert text == "a\ufffdb\ufffd[2Jc\ufffd\ufffdd\ufffde\ufffdf\ufffdg"
    text.encode()


@pytest.mark.parametrize("code", [*range(0x202A, 0x202F), *range(0x2066, 0x206A)], ids=hex)
def test_printable_leaves_nothing_that_turns_the_direction(code):
    assert printable(f"safe{chr(code)}exe.txt") == "safe\ufffdexe.txt"


@pytest.mark.parametrize("text", ["人名", "שם", "नाम", "👩‍🚀", "naïve", "a\u200eb"])
def test_printable_leaves_every_script_as_it_is(text):
    assert printable(text) == text


def test_shorten_keeps_what_fits():
    assert shorten("x" * 28) == "x" * 28
    assert shorten("x" * 29) == "x" * 27 + "…"
    assert shorten("abcdef", 4) == "abc…"


def test_cycle_colors_begins_again():
    assert cycle_colors(13)[12] == cycle_colors(1)[0]


@pytest.mark.parametrize(("count", "columns"), [(1, 3), (3, 3), (4, 4), (5, 3), (7, 4), (9, 3), (12, 4)])
def test_new_panels_fills_its_rows(count, columns):
    with chart_style():
        _, panels = new_panels([f"label-{k}" for k in range(count)], 1.0)
    assert len(panels) == count
    assert panels[0].get_gridspec().ncols == columns
    assert [axes.get_title(loc="left") for axes in panels] == [f"label-{k}" for k in range(count)]


def test_to_svg_says_what_it_shows():
    with chart_style():
        figure = new_figure(1, 1)
        figure.add_subplot().plot([0, 1])
        root = ElementTree.fromstring(to_svg(figure, "name", "A <title>"))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "A <title>"
    assert root.attrib["class"] == "chart-name"
