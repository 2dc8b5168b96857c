"""From measurements at places of a corpus to what the whole will take, with intervals.

The interval is that of sampling: places are drawn again from those that were measured (the bootstrap of Efron, 1979).
How this machine differs from another day, or from the one that will do the work, is not in it.
"""

import dataclasses
import heapq
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from schemas.costs import RESOURCES, Prices

_REPLICATES = 2000
_LEVEL = 0.95

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """What was measured at each place, per byte of the files there, (n_places,) each.

    Attributes:
      documents: documents.
      text_bytes: bytes of text.
      tokens: model tokens.
      output_bytes: bytes of annotations.
      worker: seconds of a worker, reading included.
      core: seconds on cores.
      gpu: seconds of holding a GPU.
      plan: seconds of planning, in the driver.
    """

    documents: Floats
    text_bytes: Floats
    tokens: Floats
    output_bytes: Floats
    worker: Floats
    core: Floats
    gpu: Floats
    plan: Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """The run that is projected.

    Attributes:
      pieces: bytes of input in each slice.
      workers: how many there will be.
      start_seconds: wall time until workers are at work, and of finishing.
      start_core_seconds: the same on cores, for one worker.
      file_bytes: what an output file holds beside its rows.
      prices: what an hour costs, where that is known.
    """

    pieces: Sequence[float]
    workers: int
    start_seconds: float
    start_core_seconds: float
    file_bytes: float
    prices: Prices | None


def project(rates: Rates, job: Job, *, seed: int = 0) -> dict[str, dict[str, float]]:
    """Each figure of the whole run by name: its `estimate` and the `low` and `high` end of a 95 % interval.

    Figures: documents, text_bytes, tokens, output_bytes, wall_seconds, worker_seconds, core_seconds, gpu_seconds, and
    cost where there are prices. Wall time is that of workers who take one slice after the other, the largest first;
    every worker is paid for until the last has ended.
    """
    busiest, n_bytes = schedule(job.pieces, job.workers), sum(job.pieces)
    means = _resample(rates, seed)
    wall = job.start_seconds + means["plan"] * n_bytes + means["worker"] * busiest
    seconds = {
        "worker": wall * job.workers,
        "core": means["core"] * n_bytes + job.start_core_seconds * job.workers,
        "gpu": np.where(means["gpu"] > 0, wall * job.workers, 0.0),
    }
    figures = {name: means[name] * n_bytes for name in ("documents", "text_bytes", "tokens")}
    figures["output_bytes"] = means["output_bytes"] * n_bytes + job.file_bytes * len(job.pieces)
    figures["wall_seconds"] = wall
    figures |= {f"{what}_seconds": seconds[what] for what in RESOURCES}
    if job.prices:
        figures["cost"] = sum((price * seconds[what] for what, price in job.prices.to_json().items()), 0 * wall) / 3600
    return {name: _describe(values, len(rates.worker)) for name, values in figures.items()}


def schedule(pieces: Sequence[float], n_workers: int) -> float:
    """The load of the busiest of several workers who take the largest of the pieces that are left, time and again.

    This is list scheduling in order of length, at most 4/3 of the best there is (Graham, 1969).

    >>> schedule([3, 3, 2, 2, 2], 2)
    7
    """
    loads: list[float] = [0] * n_workers
    for piece in sorted(pieces, reverse=True):
        heapq.heapreplace(loads, loads[0] + piece)
    return max(loads)


def _resample(rates: Rates, seed: int) -> dict[str, Floats]:
    """The mean of each rate over the places, and then over places drawn from these, (1 + replicates,)."""
    n_places = len(rates.worker)
    drawn = np.random.default_rng(seed).integers(n_places, size=(_REPLICATES, n_places))
    places = np.concatenate([np.arange(n_places)[None], drawn])
    return {field.name: getattr(rates, field.name)[places].mean(axis=1) for field in dataclasses.fields(rates)}


def _describe(values: Floats, n_places: int) -> dict[str, float]:
    """A figure as it was measured and as other places would have had it, to the figure and its interval."""
    estimate = float(values[0])
    tail = 50 * (1 - _LEVEL)
    low, high = np.percentile(values[1:], [tail, 100 - tail]).tolist()
    # The bootstrap of few places is too narrow by these: its variance, and Student's tails that it does not have.
    widen = math.sqrt(n_places / max(1, n_places - 1)) * _student(max(1, n_places - 1))
    return {
        "estimate": estimate,
        "low": max(0.0, estimate - widen * (estimate - low)),
        "high": estimate + widen * (high - estimate),
    }


def _student(freedom: int) -> float:
    """How much wider than the normal an interval of Student's distribution is (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf((1 + _LEVEL) / 2)
    first, second = (z**2 + 1) / 4, (5 * z**4 + 16 * z**2 + 3) / 96
    return 1 + first / freedom + second / freedom**2
