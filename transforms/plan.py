"""Slices into a pipeline, read from a work list, so that its graph is small however many they are."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from transforms.storage.store import open_store
from transforms.storage.work import WorkList, read_work


@dataclasses.dataclass
class PlanSlices(beam.PTransform):  # type: ignore[misc]
    """A work list in, its slices out, or what its rows stand for instead.

    Attributes:
      run: root of the store that it lies in.
      work: what is to be done, largest first.
      is_spread: each slice is free to go to any worker; else they come one after another in their order, and none but
        the next is in memory.
    """

    run: str
    work: WorkList
    is_spread: bool

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[Any]:
        """See the class."""
        names = root | "Name lists" >> beam.Create(self.work.names, reshuffle=False).with_output_types(str)
        if self.is_spread:
            names |= "Spread lists" >> beam.Reshuffle()
        read = beam.ParDo(_ReadWorkFn(self.run, self.work)).with_output_types(self.work.kind.row)
        slices = names | "Read lists" >> read
        return slices | "Spread slices" >> beam.Reshuffle() if self.is_spread else slices


class _ReadWorkFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, run: str, work: WorkList) -> None:
        self._run = run
        self._work = work

    def setup(self) -> None:
        self._store = open_store(self._run)

    @no_annotations  # type: ignore[untyped-decorator]
    def process(self, name: str) -> Iterator[Any]:
        yield from read_work(self._store, self._work, name)
