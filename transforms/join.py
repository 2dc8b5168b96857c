"""Gold documents and the rows of a run to blocks of documents with both, joined by id."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa

from schemas.slices import Slice
from schemas.tables import SLICE_SCHEMA, Rows, SliceTable
from transforms.corpora.documents import CorpusConfig
from transforms.pairing.joined import GOLD_SCHEMA, PREDICTED_SCHEMA, JoinConfig, join_documents
from transforms.pairing.rows import (
    attach_texts,
    gather_rows,
    read_dead_rows,
    read_gold_rows,
    spread_rows,
)
from transforms.scoring.pairs import PairBlock
from transforms.storage.store import open_store


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """What a run wrote for one slice.

    Attributes:
      slice_: the slice of the run's input.
      data: its annotations, or an empty string.
      dead: its dead letters, or an empty string.
    """

    slice_: Slice
    data: str
    dead: str


class RunFileTable(Rows[RunFiles]):
    """What a run wrote, by the columns of a slice and the names of its files."""

    row = RunFiles
    schema = pa.schema([*SLICE_SCHEMA, pa.field("data", pa.string()), pa.field("dead", pa.string())])

    @staticmethod
    def to_values(row: RunFiles) -> tuple[Any, ...]:
        """See Rows."""
        return *SliceTable.to_values(row.slice_), row.data, row.dead

    @staticmethod
    def from_columns(columns: list[list[Any]]) -> Iterator[RunFiles]:
        """See Rows."""
        *cut, data, dead = columns
        return map(RunFiles, SliceTable.from_columns(cut), data, dead)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """How the rows of a run are read.

    Attributes:
      root: root of the run's store.
      unit: unit of its offsets.
      corpus: how its input is read again, to join texts that differ in white space; None to do without.
    """

    root: str
    unit: str
    corpus: CorpusConfig | None = None


@dataclasses.dataclass
class ReadGold(beam.PTransform):  # type: ignore[misc]
    """Slices of a gold corpus in, (bucket, Arrow message) of their documents out.

    Attributes:
      corpus: how documents are found in files.
      groups: kept columns whose values scores are broken down by.
      n_buckets: how many buckets ids are spread over.
    """

    corpus: CorpusConfig
    groups: tuple[str, ...]
    n_buckets: int

    def expand(self, slices: beam.PCollection[Slice]) -> beam.PCollection[tuple[int, bytes]]:
        """See the class."""
        return slices | "Read gold" >> beam.FlatMap(self._read).with_output_types(tuple[int, bytes])

    def _read(self, slice_: Slice) -> Iterator[tuple[int, bytes]]:
        for table in read_gold_rows(slice_, self.corpus, self.groups):
            yield from spread_rows(table, self.n_buckets)


@dataclasses.dataclass
class ReadRun(beam.PTransform):  # type: ignore[misc]
    """Output files of a run in, (bucket, Arrow message) of their rows out.

    Attributes:
      config: where the rows are and how they were written.
      read_rows: reads an output file, given the store, the file's name and `unit`, to tables of the schema.
      schema: schema of the tables.
      n_buckets: how many buckets ids are spread over.
    """

    config: RunConfig
    read_rows: Callable[..., Iterator[pa.Table]]
    schema: pa.Schema
    n_buckets: int

    def expand(self, files: beam.PCollection[RunFiles]) -> beam.PCollection[tuple[int, bytes]]:
        """See the class."""
        return files | "Read run" >> beam.FlatMap(self._read).with_output_types(tuple[int, bytes])

    def _read(self, files: RunFiles) -> Iterator[tuple[int, bytes]]:
        for table in self._tables(files):
            yield from spread_rows(table, self.n_buckets)

    def _tables(self, files: RunFiles) -> Iterator[pa.Table]:
        store = open_store(self.config.root)
        if files.data:
            rows = self.read_rows(store, files.data, unit=self.config.unit)
            yield from attach_texts(rows, files.slice_, self.config.corpus) if self.config.corpus else rows
        if files.dead:
            yield read_dead_rows(store, files.dead, self.schema)


@dataclasses.dataclass
class JoinDocuments(beam.PTransform):  # type: ignore[misc]
    """Gold and predicted messages, by bucket, in; a block of documents per bucket out.

    Attributes:
      config: how documents are compared.
    """

    config: JoinConfig

    def expand(self, sides: dict[str, beam.PCollection[tuple[int, bytes]]]) -> beam.PCollection[PairBlock]:
        """See the class."""
        return sides | beam.CoGroupByKey() | "Join documents" >> beam.Map(self._join).with_output_types(PairBlock)

    def _join(self, group: tuple[int, dict[str, Iterable[bytes]]]) -> PairBlock:
        _, sides = group
        return join_documents(
            gather_rows(sides["gold"], GOLD_SCHEMA), gather_rows(sides["predicted"], PREDICTED_SCHEMA), self.config
        )
