"""Long jobs with a stand-in for the model: memory, open files, and time per document from the first to the last.

    python -m benchmarks.soak [--documents 1000000] [--bytes 2147483648] [--workers 2] [--tokens-per-s 27000]
        [--markdown]

Two corpora are annotated, one of many short documents and one of many bytes of longer ones, both of lines of the sample
corpus over and over. The stand-in (peers/stand_in.py) answers by a pattern, so that planning, reading, writing and
committing are what is seen; its speed says nothing about a model. Memory and open files are those of the process and
its workers together, sampled while slices are committed. Slopes are by least squares, without the first fifth of the
samples, in which workers start.
"""

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.peers.corpora import SAMPLE
from benchmarks.peers.documents import read_documents
from benchmarks.peers.machine import describe_machine
from benchmarks.peers.measurements import say
from benchmarks.peers.processes import ROOT, ContenderError, find_tree
from benchmarks.peers.tables import Table

_SAMPLE_S, _TELL_S = 0.5, 20
_LONG_LINES = 60
_QUARTERS = 4
_LEAST_SAMPLES = 8


@dataclasses.dataclass(frozen=True)
class Sample:
    """The job at one moment.

    Attributes:
      at_s: seconds since its start.
      mib: resident memory of it and its workers.
      handles: files that they hold open.
      commits: slices that are committed.
    """

    at_s: float
    mib: float
    handles: int
    commits: int


