"""Charts of drift: what the earlier run had, in grey, and what the later one has, in colour, as shares."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transforms.reports.annotation_charts import name_length_bin
from transforms.reports.charts import (
    COLORS,
    INK,
    MAX_BARS,
    MAX_PANELS,
    MUTED,
    chart_style,
    cycle_colors,
    new_figure,
    new_panels,
    set_unit_axis,
    shorten,
    strip_spines,
    to_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EARLIER = "#8d96a3"
"""The colour of the earlier run."""

Pair = tuple[Sequence[float], Sequence[float]]


def draw_label_shares(shares: Mapping[str, tuple[float, float]]) -> str:
    """Shares in both runs by label, in the order to show them, in; two bars per label out.

    Only the first MAX_BARS labels are drawn.
    """
    shown = dict(itertools.islice(shares.items(), MAX_BARS))
    with chart_style():
        figure = new_figure(6.4, 0.5 + 0.46 * len(shown))
        axes = figure.add_subplot()
        colors = cycle_colors(len(shown))
        for side, shift in enumerate((-0.19, 0.19)):
            values = [pair[side] for pair in shown.values()]
            at = [row + shift for row in range(len(shown))]
            bars = axes.barh(at, values, height=0.34, color=colors if side else EARLIER)
            axes.bar_label(bars, [f"{value:.1%}" for value in values], padding=5, color=MUTED, fontsize=9)
        axes.set_yticks(range(len(shown)), [shorten(label) for label in shown], parse_math=False)
        axes.set_xlim(0, 1.2 * max((max(pair) for pair in shown.values()), default=1) or 1)
        axes.invert_yaxis()
        axes.set_xticks([])
        strip_spines(axes, keep=("left",))
        return to_svg(figure, "shares", "Share of entities by label in both runs")


def draw_score_panels(histograms: Mapping[str, Pair]) -> str:
    """Shares of scores by bin in both runs, by label in the order to show them, in; a small panel per label out.

    Only the first MAX_PANELS labels are drawn, each on its own vertical scale: the panels show shapes.
    """
    shown = dict(itertools.islice(histograms.items(), MAX_PANELS))
    with chart_style():
        figure, panels = new_panels(list(shown), 1.45)
        for axes, pair, color in zip(panels, shown.values(), cycle_colors(len(shown)), strict=True):
            n_bins = len(pair[0])
            _overlay(axes, pair, [k / n_bins for k in range(n_bins + 1)], color)
            set_unit_axis(axes)
        return to_svg(figure, "scores", "Histograms of scores by label in both runs")


def draw_lengths(lengths: Pair) -> str:
    """Shares of documents by power of two of their tokens, as a tally counts them, in both runs in; one chart out."""
    filled = [k for k, counts in enumerate(zip(*lengths, strict=True)) if any(counts)] or [0]
    bins = range(filled[0], filled[-1] + 1)
    shown = tuple([part[k] for k in bins] for part in lengths)
    with chart_style():
        figure = new_figure(10.4, 2.7)
        axes = figure.add_subplot()
        _overlay(axes, (shown[0], shown[1]), [k - 0.5 for k in range(len(bins) + 1)], COLORS[0])
        names = [name_length_bin(k, is_last=k == len(lengths[0]) - 1) for k in bins]
        axes.set_xticks(range(len(bins)), names, fontsize=8 if len(bins) > 11 else 10)
        axes.tick_params(labelcolor=INK)
        axes.set_xlim(-0.6, max(len(bins), 6) - 0.4)
        axes.set_xlabel("tokens in the document")
        return to_svg(figure, "lengths", "Histograms of document lengths in tokens in both runs")


def _overlay(axes: "Axes", pair: Pair, edges: Sequence[float], color: str) -> None:
    axes.stairs(pair[0], edges, fill=True, color=EARLIER, alpha=0.5)
    axes.stairs(pair[1], edges, color=color, linewidth=1.9)
    axes.set_ylim(0, 1.12 * max(map(max, pair)) or 1)
    axes.set_yticks([])
    strip_spines(axes, keep=("bottom",))
