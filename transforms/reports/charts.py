"""Charts of the reports as SVG that can stand inside an HTML page.

Matplotlib draws them through its object interface, which keeps no global state. What it writes is then made fit for
inlining: no prolog, no metadata, no namespaces, no style sheet, ids that are used and unique, and two colours that are
CSS variables, so that the page decides about light and dark. Equal counts give equal bytes.

    with chart_style():
        figure = new_figure(width, height)
        ...                                     what annotation_charts and evaluation_charts draw
        return to_svg(figure, name, title)
"""

import io
import itertools
import math
import re
import unicodedata
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = (
    "#4573d5",
    "#e0812c",
    "#3c9d5d",
    "#d5487b",
    "#8a5cd0",
    "#2a9aa8",
    "#c39a13",
    "#d1493f",
    "#6b7a90",
    "#7da02c",
    "#a0694b",
    "#5a55c9",
)
"""Colours of labels by rank; the thirteenth label has the colour of the first."""

MAX_BARS = 20
MAX_PANELS = 12
MAX_LABEL = 28

INK = "#1b2027"
MUTED = "#68707b"
LINE = "#d9dde2"

_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", LINE: "var(--line)"}
_CONTROLS = ("Cc", "Cs", "Zl", "Zp")
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spanmill",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.formatter.use_mathtext": False,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
}


def printable(text: str) -> str:
    r"""Any text in, one line without control characters out.

    They would break XML and terminals; those that turn the direction of writing would shuffle what stands beside them.

    >>> printable("a\x1b[31m b")
    'a�[31m b'
    """
    return "".join(
        "\ufffd" if char in _DIRECTIONS or unicodedata.category(char) in _CONTROLS else char for char in text
    )


def shorten(label: str, max_characters: int = MAX_LABEL) -> str:
    """A label in, what fits into a chart of it out."""
    label = printable(label)
    return label if len(label) <= max_characters else f"{label[: max_characters - 1]}…"


def chart_style() -> AbstractContextManager[None]:
    """The settings under which a chart is drawn and written; those of the process stay as they are."""
    import matplotlib as mpl

    return mpl.rc_context(_SETTINGS)


def new_figure(width: float, height: float) -> "Figure":
    """A figure of a size in inches, that lays itself out."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def new_panels(
    labels: Sequence[str], row_height: float, *, max_label: int = MAX_LABEL
) -> tuple["Figure", list["Axes"]]:
    """A figure with a small panel per label, three or four in a row, each with its label above it."""
    rows = max(1, math.ceil(len(labels) / 4))
    columns = max(3, math.ceil(len(labels) / rows))
    figure = new_figure(10.4, 0.3 + row_height * rows)
    figure.set_layout_engine("constrained", hspace=0.12, wspace=0.06)
    panels = [axes for line in figure.subplots(rows, columns, squeeze=False) for axes in line]
    for axes, label in zip(panels, labels, strict=False):
        axes.set_title(shorten(label, max_label), loc="left", fontsize=10, color=INK, parse_math=False)
    for axes in panels[len(labels) :]:
        axes.set_axis_off()
    return figure, panels[: len(labels)]


def set_unit_axis(axes: "Axes") -> None:
    """Lets the horizontal axis go from 0 to 1, with numbers that do not stick out."""
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for tick, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=True):
        tick.set(horizontalalignment=side)


def cycle_colors(count: int) -> list[str]:
    """As many colours as there are labels, by rank."""
    return list(itertools.islice(itertools.cycle(COLORS), count))


def strip_spines(axes: "Axes", *, keep: Sequence[str]) -> None:
    """Takes the frame away but for the sides to keep, and the tick marks, in place."""
    for name, spine in axes.spines.items():
        spine.set_visible(name in keep)
    axes.tick_params(length=0)


def to_svg(figure: "Figure", name: str, title: str) -> str:
    """A figure in, an SVG element out.

    Args:
      figure: what to write; inside `chart_style`.
      name: makes its ids unique in the page.
      title: what a screen reader says of it.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's own font lacks; text stays text.
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    root = ElementTree.fromstring(buffer.getvalue())
    view_box = root.attrib["viewBox"]
    _clean(root, name)
    root.attrib = {"viewBox": view_box, "role": "img", "aria-label": title, "class": f"chart-{name}"}
    return ElementTree.tostring(root, encoding="unicode")


def _clean(root: ElementTree.Element, name: str) -> None:
    """Takes out of an SVG what does not belong in an HTML page, in place."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    elements = list(root.iter())
    values = [value for element in elements for value in element.attrib.values()]
    used = {match for value in values for match in re.findall(r"(?:^|url\()#([\w.-]+)", value)}
    for element in elements:
        element.tag = _local(element.tag)
        attributes = {_local(key): value for key, value in element.attrib.items()}
        if attributes.get("id") not in used:
            attributes.pop("id", None)
        element.attrib = {key: _rewrite(key, value, name) for key, value in attributes.items()}


def _rewrite(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    value = re.sub(r"(^|url\()#(?=[\w.-]+(?:\)|$))", rf"\1#{name}-", value) if key in _REFERENCES else value
    for color, variable in _VARIABLES.items():
        value = value.replace(color, variable)
    return value


_REFERENCES = ("href", "clip-path", "fill", "mask", "filter")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
