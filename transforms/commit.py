"""Parts to committed files: one file per slice, first commit wins, a receipt each."""

import dataclasses
import time
from collections.abc import Iterator, Mapping

import apache_beam as beam

from schemas.errors import StorageError
from schemas.receipts import Tally
from transforms.read import SlicePart
from transforms.storage.commits import SliceWriter
from transforms.storage.store import open_store
from transforms.workers.usage import METER


@dataclasses.dataclass
class CommitSlices(beam.PTransform):  # type: ignore[misc]
    """Annotated parts in, ids of committed slices out.

    Parts of a slice arrive in order, because every runner fuses reading, annotating and committing into one stage; a
    runner that does not is found out by their index, and the slice fails.

    Attributes:
      run: root of the run's store.
      output_format: parquet or jsonl.
      layout: document or flat.
      metadata: strings for the footer of the files.
    """

    run: str
    output_format: str
    layout: str
    metadata: Mapping[str, str]

    def expand(self, parts: beam.PCollection[SlicePart]) -> beam.PCollection[str]:
        """See the class."""
        return parts | "Commit slices" >> beam.ParDo(
            _CommitFn(self.run, self.output_format, self.layout, dict(self.metadata))
        ).with_output_types(str)


class _CommitFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, run: str, output_format: str, layout: str, metadata: Mapping[str, str]) -> None:
        self._run = run
        self._output_format = output_format
        self._layout = layout
        self._metadata = metadata

    def setup(self) -> None:
        self._store = open_store(self._run)
        METER.open()
        self._writer: SliceWriter | None = None

    def start_bundle(self) -> None:
        self._close()
        self._next = 0
        self._slice_id = ""

    def process(self, part: SlicePart) -> Iterator[str]:
        started = time.perf_counter()
        slice_id = part.slice_.slice_id
        if part.index == 0 and self._writer is None:
            self._writer = self._begin(part)
            self._slice_id, self._next = slice_id, 0
        if self._writer is None or (slice_id, part.index) != (self._slice_id, self._next):
            raise StorageError(
                f"expected part {self._next} of slice {self._slice_id or slice_id}, "
                f"found part {part.index} of {slice_id}; "
                "the runner did not keep reading, annotating and committing in one stage"
            )
        self._next += 1
        self._writer.write(part.table, part.rejects, part.tally)
        spent = Tally(seconds={"write": time.perf_counter() - started}, used=METER.read())
        self._writer.write(None, (), spent)
        if part.is_last:
            receipt = self._writer.commit()
            self._writer = None
            yield receipt.slice_id

    def finish_bundle(self) -> None:
        if self._writer is not None:
            raise StorageError(f"expected the last part of slice {self._slice_id}, found the end of the bundle")

    def teardown(self) -> None:
        METER.close()
        self._close()

    def _close(self) -> None:
        """Closes the files of a slice that was left in the middle, when reading or annotating it failed."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _begin(self, part: SlicePart) -> SliceWriter:
        return SliceWriter(
            self._store,
            part.slice_,
            output_format=self._output_format,
            layout=self._layout,
            metadata=self._metadata,
            attempts=part.attempt,
        )
