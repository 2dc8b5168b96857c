"""A large corpus over many workers, simulated from the slices of a run: how much of their time is work.

    python -m benchmarks.scale [--run RUN] [--documents 1000000000] [--workers 1 10 100 1000 10000] [--markdown]

Slices of a run say how many seconds a character takes and how much that differs from slice to slice; without --run,
the sample corpus is annotated for it. The corpus that is made up of them is cut as spanmill cuts it for so many
workers, with some slices that could not be cut as small as wanted, such as row groups. Then time passes:

    largest first     a worker that is free takes the largest slice that nobody has begun, as spanmill does
    as listed         it takes the next one
    fixed shares      each worker is given its slices before it starts, as many bytes each

Workers start one model load late, some are slow for good, and each is taken away now and then: what it was at is lost,
and another takes its place after a while. Efficiency is the time that the work takes at full speed, over all that was
paid for: workers times the time until the last has ended. Nothing of the network or of the store is simulated.
"""

import argparse
import dataclasses
import heapq
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peers.tables import Table
from benchmarks.soak import write_short

_SAMPLE_DOCUMENTS, _SAMPLE_SLICE_BYTES = 20_000, 64 << 10


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the slices of a run tell.

    Attributes:
      seconds_per_character: (n_slices,) of each slice.
      characters_per_document: mean.
    """

    seconds_per_character: np.ndarray
    characters_per_document: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fleet:
    """Workers and what happens to them.

    Attributes:
      start_s: seconds until a worker works, with its model loaded.
      slow_share: share of workers that are slow for good.
      slow_factor: how much longer they take.
      preempted_per_h: how often an hour each worker is taken away.
      replaced_s: seconds until another one is there, without its start.
    """

    start_s: float = 60.0
    slow_share: float = 0.02
    slow_factor: float = 2.0
    preempted_per_h: float = 0.05
    replaced_s: float = 120.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A simulated job.

    Attributes:
      wall_s: until the last worker ended.
      work_s: what the slices take at full speed.
      lost_s: work that was done and lost.
      n_preempted: how many workers were taken away.
      n_workers: how many there were at a time.
    """

    wall_s: float
    work_s: float
    lost_s: float
    n_preempted: int
    n_workers: int

    @property
    def efficiency(self):
        """Share of the paid time that the work takes at full speed."""
        return self.work_s / (self.wall_s * self.n_workers)


def measure(run):
    """Reads the slices of a run."""
    from pipelines.runs.opening import open_run
    from transforms.storage.runs import read_receipts

    opened = open_run(run, flag="--run")
    tallies = [receipt.tally for receipt in read_receipts(opened.store, opened.slices)]
    tallies = [tally for tally in tallies if tally.characters]
    # Tokenizing goes on beside the model.
    seconds = [sum(s for stage, s in tally.seconds.items() if stage != "tokenize") for tally in tallies]
    characters = np.array([tally.characters for tally in tallies])
    return Measured(np.array(seconds) / characters, float(characters.sum() / sum(t.documents for t in tallies)))


