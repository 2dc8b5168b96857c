"""Parts with documents to parts with annotations: the only stage that holds a model.

A slice that was begun twice and not committed may hold a document that kills its worker, so that its documents are
annotated one by one in a process of their own.
"""

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.shared import Shared

from schemas.receipts import Tally
from transforms.models.annotator import AnnotatedPart, Annotator, EntityConfig
from transforms.models.late import LateTagger
from transforms.models.tagger import Tagger, TaggerConfig
from transforms.read import SlicePart
from transforms.reuse.recall import RecallConfig
from transforms.workers.heartbeats import at_work
from transforms.workers.isolation import IsolatedAnnotator

ISOLATED_FROM = 3
"""The attempt at a slice from which on its documents are isolated."""

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass
class AnnotateDocuments(beam.PTransform):  # type: ignore[misc]
    """Parts with documents in, parts with annotations out, in the same order.

    Attributes:
      tagger: what travels to the workers in place of the model.
      entities: which entities are written.
      model: digest of the model.
      timeout_s: seconds that an isolated document may take.
      recall: an earlier run, whose texts the model is spared.
    """

    tagger: TaggerConfig
    entities: EntityConfig
    model: str
    timeout_s: float = 600.0
    recall: RecallConfig | None = None

    def expand(self, parts: beam.PCollection[SlicePart]) -> beam.PCollection[SlicePart]:
        """See the class."""
        return parts | "Annotate documents" >> beam.ParDo(
            _AnnotateFn(self.tagger, self.entities, self.model, self.timeout_s, self.recall)
        ).with_output_types(SlicePart)


class AnnotatorHolder:
    """What a DoFn holds in place of a model: the weights once per process and a tokenizer per thread, once asked for.

    Args:
      tagger: what travels to the workers.
      entities: which entities are written.
      model: digest of the model.
      step: name of the transform, under which loads are counted.
      recall: an earlier run; with one, the weights are loaded once a text is met that it has not read.
    """

    def __init__(
        self, tagger: TaggerConfig, entities: EntityConfig, *, model: str, step: str, recall: RecallConfig | None = None
    ) -> None:
        self._tagger = tagger
        self._entities = entities
        self._model = model
        self._recall = recall
        self._shared = Shared()
        self._annotator: Annotator | None = None
        self._load_s = 0.0
        self._loads = Metrics.counter(step, "model-loads")

    def open(self) -> Annotator:
        """The annotator of this thread; the first of a process loads the weights."""
        if self._annotator is None:
            tagger = LateTagger(self._tagger, self._build) if self._recall else self._build()
            recall = self._recall.open() if self._recall else None
            self._annotator = Annotator(tagger, self._entities, model=self._model, recall=recall)
        return self._annotator

    def take_load_seconds(self) -> float:
        """Seconds that opening has taken since this was asked last."""
        taken, self._load_s = self._load_s, 0.0
        return taken

    def close(self) -> None:
        """Lets go of it."""
        self._annotator = None

    def _build(self) -> Tagger:
        started = time.perf_counter()
        self._weights = self._shared.acquire(self._load, tag=self._model)
        tagger = self._tagger.build(self._weights)
        self._load_s += time.perf_counter() - started
        return tagger

    def _load(self) -> object:
        _LOGGER.info("loading model %s", self._model[:16])
        self._loads.inc()
        return self._tagger.load()


class _AnnotateFn(beam.DoFn):  # type: ignore[misc]
    def __init__(
        self, tagger: TaggerConfig, entities: EntityConfig, model: str, timeout_s: float, recall: RecallConfig | None
    ) -> None:
        self._tagger = tagger
        self._entities = entities
        self._model = model
        self._timeout_s = timeout_s
        self._recall = recall
        self._holder = AnnotatorHolder(tagger, entities, model=model, step="AnnotateDocuments", recall=recall)
        self._isolated: IsolatedAnnotator | None = None
        self._documents = Metrics.counter("AnnotateDocuments", "documents")

    def start_bundle(self) -> None:
        self._under_way: deque[tuple[SlicePart, Callable[[], AnnotatedPart] | None]] = deque()

    def process(self, part: SlicePart) -> Iterator[SlicePart]:
        self._under_way.append((part, self._begin(part)))
        # One stays behind, so that the model has work while the last is committed and the next is read; none of a slice
        # that was begun before, lest it be blamed for the death of a worker that another slice causes.
        yield from self._finish(1 if part.attempt == 1 else 0)

    def finish_bundle(self) -> Iterator[Any]:
        for part in self._finish(0):
            yield GlobalWindows.windowed_value(part)

    def _begin(self, part: SlicePart) -> Callable[[], AnnotatedPart] | None:
        """Starts on a part, if it has documents."""
        table, source = part.table, part.slice_.file.source
        if table is None:
            return None
        if part.attempt >= ISOLATED_FROM and not self._tagger.is_remote:
            return lambda: self._isolate().annotate(table, source=source)
        annotator = self._holder.open()
        with at_work(part.slice_.slice_id):
            return annotator.begin(table, source=source)

    def _finish(self, n_left: int) -> Iterator[SlicePart]:
        """Parts in order, until no more than some with documents are under way."""
        n_begun = sum(annotated is not None for _, annotated in self._under_way)
        while self._under_way and (n_begun > n_left or self._under_way[0][1] is None):
            part, wait = self._under_way.popleft()
            if wait is None:
                self._end_isolation()
                yield part
                continue
            n_begun -= 1
            with at_work(part.slice_.slice_id):
                annotated = wait()
            self._documents.inc(annotated.tally.documents)
            loading = Tally(used={"load": load_s} if (load_s := self._holder.take_load_seconds()) else {})
            yield dataclasses.replace(
                part,
                table=annotated.annotations,
                rejects=part.rejects + annotated.rejects,
                tally=part.tally + annotated.tally + loading,
            )

    def teardown(self) -> None:
        self._holder.close()
        self._end_isolation()

    def _isolate(self) -> IsolatedAnnotator:
        if self._isolated is None:
            _LOGGER.info("annotating one document at a time, for this slice was begun before and not finished")
            self._isolated = IsolatedAnnotator(
                self._tagger, self._entities, model=self._model, timeout_s=self._timeout_s, recall=self._recall
            )
        return self._isolated

    def _end_isolation(self) -> None:
        if self._isolated is not None:
            self._isolated.close()
            self._isolated = None
