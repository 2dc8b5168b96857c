"""Charts of sequences of tasks."""

from collections.abc import Mapping, Sequence

from training.continual.sequences import Matrix
from transforms.reports.charts import (
    INK,
    LINE,
    MUTED,
    chart_style,
    cycle_colors,
    new_figure,
    shorten,
    strip_spines,
    to_svg,
)

_BLUE = "#4573d5"
_MAX_COLUMNS = 4


def draw_matrices(matrices: Mapping[str, Matrix], tasks: Sequence[str]) -> str:
    """A matrix of F1 per way in, a panel with a shaded number per cell for each out.

    Args:
      matrices: by name of way, a row per task learned and a column per task scored.
      tasks: names of the tasks, in order.
    """
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("shades", ["#ffffff00", _BLUE])
    columns = min(_MAX_COLUMNS, len(matrices))
    rows = -(-len(matrices) // columns)
    side = 10.4 / _MAX_COLUMNS
    with chart_style():
        figure = new_figure(max(4.0, side * columns), 0.3 + side * rows)
        panels = figure.subplots(rows, columns, squeeze=False)
        for at, (axes, (name, matrix)) in enumerate(zip(panels.flat, matrices.items(), strict=False)):
            axes.pcolormesh(matrix, cmap=shades, vmin=0, vmax=1, edgecolor=LINE, linewidth=0.6)
            for row, scores in enumerate(matrix):
                for column, score in enumerate(scores):
                    weight = "bold" if row == column else "normal"
                    axes.text(
                        column + 0.5,
                        row + 0.5,
                        f"{100 * score:.0f}",
                        color=INK if column <= row else MUTED,
                        fontweight=weight,
                        ha="center",
                        va="center",
                        fontsize=9,
                    )
            axes.set_title(shorten(name), loc="left", fontsize=10, color=INK, parse_math=False)
            places, names = [task + 0.5 for task in range(len(tasks))], [shorten(task, 10) for task in tasks]
            axes.set_xticks(places, names, rotation=35, ha="right", fontsize=8, color=MUTED)
            axes.set_yticks(places, names if at % columns == 0 else [""] * len(tasks), fontsize=8)
            axes.set_ylim(len(tasks), 0)
            axes.set_aspect("equal")
            strip_spines(axes, keep=())
        for axes in list(panels.flat)[len(matrices) :]:
            axes.set_axis_off()
        return to_svg(figure, "matrices", "F1 on each task (column) after each task (row)")


def draw_sequences(matrices: Mapping[str, Matrix], tasks: Sequence[str]) -> str:
    """A matrix of F1 per way in, a panel per task with a line per way out: how F1 on it goes as others are learned.

    Args:
      matrices: by name of way, a row per task learned and a column per task scored.
      tasks: names of the tasks, in order.
    """
    with chart_style():
        figure = new_figure(10.4, 3.0)
        panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for task, axes in enumerate(panels):
            steps = range(task, len(tasks))
            for (name, matrix), color in zip(matrices.items(), cycle_colors(len(matrices)), strict=True):
                scores = [100 * matrix[step][task] for step in steps]
                axes.plot(steps, scores, "o-", color=color, linewidth=1.6, markersize=4, label=shorten(name))
            axes.set_title(shorten(tasks[task], 16), loc="left", fontsize=10, color=INK, parse_math=False)
            axes.set_xlim(-0.3, len(tasks) - 0.7)
            axes.set_xticks(
                range(len(tasks)), [shorten(name, 10) for name in tasks], rotation=35, ha="right", fontsize=8
            )
            axes.tick_params(axis="x", labelcolor=MUTED)
            axes.grid(visible=True, axis="y", color=LINE, linewidth=0.6)
            strip_spines(axes, keep=())
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)), frameon=False, fontsize=9)
        return to_svg(figure, "sequences", "Entity F1 on each task as later ones are learned")
