"""Charts of a run: entities and scores by label, lengths of documents, where the time went."""

import itertools
from collections.abc import Mapping, Sequence

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


def draw_label_bars(counts: Mapping[str, int]) -> str:
    """Entities by label, in the order to show them, in; one horizontal bar per label out.

    Only the first MAX_BARS labels are drawn.
    """
    shown = dict(itertools.islice(counts.items(), MAX_BARS))
    with chart_style():
        figure = new_figure(6.4, 0.5 + 0.34 * len(shown))
        axes = figure.add_subplot()
        bars = axes.barh(range(len(shown)), list(shown.values()), height=0.68, color=cycle_colors(len(shown)))
        axes.set_yticks(range(len(shown)), [shorten(label) for label in shown], parse_math=False)
        axes.bar_label(bars, labels=[f"{count:,}" for count in shown.values()], padding=5, color=MUTED)
        axes.set_xlim(0, 1.16 * max(shown.values(), default=1) or 1)
        axes.invert_yaxis()
        axes.set_xticks([])
        strip_spines(axes, keep=("left",))
        return to_svg(figure, "labels", "Entities by label")


def draw_score_panels(histograms: Mapping[str, Sequence[int]]) -> str:
    """Score histograms by label, in the order to show them, in; a small panel per label out.

    Only the first MAX_PANELS labels are drawn, each on its own vertical scale: the panels show shapes.
    """
    shown = dict(itertools.islice(histograms.items(), MAX_PANELS))
    with chart_style():
        figure, panels = new_panels(list(shown), 1.45)
        for axes, histogram, color in zip(panels, shown.values(), cycle_colors(len(shown)), strict=True):
            width = 1 / len(histogram)
            axes.bar([k * width for k in range(len(histogram))], histogram, 0.86 * width, align="edge", color=color)
            set_unit_axis(axes)
            axes.set_yticks([])
            strip_spines(axes, keep=("bottom",))
        return to_svg(figure, "scores", "Histogram of scores by label")


def draw_length_bars(lengths: Sequence[int]) -> str:
    """Documents by power of two of their tokens, as a tally counts them, in; vertical bars out."""
    filled = [k for k, count in enumerate(lengths) if count]
    bins = range(filled[0], filled[-1] + 1) if filled else range(1)
    heights = [lengths[k] for k in bins]
    with chart_style():
        figure = new_figure(10.4, 2.7)
        axes = figure.add_subplot()
        bars = axes.bar(range(len(bins)), heights, 0.8, color=COLORS[0])
        axes.bar_label(bars, [f"{count:,}" if count else "" for count in heights], padding=3, color=MUTED, fontsize=9)
        names = [name_length_bin(k, is_last=k == len(lengths) - 1) for k in bins]
        axes.set_xticks(range(len(bins)), names, fontsize=8 if len(bins) > 11 else 10)
        axes.tick_params(labelcolor=INK)
        axes.set_xlim(-0.6, max(len(bins), 6) - 0.4)
        axes.set_ylim(0, 1.12 * max(heights) or 1)
        axes.set_xlabel("tokens in the document")
        axes.set_yticks([])
        strip_spines(axes, keep=("bottom",))
        return to_svg(figure, "lengths", "Histogram of document lengths in tokens")


def draw_time_bar(shares: Mapping[str, float]) -> str:
    """Share of time by stage in, one stacked bar out; shares of 9 % or more are written on it."""
    with chart_style():
        figure = new_figure(10.4, 0.62)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        left = 0.0
        for (stage, share), color in zip(shares.items(), cycle_colors(len(shares)), strict=True):
            axes.barh([0], [share], left=left, height=1, color=color)
            if share >= 0.09:
                text = f"{shorten(stage)} {share:.1%}"
                axes.text(left + share / 2, 0, text, ha="center", va="center", color="white", parse_math=False)
            left += share
        axes.set_xlim(0, left or 1)
        axes.set_ylim(-0.5, 0.5)
        axes.set_axis_off()
        return to_svg(figure, "time", "Share of time by stage")


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
