"""An estimate for the terminal."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console

from transforms.reports.costs import format_price
from transforms.reports.figures import format_duration, format_size
from transforms.reports.summary import make_table

_FIGURES: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "wall_seconds": ("wall time", format_duration),
    "cost": ("cost", format_price),
    "worker_seconds": ("worker time", format_duration),
    "core_seconds": ("core time", format_duration),
    "gpu_seconds": ("GPU time", format_duration),
    "documents": ("documents", "{:,.0f}".format),
    "text_bytes": ("text", lambda size: format_size(round(size))),
    "tokens": ("tokens", "{:,.0f}".format),
    "output_bytes": ("output", lambda size: format_size(round(size))),
}


def print_estimate(estimate: Mapping[str, Any], console: Console) -> None:
    """An estimate in; a table of its figures with their intervals goes to the console.

    Args:
      estimate: as `spanmill estimate` writes it.
      console: where to print.
    """
    console.print(make_table("what a run will take", ("what", "estimate", "95 % interval"), list(_rows(estimate))))
    sample = estimate["sample"]
    console.print(
        f"\nmeasured: {format_size(sample['text_bytes'])} of text at {sample['places']:,} places, "
        f"{format_duration(sample['seconds'])}, {sample['workers']:,} of {estimate['workers']:,} workers; "
        f"{format_size(estimate['peak_worker_bytes'])} of memory at most in each",
        soft_wrap=True,
    )


def _rows(estimate: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key, (name, show) in _FIGURES.items():
        figure = estimate["figures"].get(key)
        if figure and (figure["estimate"] or key != "gpu_seconds"):
            yield name, show(figure["estimate"]), f"{show(figure['low'])} – {show(figure['high'])}"
