"""Parts with documents to parts with annotations: the only stage that holds a model."""

import dataclasses
import logging

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils.shared import Shared

from transforms.models.annotator import Annotator, EntityConfig
from transforms.models.catalog import TaggerConfig
from transforms.read import SlicePart

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass
class AnnotateDocuments(beam.PTransform):  # type: ignore[misc]
    """Parts with documents in, parts with annotations out, in the same order.

    Attributes:
      tagger: what travels to the workers in place of the model.
      entities: which entities are written.
      model: digest of the model.
    """

    tagger: TaggerConfig
    entities: EntityConfig
    model: str

    def expand(self, parts: beam.PCollection[SlicePart]) -> beam.PCollection[SlicePart]:
        """See the class."""
        return parts | "Annotate documents" >> beam.ParDo(
            _AnnotateFn(self.tagger, self.entities, self.model)
        ).with_output_types(SlicePart)


class _AnnotateFn(beam.DoFn):  # type: ignore[misc]
    """Holds the weights once per process and a tokenizer per thread, from the first documents on."""

    def __init__(self, tagger: TaggerConfig, entities: EntityConfig, model: str) -> None:
        self._tagger = tagger
        self._entities = entities
        self._model = model
        self._shared = Shared()
        self._annotator: Annotator | None = None
        self._loads = Metrics.counter("AnnotateDocuments", "model-loads")
        self._documents = Metrics.counter("AnnotateDocuments", "documents")

    def process(self, part: SlicePart) -> list[SlicePart]:
        if part.table is None:
            return [part]
        if self._annotator is None:
            self._weights = self._shared.acquire(self._load, tag=self._model)
            self._annotator = Annotator(self._tagger.build(self._weights), self._entities, model=self._model)
        annotated = self._annotator.annotate(part.table, source=part.slice_.file.source)
        self._documents.inc(annotated.tally.documents)
        return [
            dataclasses.replace(
                part,
                table=annotated.annotations,
                rejects=part.rejects + annotated.rejects,
                tally=part.tally + annotated.tally,
            )
        ]

    def teardown(self) -> None:
        self._annotator = None

    def _load(self) -> object:
        _LOGGER.info("loading model %s", self._model[:16])
        self._loads.inc()
        return self._tagger.load()
