"""Charts of a training: how it went from epoch to epoch, and what it changed."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from transforms.reports.charts import (
    INK,
    LINE,
    MAX_BARS,
    MUTED,
    chart_style,
    cycle_colors,
    new_figure,
    shorten,
    strip_spines,
    to_svg,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = list[tuple[float, float]]

_TITLES = {"loss": "Loss", "f1": "Entity F1", "learning_rate": "Learning rate"}
_GRAY = "#8d96a3"


def draw_curves(history: Sequence[Mapping[str, Any]], best_step: int) -> str:
    """A row per epoch in, its loss, F1 by file and learning rate side by side out; an empty string of none.

    Args:
      history: rows with `step`, and of `epoch`, `loss`, `f1`, `f1_by_file` and `learning_rate` what is known.
      best_step: the step whose weights were kept; marked.
    """
    curves = {
        "loss": {"": read_points(history, "loss")},
        "f1": read_file_points(history),
        "learning_rate": {"": read_points(history, "learning_rate")},
    }
    shown = {name: lines for name, lines in curves.items() if any(lines.values())}
    if not shown:
        return ""
    best = next((_epoch(row, at) for at, row in enumerate(history, 1) if row.get("step") == best_step), None)
    with chart_style():
        figure = new_figure(10.4, 2.75)
        figure.set_layout_engine("constrained", wspace=0.09)
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, (name, lines) in zip(panels, shown.items(), strict=True):
            if best is not None:
                axes.axvline(best, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
            for points, color in zip(lines.values(), cycle_colors(len(lines)), strict=True):
                axes.plot(*zip(*points, strict=True), "o-", color=color, linewidth=1.8, markersize=4.5, clip_on=False)
            axes.set_title(_TITLES[name], loc="left", fontsize=10, color=INK)
            _frame(axes, [x for points in lines.values() for x, _ in points], _TICKS.get(name))
        return to_svg(figure, "curves", "Loss, F1 and learning rate by epoch")


def draw_gains(files: Sequence[Mapping[str, Any]]) -> str:
    """Files with their F1 before and after in, two dots with whiskers for each out; only the first MAX_BARS are drawn.

    Args:
      files: `name`, and `before` and `after` with `f1` and `interval` (or None) under `micro`.
    """
    shown = list(itertools.islice(files, MAX_BARS))
    with chart_style():
        figure = new_figure(10.4, 0.62 + 0.42 * len(shown))
        axes = figure.subplots()
        for at, (file, color) in enumerate(zip(shown, cycle_colors(len(shown)), strict=True)):
            axes.axhline(at, color=LINE, linewidth=0.6, zorder=0)
            _draw_estimate(axes, at, file["before"]["micro"], _GRAY)
            _draw_estimate(axes, at, file["after"]["micro"], color)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1], ["0", "20", "40", "60", "80", "100"])
        axes.set_yticks(range(len(shown)), [shorten(file["name"]) for file in shown], parse_math=False)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.tick_params(axis="x", labelcolor=MUTED)
        axes.grid(visible=True, axis="x", color=LINE, linewidth=0.6)
        strip_spines(axes, keep=())
        return to_svg(figure, "gains", "Entity F1 of each file before and after training")


def read_points(history: Sequence[Mapping[str, Any]], name: str) -> Points:
    """(epoch, value) of the rows that have a value."""
    return [(_epoch(row, at), float(row[name])) for at, row in enumerate(history, 1) if row.get(name) is not None]


def read_file_points(history: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    """Points of F1 by file, in order of first appearance; under an empty name the mean where files are not known."""
    lines: dict[str, Points] = {}
    for at, row in enumerate(history, 1):
        for name, f1 in (row.get("f1_by_file") or {}).items():
            lines.setdefault(name, []).append((_epoch(row, at), float(f1)))
    return lines or {"": read_points(history, "f1")}


def _epoch(row: Mapping[str, Any], at: int) -> float:
    """Where a row lies: its epoch, else its number."""
    return float(row.get("epoch") or at)


def _draw_estimate(axes: "Axes", at: int, score: Mapping[str, Any], color: str) -> None:
    low, high = score["interval"] or (score["f1"], score["f1"])
    axes.plot([low, high], [at, at], color=color, linewidth=2.4, alpha=0.55, solid_capstyle="butt")
    axes.plot([score["f1"]], [at], "o", color=color, markersize=6.5, clip_on=False)


def _frame(axes: "Axes", epochs: Sequence[float], ticks: "Callable[[Axes], None] | None") -> None:
    from matplotlib.ticker import MaxNLocator

    if ticks:
        ticks(axes)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    low, high = min(epochs), max(epochs)
    room = 0.04 * (high - low) or 0.5
    axes.set_xlim(low - room, high + room)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch", fontsize=9)
    axes.tick_params(axis="both", labelcolor=MUTED, labelsize=9)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis="y", color=LINE, linewidth=0.6)
    strip_spines(axes, keep=("bottom",))


def _tick_percent(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low - 0.01), min(1.0, high + 0.01))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))


def _tick_rate(axes: "Axes") -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


_TICKS: dict[str, "Callable[[Axes], None]"] = {"f1": _tick_percent, "learning_rate": _tick_rate}