def annotate_sample(folder):
    """Annotates lines of the sample corpus in small slices, and returns the output folder."""
    write_short(folder / "sample.txt", _SAMPLE_DOCUMENTS)
    command = [sys.executable, "-m", "pipelines", "annotate", "--input", folder / "sample.txt"]
    command += ["--output", folder / "out", "--slice-size", str(_SAMPLE_SLICE_BYTES), "--no-progress"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return str(folder / "out")


def make_slices(measured, n_documents, n_workers, *, skew, rng):
    """Seconds of each slice of a corpus, in the order of its files.

    Args:
      measured: what slices of a run tell.
      n_documents: of the corpus.
      n_workers: that it is cut for.
      skew: (share, factor) of slices that are larger than wanted.
      rng: numpy's generator.
    """
    from schemas.slices import FileRef
    from transforms.storage.runs import choose_slice_bytes

    n_bytes = round(n_documents * measured.characters_per_document)
    slice_bytes = choose_slice_bytes([FileRef("corpus", n_bytes, "")], n_workers=n_workers)
    share, factor = skew
    n_slices = max(1, round(n_bytes / slice_bytes / (1 + share * (factor - 1))))
    sizes = np.where(rng.random(n_slices) < share, factor, 1.0)
    characters = n_bytes * sizes / sizes.sum()
    return characters * rng.choice(measured.seconds_per_character, n_slices), characters


def simulate(seconds, n_workers, fleet, rng):
    """Has workers take slices in their order, each the next when it is free."""
    slow = np.where(rng.random(n_workers) < fleet.slow_share, fleet.slow_factor, 1.0)
    free = [(fleet.start_s, place) for place in range(n_workers)]
    heapq.heapify(free)
    ends, left, lost_s, n_preempted = [0.0] * n_workers, list(seconds[::-1]), 0.0, 0
    taken_at = fleet.start_s + _draw_lives(fleet, n_workers, rng)
    while left:
        now, place = heapq.heappop(free)
        end = now + left[-1] * slow[place]
        if taken_at[place] < end:
            # What it was at is done again by whoever is free first.
            lost_s += max(0.0, taken_at[place] - now)
            n_preempted += 1
            begin = max(now, taken_at[place]) + fleet.replaced_s + fleet.start_s
            ends[place] = max(now, taken_at[place])
            slow[place] = fleet.slow_factor if rng.random() < fleet.slow_share else 1.0
            taken_at[place] = begin + _draw_lives(fleet, 1, rng)[0]
            heapq.heappush(free, (begin, place))
            continue
        left.pop()
        ends[place] = end
        heapq.heappush(free, (end, place))
    return Outcome(max(ends), float(seconds.sum()), lost_s, n_preempted, n_workers)


def simulate_shares(seconds, characters, n_workers, fleet, rng):
    """Has workers do the slices that each was given beforehand."""
    bounds = np.searchsorted(np.cumsum(characters), np.arange(1, n_workers) * characters.sum() / n_workers)
    parts = [part for part in np.split(seconds, bounds) if len(part)]
    alone = [simulate(part, 1, fleet, rng) for part in parts]
    return Outcome(
        max(part.wall_s for part in alone),
        float(seconds.sum()),
        sum(part.lost_s for part in alone),
        sum(part.n_preempted for part in alone),
        n_workers,
    )


def _draw_lives(fleet, n_workers, rng):
    """Seconds until each of some workers is taken away."""
    if not fleet.preempted_per_h:
        return np.full(n_workers, np.inf)
    return rng.exponential(3600 / fleet.preempted_per_h, n_workers)


def tabulate(measured, options, fleet):
    """Efficiency against the number of workers."""
    rows = []
    for n_workers in options.workers:
        rng = np.random.default_rng(options.seed)
        seconds, characters = make_slices(measured, options.documents, n_workers, skew=options.skew, rng=rng)
        first = simulate(np.sort(seconds)[::-1], n_workers, fleet, np.random.default_rng(options.seed))
        listed = simulate(seconds, n_workers, fleet, np.random.default_rng(options.seed))
        shares = simulate_shares(seconds, characters, n_workers, fleet, np.random.default_rng(options.seed))
        efficiencies = [f"{100 * outcome.efficiency:.1f} %" for outcome in (first, listed, shares)]
        row = (f"{n_workers:,}", f"{len(seconds):,}", f"{seconds.mean():,.0f}", f"{first.wall_s / 3600:,.1f}")
        rows.append((*row, *efficiencies, f"{first.n_preempted:,}", f"{100 * first.lost_s / first.work_s:.2f} %"))
    rates = measured.seconds_per_character
    deviation = 100 * rates.std() / rates.mean()
    speed = 1 / (rates.mean() * measured.characters_per_document)
    share, factor = options.skew
    notes = (
        f"From {len(rates):,} slices of a run: {speed:,.0f} documents/s a worker, of "
        f"{measured.characters_per_document:,.0f} characters each; slices differ by {deviation:.0f} % (standard "
        f"deviation). {100 * share:g} % of the slices are {factor:g} times as large as wanted.",
        f"{100 * fleet.slow_share:g} % of the workers take {fleet.slow_factor:g} times as long, each is taken away "
        f"{fleet.preempted_per_h:g} times an hour and replaced after {fleet.replaced_s:,.0f} s; a start takes "
        f"{fleet.start_s:,.0f} s. Efficiency counts slow workers as if they were paid like others.",
    )
    columns = (
        "workers",
        "slices",
        "s each",
        "hours",
        "largest first",
        "as listed",
        "fixed shares",
        "preempted",
        "redone",
    )
    return Table(f"{options.documents:,} documents, simulated", columns, rows, notes)


def _parse_skew(text):
    share, _, factor = text.partition(":")
    return float(share), float(factor)


def parse_options():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    fleet = Fleet()
    parser.add_argument(
        "--run", help="a run of spanmill annotate to take times from (default: one of the sample corpus)"
    )
    parser.add_argument("--documents", type=int, default=10**9, help="of the corpus (default: 1,000,000,000)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000, 10_000], help="how many")
    parser.add_argument("--skew", type=_parse_skew, default=(0.01, 4.0), metavar="SHARE:FACTOR", help="default: 0.01:4")
    for field in dataclasses.fields(Fleet):
        name = f"--{field.name.replace('_', '-')}"
        parser.add_argument(name, type=float, default=getattr(fleet, field.name), help=f"default: {field.default:g}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", action="store_true", help="print the table for GitHub")
    return parser.parse_args()


def main():
    """Measures, simulates and prints the table."""
    options = parse_options()
    fleet = Fleet(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Fleet)})
    with tempfile.TemporaryDirectory(prefix="spanmill-scale-") as folder:
        measured = measure(options.run or annotate_sample(Path(folder)))
    table = tabulate(measured, options, fleet)
    table.show(is_markdown=options.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
