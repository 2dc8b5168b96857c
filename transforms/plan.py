"""Slice references into a pipeline, spread over its workers."""

import dataclasses

import apache_beam as beam

from schemas.slices import Slice


@dataclasses.dataclass
class PlanSlices(beam.PTransform):  # type: ignore[misc]
    """A plan in, its slices out, each free to go to any worker.

    Attributes:
      slices: slice references, largest first.
    """

    slices: tuple[Slice, ...]

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[Slice]:
        """See the class."""
        planned = root | "Create slices" >> beam.Create(self.slices, reshuffle=False).with_output_types(Slice)
        return planned | "Spread slices" >> beam.Reshuffle()
