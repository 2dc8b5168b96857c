"""Charts of the report as SVG that can stand inside an HTML page.

Matplotlib draws them through its object interface, which keeps no global state. What it writes is then made fit for
inlining: no prolog, no metadata, no namespaces, no style sheet, ids that are used and unique, and two colours that are
CSS variables, so that the page decides about light and dark. Equal counts give equal bytes.
"""

import io
import itertools
import math
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
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

_INK = "#1b2027"
_MUTED = "#68707b"
_LINE = "#d9dde2"
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _LINE: "var(--line)"}
_MAX_LABEL = 28
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spanmill",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.formatter.use_mathtext": False,
    "text.color": _INK,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _INK,
}


def printable(text: str) -> str:
    r"""Any text in, one line without control characters out; they would break XML and terminals.

    >>> printable("a\x1b[31m b")
    'a�[31m b'
    """
    return "".join("\ufffd" if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char for char in text)


def draw_label_bars(counts: Mapping[str, int]) -> str:
    """Entities by label, in the order to show them, in; one horizontal bar per label out.

    Only the first MAX_BARS labels are drawn.
    """
    shown = dict(itertools.islice(counts.items(), MAX_BARS))
    with _settings():
        figure = _new_figure(6.4, 0.5 + 0.34 * len(shown))
        axes = figure.add_subplot()
        bars = axes.barh(range(len(shown)), list(shown.values()), height=0.68, color=_cycle(len(shown)))
        axes.set_yticks(range(len(shown)), [_shorten(label) for label in shown], parse_math=False)
        axes.bar_label(bars, labels=[f"{count:,}" for count in shown.values()], padding=5, color=_MUTED)
        axes.set_xlim(0, 1.16 * max(shown.values(), default=1) or 1)
        axes.invert_yaxis()
        axes.set_xticks([])
        _strip(axes, keep=("left",))
        return _to_svg(figure, "labels", "Entities by label")


def draw_score_panels(histograms: Mapping[str, Sequence[int]]) -> str:
    """Score histograms by label, in the order to show them, in; a small panel per label out.

    Only the first MAX_PANELS labels are drawn, each on its own vertical scale: the panels show shapes.
    """
    shown = dict(itertools.islice(histograms.items(), MAX_PANELS))
    columns = min(4, max(1, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    with _settings():
        figure = _new_figure(10.4, 0.3 + 1.45 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        panels = [axes for line in grid for axes in line]
        for axes, (label, histogram), color in zip(panels, shown.items(), _cycle(len(shown)), strict=False):
            width = 1 / len(histogram)
            axes.bar([k * width for k in range(len(histogram))], histogram, 0.86 * width, align="edge", color=color)
            axes.set_title(_shorten(label), loc="left", fontsize=10, color=_INK, parse_math=False)
            axes.set_xlim(0, 1)
            axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            for tick, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=True):
                tick.set_horizontalalignment(side)
            axes.set_yticks([])
            _strip(axes, keep=("bottom",))
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        return _to_svg(figure, "scores", "Histogram of scores by label")


def draw_length_bars(lengths: Sequence[int]) -> str:
    """Documents by power of two of their tokens, as a tally counts them, in; vertical bars out."""
    filled = [k for k, count in enumerate(lengths) if count]
    bins = range(filled[0], filled[-1] + 1) if filled else range(1)
    heights = [lengths[k] for k in bins]
    with _settings():
        figure = _new_figure(10.4, 2.7)
        axes = figure.add_subplot()
        bars = axes.bar(range(len(bins)), heights, 0.8, color=COLORS[0])
        axes.bar_label(bars, [f"{count:,}" if count else "" for count in heights], padding=3, color=_MUTED, fontsize=9)
        names = [name_length_bin(k, is_last=k == len(lengths) - 1) for k in bins]
        axes.set_xticks(range(len(bins)), names, fontsize=8 if len(bins) > 11 else 10)
        axes.tick_params(labelcolor=_INK)
        axes.set_xlim(-0.6, max(len(bins), 6) - 0.4)
        axes.set_ylim(0, 1.12 * max(heights) or 1)
        axes.set_xlabel("tokens in the document")
        axes.set_yticks([])
        _strip(axes, keep=("bottom",))
        return _to_svg(figure, "lengths", "Histogram of document lengths in tokens")


def draw_time_bar(shares: Mapping[str, float]) -> str:
    """Share of time by stage in, one stacked bar out; shares of 9 % or more are written on it."""
    with _settings():
        figure = _new_figure(10.4, 0.62)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        left = 0.0
        for (stage, share), color in zip(shares.items(), _cycle(len(shares)), strict=True):
            axes.barh([0], [share], left=left, height=1, color=color)
            if share >= 0.09:
                text = f"{_shorten(stage)} {share:.1%}"
                axes.text(left + share / 2, 0, text, ha="center", va="center", color="white", parse_math=False)
            left += share
        axes.set_xlim(0, left or 1)
        axes.set_ylim(-0.5, 0.5)
        axes.set_axis_off()
        return _to_svg(figure, "time", "Share of time by stage")


def name_length_bin(index: int, *, is_last: bool = False) -> str:
    """The number of a length bin in, the range of tokens that it counts out.

    >>> [name_length_bin(index) for index in (0, 1, 3, 12)], name_length_bin(12, is_last=True)
    (['0', '1', '4–7', '2k–4k'], '≥ 2k')
    """
    if index < 2:
        return str(index)
    low, high = 2 ** (index - 1), 2**index - 1
    if is_last:
        return f"≥ {_short_power(low)}"
    return f"{low}–{high}" if high < 1024 else f"{_short_power(low)}–{_short_power(high + 1)}"


def _short_power(tokens: int) -> str:
    if tokens < 1024:
        return str(tokens)
    return f"{tokens >> 10}k" if tokens < 1 << 20 else f"{tokens >> 20}M"


def _settings() -> AbstractContextManager[None]:
    import matplotlib as mpl

    return mpl.rc_context(_SETTINGS)


def _new_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _cycle(count: int) -> list[str]:
    return list(itertools.islice(itertools.cycle(COLORS), count))


def _shorten(label: str) -> str:
    label = printable(label)
    return label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 1]}…"


def _strip(axes: "Axes", *, keep: Sequence[str]) -> None:
    for name, spine in axes.spines.items():
        spine.set_visible(name in keep)
    axes.tick_params(length=0)


def _to_svg(figure: "Figure", name: str, title: str) -> str:
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
