"""Slices of what several runs read, to the documents that their voters make: one stage without a shuffle.

shared slices ──> rows of every run, side by side ──> parts ──> (commit)
"""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.typehints.decorators import no_annotations

from transforms.combining.documents import CombineConfig, SharedSlice, combine_slice
from transforms.read import ReadOutcome, SlicePart
from transforms.storage.commits import Member, claim_slice, publish_slice, read_receipt
from transforms.storage.store import open_store


@dataclasses.dataclass
class CombineRuns(beam.PTransform):  # type: ignore[misc]
    """Shared slices in, parts with annotations out; slices that are committed already are published and named.

    Attributes:
      config: how voters become one.
      runs: roots of the stores of the runs that vote.
      target: root of the store of the run that is made.
    """

    config: CombineConfig
    runs: tuple[str, ...]
    target: str

    @no_annotations  # type: ignore[untyped-decorator]
    def expand(self, slices: beam.PCollection[SharedSlice]) -> ReadOutcome:
        """See the class."""
        combine = beam.ParDo(_CombineFn(self.config, self.runs, self.target)).with_output_types(SlicePart)
        outputs = slices | "Combine slices" >> combine.with_outputs("committed", main="parts")
        return ReadOutcome(outputs.parts, outputs.committed)


class _CombineFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: CombineConfig, runs: tuple[str, ...], target: str) -> None:
        self._config = config
        self._runs = runs
        self._target = target

    def setup(self) -> None:
        self._stores = [open_store(root) for root in self._runs]
        self._store = open_store(self._target)

    @no_annotations  # type: ignore[untyped-decorator]
    def process(self, shared: SharedSlice) -> Iterator[SlicePart | beam.pvalue.TaggedOutput]:
        slice_ = shared.slice_
        if receipt := read_receipt(self._store, slice_.slice_id):
            publish_slice(self._store, receipt)
            yield beam.pvalue.TaggedOutput("committed", slice_.slice_id)
            return
        claim = claim_slice(self._store, slice_.slice_id, Member())
        assert claim is not None, "without a crew nobody leaves a slice to another"
        index = 0
        for part in combine_slice(shared, self._stores, self._config):
            yield SlicePart(
                slice_,
                index,
                is_last=False,
                attempt=claim.attempt,
                table=part.annotations,
                rejects=part.rejects,
                tally=part.tally,
            )
            index += 1
        yield SlicePart(slice_, index, is_last=True, attempt=claim.attempt)
