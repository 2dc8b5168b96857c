"""Charts of an evaluation: scores with their intervals, and how far scores of entities can be trusted."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transforms.reports.charts import (
    LINE,
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
from transforms.reports.figures import format_score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURES = {"precision": "Precision", "recall": "Recall", "f1": "F1"}
_TICK_STEPS = (0.05, 0.1, 0.2)
_PANEL_LABEL = 16


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A score from 0 to 1 and the interval that it lies in; `low` and `high` are `value` where there is none."""

    value: float
    low: float
    high: float


def draw_estimates(scores: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Estimates by label and measure, in the order to show them, in; a dot with whiskers for each out.

    Precision, recall and F1 stand side by side on one scale. Only the first MAX_BARS labels are drawn.
    """
    shown = dict(itertools.islice(scores.items(), MAX_BARS))
    with chart_style():
        figure = new_figure(10.4, 0.75 + 0.3 * len(shown))
        figure.set_layout_engine("constrained", wspace=0.06)
        low = min((each.low for row in shown.values() for each in row.values()), default=0.0)
        for axes, measure in zip(figure.subplots(1, 3, sharey=True), _MEASURES, strict=True):
            _draw_measure(axes, [row[measure] for row in shown.values()])
            _zoom(axes, low)
            axes.set_title(_MEASURES[measure], loc="left", fontsize=10, color=MUTED)
            axes.set_yticks(range(len(shown)), [shorten(label) for label in shown], parse_math=False)
            axes.set_ylim(len(shown) - 0.4, -0.6)
            strip_spines(axes, keep=())
        return to_svg(figure, "estimates", "Precision, recall and F1 by label, with intervals")


def draw_reliability_panels(labels: Mapping[str, Mapping[str, Any]]) -> str:
    """Calibration by label, in the order to show them, in; a reliability diagram per label out.

    A dot per bin: its mean score from left to right, the share that is right upwards, its area by its entities.
    Scores that can be trusted lie on the diagonal (DeGroot and Fienberg, 1983). Only MAX_PANELS labels are drawn.
    """
    shown = dict(itertools.islice(labels.items(), MAX_PANELS))
    with chart_style():
        figure, panels = new_panels(list(shown), 2.3, max_label=_PANEL_LABEL)
        for axes, calibration, color in zip(panels, shown.values(), cycle_colors(len(shown)), strict=True):
            bins = calibration["bins"]
            most = max((each["entities"] for each in bins), default=1)
            shares = [each["correct"] / each["entities"] for each in bins]
            means = [each["mean_score"] for each in bins]
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
            axes.plot(means, shares, color=color, linewidth=1, alpha=0.5)
            areas = [8 + 90 * each["entities"] / most for each in bins]
            axes.scatter(means, shares, areas, color=color, alpha=0.85, linewidths=0, clip_on=False, zorder=3)
            axes.set_title(f"ECE {format_score(calibration['ece'])}", loc="right", fontsize=9, color=MUTED)
            _frame(axes)
        return to_svg(figure, "reliability", "Reliability diagrams: share of right entities by score, for each label")


def draw_curve_panels(
    curves: Mapping[str, Sequence[Sequence[float]]], thresholds: Mapping[str, float | None], wanted: float | None
) -> str:
    """Precision and recall at every threshold, by label in the order to show them, in; a curve per label out.

    Args:
      curves: (threshold, precision, recall) points of each label.
      thresholds: the chosen threshold of each label, marked on its curve; None where there is none.
      wanted: the precision that thresholds were chosen for, drawn as a line.
    """
    shown = dict(itertools.islice(curves.items(), MAX_PANELS))
    with chart_style():
        figure, panels = new_panels(list(shown), 2.3, max_label=_PANEL_LABEL)
        for axes, (label, curve), color in zip(panels, shown.items(), cycle_colors(len(shown)), strict=True):
            points = sorted(tuple(point) for point in curve)
            if wanted is not None:
                axes.axhline(wanted, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)))
            axes.plot([point[2] for point in points], [point[1] for point in points], color=color, linewidth=1.8)
            threshold = thresholds.get(label)
            chosen = next((point for point in points if threshold is not None and point[0] >= threshold), None)
            if chosen:
                axes.plot([chosen[2]], [chosen[1]], "o", color=color, markersize=8, clip_on=False)
                axes.set_title(f"threshold {threshold:.3f}", loc="right", fontsize=9, color=MUTED)
            _frame(axes)
        return to_svg(figure, "curves", "Precision against recall for each label")


def _draw_measure(axes: "Axes", estimates: Sequence[Estimate]) -> None:
    for at, (each, color) in enumerate(zip(estimates, cycle_colors(len(estimates)), strict=True)):
        axes.axhline(at, color=LINE, linewidth=0.6, zorder=0)
        axes.plot([each.low, each.high], [at, at], color=color, linewidth=2.2, alpha=0.55, solid_capstyle="butt")
        axes.plot([each.value], [at], "o", color=color, markersize=6.5, clip_on=False)


def _zoom(axes: "Axes", low: float) -> None:
    """Cuts off what lies left of all dots; they are points, not bars, so that the scale need not begin at zero."""
    step = next((step for step in _TICK_STEPS if 1 - low <= 5 * step), 0.2)
    first = max(0, math.floor(low / step + 1e-9))
    ticks = [k * step for k in range(first, round(1 / step) + 1)]
    axes.set_xlim(min(ticks[0], 1 - 2 * step), 1)
    axes.set_xticks(ticks, [f"{100 * tick:.0f}" for tick in ticks])
    axes.grid(visible=True, axis="x", color=LINE, linewidth=0.6)


def _frame(axes: "Axes") -> None:
    set_unit_axis(axes)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(axis="y", labelcolor=MUTED)
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=LINE, linewidth=0.6)
    strip_spines(axes, keep=("left", "bottom"))
