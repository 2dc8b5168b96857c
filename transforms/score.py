"""Documents with gold and predicted entities to one evaluation, and that to its results."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from schemas.manifest import dump_json
from transforms.pairing.tagged import BLOCK_TOKENS, TagConfig, TaggedFiles, read_tagged_blocks
from transforms.scoring.evaluation import Evaluation, EvaluationConfig, evaluate_block
from transforms.scoring.pairs import PairBlock
from transforms.scoring.results import ResultsConfig, make_results
from transforms.storage.store import open_store


@dataclasses.dataclass
class ReadTagged(beam.PTransform):  # type: ignore[misc]
    """Files with gold and predicted tags in, blocks of documents out.

    Attributes:
      config: how tags are read.
      block_tokens: gold tokens in a block, about.
    """

    config: TagConfig
    block_tokens: int = BLOCK_TOKENS

    def expand(self, files: beam.PCollection[TaggedFiles]) -> beam.PCollection[PairBlock]:
        """See the class."""
        return files | "Read tags" >> beam.FlatMap(self._read).with_output_types(PairBlock)

    def _read(self, files: TaggedFiles) -> Iterator[PairBlock]:
        yield from read_tagged_blocks(files, self.config, block_tokens=self.block_tokens)


@dataclasses.dataclass
class ScoreDocuments(beam.PTransform):  # type: ignore[misc]
    """Blocks of documents in, one evaluation out.

    Attributes:
      config: what is computed beside the scores.
    """

    config: EvaluationConfig

    def expand(self, blocks: beam.PCollection[PairBlock]) -> beam.PCollection[Evaluation]:
        """See the class."""
        scored = blocks | "Score blocks" >> beam.Map(evaluate_block, self.config).with_output_types(Evaluation)
        return scored | "Sum evaluations" >> beam.CombineGlobally(SumValues(Evaluation.empty(self.config.n_replicates)))


@dataclasses.dataclass
class WriteResults(beam.PTransform):  # type: ignore[misc]
    """An evaluation in, its results as a JSON file out.

    Attributes:
      root: root of the store.
      name: name of the file.
      config: what is made of the evaluation.
    """

    root: str
    name: str
    config: ResultsConfig

    def expand(self, evaluation: beam.PCollection[Evaluation]) -> beam.PCollection[None]:
        """See the class."""
        return evaluation | "Write results" >> beam.Map(self._write).with_output_types(None)

    def _write(self, evaluation: Evaluation) -> None:
        results = make_results(evaluation, self.config)
        artefacts = {"calibrator": results.calibrator, "thresholds": results.thresholds}
        content = {name: artefact and artefact.to_json() for name, artefact in artefacts.items()}
        open_store(self.root).put(self.name, dump_json({"report": results.report, **content}))


class SumValues(beam.CombineFn):  # type: ignore[misc]
    """Values that add up in, their sum out.

    Args:
      zero: the sum of none.
    """

    def __init__(self, zero: Any) -> None:
        self._zero = zero

    def create_accumulator(self) -> Any:
        """The sum of none."""
        return self._zero

    def add_input(self, accumulator: Any, element: Any) -> Any:
        """One more value."""
        return accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """Sums of several workers."""
        return sum(accumulators, self._zero)

    def extract_output(self, accumulator: Any) -> Any:
        """The sum."""
        return accumulator
