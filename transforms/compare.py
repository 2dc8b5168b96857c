"""The annotations of two runs, and gold where there is some, to one comparison, and that to its results."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa

from schemas.manifest import dump_json
from transforms.join import RunConfig, RunFiles
from transforms.pairing.compared import ANNOTATED_SCHEMA, compare_documents, read_annotated_rows, read_dead_letters
from transforms.pairing.joined import GOLD_SCHEMA, JoinConfig
from transforms.pairing.rows import attach_texts, gather_rows, spread_rows
from transforms.scoring.comparison import Comparison, compare_block, summarise_comparison
from transforms.storage.store import open_store


@dataclasses.dataclass
class ReadAnnotations(beam.PTransform):  # type: ignore[misc]
    """Output files of a run in, (bucket, Arrow message) of their rows out.

    Attributes:
      config: how the rows are read.
      n_buckets: how many buckets ids are spread over.
    """

    config: RunConfig
    n_buckets: int

    def expand(self, files: beam.PCollection[RunFiles]) -> beam.PCollection[tuple[int, bytes]]:
        """See the class."""
        return files | "Read annotations" >> beam.FlatMap(self._read).with_output_types(tuple[int, bytes])

    def _read(self, files: RunFiles) -> Iterator[tuple[int, bytes]]:
        for table in self._tables(files):
            yield from spread_rows(table, self.n_buckets)

    def _tables(self, files: RunFiles) -> Iterator[pa.Table]:
        store = open_store(self.config.root)
        if files.data:
            rows = read_annotated_rows(store, files.data, unit=self.config.unit)
            yield from attach_texts(rows, files.slice_, self.config.corpus) if self.config.corpus else rows
        if files.dead:
            yield read_dead_letters(store, files.dead)


@dataclasses.dataclass
class CompareRuns(beam.PTransform):  # type: ignore[misc]
    """Messages of `a`, `b` and, where there is some, `gold`, by bucket, in; one comparison out.

    Attributes:
      config: how gold is read.
      n_replicates: bootstrap replicates of what is counted on gold; 0 for none.
    """

    config: JoinConfig
    n_replicates: int

    def expand(self, sides: dict[str, beam.PCollection[tuple[int, bytes]]]) -> beam.PCollection[Comparison]:
        """See the class."""
        joined = sides | beam.CoGroupByKey()
        compared = joined | "Compare documents" >> beam.Map(self._compare).with_output_types(Comparison)
        return compared | "Sum comparisons" >> beam.CombineGlobally(_SumComparisons())

    def _compare(self, group: tuple[int, dict[str, Iterable[bytes]]]) -> Comparison:
        _, sides = group
        a, b = (gather_rows(sides[side], ANNOTATED_SCHEMA) for side in ("a", "b"))
        gold = gather_rows(sides["gold"], GOLD_SCHEMA) if "gold" in sides else None
        return compare_block(compare_documents(a, b, gold, self.config), self.n_replicates)


@dataclasses.dataclass
class WriteComparison(beam.PTransform):  # type: ignore[misc]
    """A comparison in, its results as a JSON file out.

    Attributes:
      root: root of the store.
      name: name of the file.
      has_gold: whether gold was given.
    """

    root: str
    name: str
    has_gold: bool

    def expand(self, comparison: beam.PCollection[Comparison]) -> beam.PCollection[None]:
        """See the class."""
        return comparison | "Write results" >> beam.Map(self._write).with_output_types(None)

    def _write(self, comparison: Comparison) -> None:
        report = summarise_comparison(comparison, has_gold=self.has_gold)
        open_store(self.root).put(self.name, dump_json(report))


class _SumComparisons(beam.CombineFn):  # type: ignore[misc]
    def create_accumulator(self) -> Comparison:
        return Comparison.empty()

    def add_input(self, accumulator: Comparison, element: Comparison) -> Comparison:
        return accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Comparison]) -> Comparison:
        return sum(accumulators, self.create_accumulator())

    def extract_output(self, accumulator: Comparison) -> Comparison:
        return accumulator