@dataclasses.dataclass(frozen=True)
class Soak:
    """A job from start to end.

    Attributes:
      n_bytes: size of the corpus.
      wall_s: seconds it took.
      samples: what was seen on the way, while slices were being committed.
      committed: (n_slices, 2) seconds since its start and documents of each commit, in order of time.
      write_s: seconds that its workers wrote and committed, summed over them.
      tokens: words of the corpus.
      workers: how many there were.
    """

    n_bytes: int
    wall_s: float
    samples: list
    committed: np.ndarray
    write_s: float
    tokens: int
    workers: int

    @property
    def work_s(self):
        """From the first commit to the last; NaN where they are one."""
        return float(self.committed[-1, 0] - self.committed[0, 0]) or float("nan")

    def write_share(self, tokens_per_s=0):
        """Share of its time that it wrote and committed, or that it would beside a model of some speed."""
        write_s = self.write_s / self.workers
        return write_s / (self.tokens / tokens_per_s + write_s if tokens_per_s else self.wall_s)

    def slope(self, name):
        """How much an attribute of samples grows per 100,000 documents; NaN where there are too few to tell."""
        kept = self.samples[len(self.samples) // 5 :]
        if len(kept) < _LEAST_SAMPLES:
            return float("nan")
        done = np.interp([each.at_s for each in kept], self.committed[:, 0], np.cumsum(self.committed[:, 1]))
        return float(np.polyfit(done, [getattr(each, name) for each in kept], 1)[0]) * 100_000

    def quarters(self):
        """Milliseconds per document in each quarter of the documents; NaN where there are too few slices to tell."""
        if len(self.committed) < _LEAST_SAMPLES:
            return np.full(_QUARTERS, np.nan)
        times, done = self.committed[:, 0], np.cumsum(self.committed[:, 1])
        edges = np.interp(np.linspace(done[0], done[-1], _QUARTERS + 1), done, times)
        return np.diff(edges) * 1000 / ((done[-1] - done[0]) / _QUARTERS)


def write_short(path, n_documents):
    """Writes so many lines, and returns their size."""
    lines = [line for text in read_documents(SAMPLE)[1] for line in text.splitlines() if line.strip()]
    with path.open("w", encoding="utf-8") as file:
        for number, line in enumerate(itertools.islice(itertools.cycle(lines), n_documents)):
            file.write(f"{number} {line}\n")
    return path.stat().st_size


def write_long(path, n_bytes):
    """Writes about so many bytes as documents of some thousand characters, and returns the size."""
    lines = [line for text in read_documents(SAMPLE)[1] for line in text.splitlines() if line.strip()]
    documents = [" ".join(lines[at : at + _LONG_LINES]) for at in range(0, len(lines), _LONG_LINES)]
    block = "".join(f"{document}\n" for document in documents).encode()
    with path.open("wb") as file:
        while (left := n_bytes - file.tell()) > 0:
            file.write(block if left >= len(block) else block[: block.find(b"\n", left - 1) + 1 or len(block)])
    return path.stat().st_size


def soak(source, output, workers):
    """Annotates a file in a process of its own, and watches it.

    Raises:
      ContenderError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.peers.stand_in", "--input", str(source), "--output", str(output)]
    command += ["--no-progress", f"--workers={workers}"]
    with tempfile.TemporaryFile("w+") as errors:
        began, started = time.time(), time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            samples = list(_watch(process, output, started))
        finally:
            process.kill()
            process.wait()
        wall = time.perf_counter() - started
        errors.seek(0)
        if process.returncode:
            raise ContenderError(f"exit status {process.returncode}: {errors.read().strip()[-200:]}")
    receipts = [(path.stat().st_mtime - began, json.loads(path.read_text())) for path in _commits(output)]
    committed = np.array(sorted((at, receipt["rows"]) for at, receipt in receipts))
    tallies = [receipt["tally"] for _, receipt in receipts]
    write_s = sum(tally["seconds"].get("write", 0) for tally in tallies)
    tokens = sum(tally["tokens"] for tally in tallies)
    last = committed[-1, 0]
    at_work = [each for each in samples if each.commits and each.at_s <= last]
    return Soak(source.stat().st_size, wall, at_work or samples, committed, write_s, tokens, workers)


def _watch(process, output, started):
    """Samples of a process and its workers until it ends; tells how it goes."""
    import psutil

    told = started
    while process.poll() is None:
        memory, handles = 0, 0
        for each in find_tree(process.pid):
            try:
                memory, handles = memory + each.memory_info().rss, handles + each.num_fds()
            except psutil.Error:
                continue
        sample = Sample(time.perf_counter() - started, memory / 2**20, handles, len(_commits(output)))
        yield sample
        if time.perf_counter() - told > _TELL_S:
            told = time.perf_counter()
            say(f"    {sample.at_s:,.0f} s: {sample.commits} slices, {sample.mib:,.0f} MiB, {handles} open files")
        time.sleep(_SAMPLE_S)


def _commits(output):
    """The commit records under an output folder."""
    return [path for path in output.glob("run=*/_commits/*") if not path.name.startswith(".")]


def tabulate(soaks, tokens_per_s):
    """A column for each job."""
    rows = [
        ("documents", lambda s: f"{s.committed[:, 1].sum():,.0f}"),
        ("text, MiB", lambda s: f"{s.n_bytes / 2**20:,.0f}"),
        ("slices", lambda s: f"{len(s.committed):,}"),
        ("wall, s", lambda s: f"{s.wall_s:,.1f}"),
        ("documents/s from first to last commit", lambda s: _known(s.committed[1:, 1].sum() / s.work_s, ",.0f")),
        ("peak memory, MiB", lambda s: f"{max(each.mib for each in s.samples):,.0f}"),
        ("growth of memory, MiB per 100,000 documents", lambda s: _known(s.slope("mib"), "+,.2f")),
        ("open files, fewest to most", lambda s: _span([each.handles for each in s.samples])),
        ("growth of open files per 100,000 documents", lambda s: _known(s.slope("handles"), "+,.2f")),
        (
            "ms per document, by quarter of the documents",
            lambda s: _known(s.quarters(), ".3f"),
        ),
        ("last quarter over first", lambda s: _known(s.quarters()[-1] / s.quarters()[0], ".2f")),
        ("commits/s", lambda s: _known((len(s.committed) - 1) / s.work_s, ",.2f")),
        ("writing and committing, share of its time", lambda s: f"{s.write_share():.2%}"),
        (f"the same beside a model of {tokens_per_s:,} tokens/s", lambda s: f"{s.write_share(tokens_per_s):.2%}"),
    ]
    return Table(
        "Soak, with a stand-in for the model",
        ("", *soaks),
        [(name, *(show(each) for each in soaks.values())) for name, show in rows],
        ("The stand-in takes next to no time, so that the share of a job with a model is the second one.",),
    )


def _known(values, form):
    values = np.atleast_1d(values)
    return "too short" if np.isnan(values).any() else " ".join(f"{value:{form}}" for value in values)


def _span(values):
    return f"{min(values):,} to {max(values):,}"


def parse_options():
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=1_000_000, help="short documents (default: 1,000,000)")
    parser.add_argument("--bytes", type=int, default=2 << 30, help="bytes of longer ones (default: 2 GiB)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: a worker per core")
    parser.add_argument("--tokens-per-s", type=int, default=27_000, help="speed of a model (default: 27,000)")
    parser.add_argument("--markdown", action="store_true", help="print the tables for GitHub")
    options = parser.parse_args()
    if min(options.documents, options.bytes, options.workers, options.tokens_per_s) < 1:
        parser.error("expected --documents, --bytes, --workers and --tokens-per-s of 1 or more")
    return options


def main():
    """Annotates both corpora, then prints the tables; 1 when a job failed, 2 without psutil."""
    options = parse_options()
    try:
        import psutil  # noqa: F401
    except ImportError:
        print("expected psutil, found none; pip install psutil", file=sys.stderr)
        return 2
    soaks = {}
    with tempfile.TemporaryDirectory(prefix="spanmill-soak-") as name:
        for title, write, size in (
            ("short documents", write_short, options.documents),
            ("longer documents", write_long, options.bytes),
        ):
            source = Path(name) / f"{write.__name__}.txt"
            say(f"{title}: {write(source, size):,} bytes")
            try:
                soaks[title] = soak(source, Path(name) / write.__name__, options.workers)
            except ContenderError as error:
                print(error, file=sys.stderr)
                return 1
            source.unlink()
    tables = [
        Table("The machine", ("what", "found"), list(describe_machine().items())),
        tabulate(soaks, options.tokens_per_s),
    ]
    for table in tables:
        table.show(is_markdown=options.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
