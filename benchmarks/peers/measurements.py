"""Contenders measured in turn, and what is made of their runs."""

import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.processes import ContenderError, run_fresh


@dataclasses.dataclass(frozen=True)
class Measurement:
    """A contender on a corpus, once.

    Attributes:
      start_up_s: the whole process on one document; 0 for a ceiling, which takes its own time.
      wall_s: the whole process on the corpus.
      work_s: what is timed: the seconds beyond start-up, or a ceiling's passes.
      tokens: what was read in that time, by our tokenizer, each once.
      lost: share of the corpus's tokens that are never read.
      peak_mib: most memory.
    """

    start_up_s: float
    wall_s: float
    work_s: float
    tokens: int
    lost: float
    peak_mib: float

    @property
    def tokens_per_s(self):
        """Speed."""
        return self.tokens / self.work_s


def measure(contender, corpus, model):
    """Runs a contender on a corpus and then on its shortest document alone, each in a fresh process.

    The corpus comes first, so that what is read from disk for the first time never flatters the difference.

    Raises:
      ContenderError: it failed, or its work was too short to tell from its start-up.
    """
    with tempfile.TemporaryDirectory(prefix="spanmill-") as name:
        whole = run_fresh(contender.command(corpus.path, Path(name) / "whole", model), cores=contender.cores)
        most = whole.answer.get("most_tokens")
        if contender.is_ceiling:
            work = whole.answer["seconds"]
            return Measurement(0.0, whole.seconds, work, int(corpus.tokens.sum()), 0.0, whole.peak_mib)
        one = run_fresh(contender.command(corpus.one, Path(name) / "one", model), cores=contender.cores)
    work = whole.seconds - one.seconds
    if work <= 0:
        raise ContenderError("its work was too short to measure; raise --docs")
    tokens = corpus.count_tokens(most)
    return Measurement(one.seconds, whole.seconds, work, tokens, 1 - tokens / corpus.count_tokens(), whole.peak_mib)


def interleave(entries, model, rounds, *, section):
    """Measures (contender, corpus) pairs, one after the other in every round; tells stderr how it goes.

    Returns:
      For each pair its measurements, none if it failed; and why those failed, by their titles.
    """
    measured = [[] for _ in entries]
    failures = {}
    for number in range(rounds):
        for (contender, corpus), found in zip(entries, measured, strict=True):
            what = f"{contender.title}, {len(corpus.tokens):,} documents of {corpus.name}"
            if what in failures:
                continue
            say(f"section {section}, round {number + 1} of {rounds}: {what}")
            try:
                found.append(measure(contender, corpus, model))
            except ContenderError as error:
                failures[what] = str(error)
                found.clear()
                say(f"    left out: {error}")
            else:
                say(f"    {found[-1].tokens_per_s:,.0f} tokens/s, {found[-1].wall_s:.1f} s in all")
    return measured, failures


def say(text):
    """Tells how it goes."""
    print(text, file=sys.stderr, flush=True)


def median(measurements, name):
    """The median of an attribute."""
    return statistics.median(getattr(each, name) for each in measurements)


def show_range(values, form=",.0f"):
    """Median and, of more than one, range as text.

    >>> show_range([3, 1000, 2000])
    '1,000 [3-2,000]'
    """
    middle = f"{statistics.median(values):{form}}"
    return f"{middle} [{min(values):{form}}-{max(values):{form}}]" if len(values) > 1 else middle


def show_rates(measurements):
    """Median and range of tokens per second as text."""
    return show_range([each.tokens_per_s for each in measurements])
