"""Slices to parts: bounded tables of documents in order, with a last part that closes the slice."""

import dataclasses
import time
from collections.abc import Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints.decorators import no_annotations

from schemas.dead_letters import count_letters, dead_letter
from schemas.errors import FileError
from schemas.receipts import Tally
from schemas.slices import Slice
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import check_unchanged
from transforms.corpora.formats import read_parts
from transforms.storage.commits import Member, claim_slice, publish_slice, read_receipt
from transforms.storage.store import open_store

_MOST_DEAD = 4


@dataclasses.dataclass(frozen=True)
class SlicePart:
    """A piece of a slice on its way through the stage.

    Attributes:
      slice_: the slice.
      index: 0, 1, 2, ... within the slice.
      is_last: whether the slice ends here; the last part holds no documents.
      attempt: how many times the slice was begun, this time included.
      table: documents, or annotations once they are annotated; None in the last part.
      rejects: dead letters so far.
      tally: counts so far.
    """

    slice_: Slice
    index: int
    is_last: bool
    attempt: int = 1
    table: pa.Table | None = None
    rejects: tuple[dict[str, object], ...] = ()
    tally: Tally = Tally()  # noqa: RUF009 - frozen, so safe to share


class ReadOutcome(NamedTuple):
    """Parts to annotate, and slices that were committed before."""

    parts: beam.PCollection[SlicePart]
    committed: beam.PCollection[str]


@dataclasses.dataclass
class ReadSlices(beam.PTransform):  # type: ignore[misc]
    """Slices in, parts out; slices that are committed already are published and named, not read.

    Attributes:
      corpus: how documents are found in files.
      run: root of the run's store.
      is_strict: a file that cannot be read stops the run, instead of becoming a dead letter.
      member: who this is among workers that share slices; what another one has begun is left to it.
    """

    corpus: CorpusConfig
    run: str
    is_strict: bool
    member: Member = Member()  # noqa: RUF009 - frozen, so safe to share

    @no_annotations  # type: ignore[untyped-decorator]
    def expand(self, slices: beam.PCollection[Slice]) -> ReadOutcome:
        """See the class."""
        read = beam.ParDo(_ReadSliceFn(self.corpus, self.run, self.member, is_strict=self.is_strict))
        outputs = slices | "Read slices" >> read.with_output_types(SlicePart).with_outputs("committed", main="parts")
        return ReadOutcome(outputs.parts, outputs.committed)


class _ReadSliceFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, corpus: CorpusConfig, run: str, member: Member, *, is_strict: bool) -> None:
        self._corpus = corpus
        self._run = run
        self._member = member
        self._is_strict = is_strict

    def setup(self) -> None:
        self._store = open_store(self._run)

    @no_annotations  # type: ignore[untyped-decorator]
    def process(self, slice_: Slice) -> Iterator[SlicePart | beam.pvalue.TaggedOutput]:
        if receipt := read_receipt(self._store, slice_.slice_id):
            publish_slice(self._store, receipt)
            yield beam.pvalue.TaggedOutput("committed", slice_.slice_id)
            return
        claim = claim_slice(self._store, slice_.slice_id, self._member)
        if claim is None:
            return
        if claim.n_dead >= _MOST_DEAD:
            # Isolating its documents did not help, so it is the file.
            message = f"reading {slice_.file.source!r} ended the process that did it, {claim.n_dead} times"
            slice_ = dataclasses.replace(slice_, error=message)
        for part in read_slice(slice_, self._corpus, is_strict=self._is_strict):
            yield dataclasses.replace(part, attempt=claim.attempt)


def read_slice(slice_: Slice, corpus: CorpusConfig, *, is_strict: bool) -> Iterator[SlicePart]:
    """A slice to its parts, the last of them empty.

    A file that breaks in the middle ends the slice with a dead letter for the rows not read, and keeps those that
    were; under `is_strict` it raises.

    Raises:
      FileError: the file is gone, changed or broken, and `is_strict`.
    """
    index = n_rows = 0
    letters: tuple[dict[str, object], ...] = ()
    seconds = 0.0
    try:
        if slice_.error:
            raise FileError("file_unreadable", slice_.error)  # noqa: TRY301
        check_unchanged(slice_.file)
        started = time.perf_counter()
        for part in read_parts(slice_, corpus):
            seconds += time.perf_counter() - started
            n_rows += part.documents.num_rows + len(part.rejects)
            lost = Tally(dead=count_letters(part.rejects), dead_rows=len(part.rejects))
            yield SlicePart(slice_, index, is_last=False, table=part.documents, rejects=part.rejects, tally=lost)
            index += 1
            started = time.perf_counter()
        if n_rows != slice_.rows:
            message = f"expected {slice_.rows} documents in {slice_.file.source!r}, found {n_rows}"
            raise FileError("input_changed", message)  # noqa: TRY301
        check_unchanged(slice_.file)
    except FileError as error:
        if is_strict or n_rows > slice_.rows:
            raise
        letters = (dead_letter(slice_.file.source, error, stage="read"),)
    tally = Tally(dead=count_letters(letters), dead_rows=slice_.rows - n_rows, seconds={"read": seconds})
    yield SlicePart(slice_, index, is_last=True, rejects=letters, tally=tally)
