"""The annotations of two runs, and gold where there is some, to one comparison, and that to its results."""

import dataclasses
from collections.abc import Iterable

import apache_beam as beam

from schemas.manifest import dump_json
from transforms.pairing.compared import ANNOTATED_SCHEMA, compare_documents
from transforms.pairing.joined import GOLD_SCHEMA, JoinConfig
from transforms.pairing.rows import gather_rows
from transforms.score import SumValues
from transforms.scoring.comparison import Comparison, compare_block, summarise_comparison
from transforms.storage.store import open_store


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
        return compared | "Sum comparisons" >> beam.CombineGlobally(SumValues(Comparison.empty()))

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
