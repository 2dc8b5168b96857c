"""The tagger as a ModelHandler, for people whose pipelines are built on Beam's RunInference.

    texts | RunInference(TaggerHandler(config))        str in, TaggedText out, in the same order

`spanmill annotate` does not use it: importing RunInference imports torch and SciPy, and its dead letters are whole
batches. Here a text that fails is an element with an error, and its neighbours are kept.
"""

import dataclasses
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler

from transforms.models.tagger import Tagger, TaggerConfig


@dataclasses.dataclass(frozen=True)
class TaggedSpan:
    """An entity of a text: half-open offsets in code points, label and score."""

    start: int
    end: int
    label: str
    score: float
    text: str


@dataclasses.dataclass(frozen=True)
class TaggedText:
    """A text with its entities, or with the code of the error that kept it from having any."""

    text: str
    entities: tuple[TaggedSpan, ...]
    error: str = ""


class _PerThread:
    """The loaded weights, with a tagger for each thread that asks."""

    def __init__(self, config: TaggerConfig) -> None:
        self._config = config
        self._weights = config.load()
        self._local = threading.local()

    def tagger(self) -> Tagger:
        if not hasattr(self._local, "tagger"):
            self._local.tagger = self._config.build(self._weights)
        found: Tagger = self._local.tagger
        return found


class TaggerHandler(ModelHandler[str, TaggedText, _PerThread]):  # type: ignore[misc]
    """Texts in, tagged texts out.

    Args:
      config: the tagger, as `transforms.models.catalog` describes it.
      batch_size: most texts in a batch; windows are packed by length within it.
    """

    def __init__(self, config: TaggerConfig, *, batch_size: int = 128) -> None:
        super().__init__(min_batch_size=1, max_batch_size=batch_size)
        self._config = config

    def load_model(self) -> _PerThread:
        """Loads the weights, once per process."""
        return _PerThread(self._config)

    def run_inference(
        self,
        batch: Sequence[str],
        model: _PerThread,
        inference_args: Mapping[str, Any] | None = None,  # noqa: ARG002 - Beam's signature
    ) -> Iterable[TaggedText]:
        """One tagged text per text, in order."""
        tagger = model.tagger()
        tagging = tagger.tag(batch)
        entities: list[list[TaggedSpan]] = [[] for _ in batch]
        columns = (tagging.document, tagging.start, tagging.end, tagging.label, tagging.score)
        for document, start, end, label, score in zip(*(column.tolist() for column in columns), strict=True):
            span = TaggedSpan(start, end, tagger.labels[label], score, batch[document][start:end])
            entities[document].append(span)
        errors = tagging.failures
        return [
            TaggedText(text, tuple(entities[at]), errors[at].code if at in errors else "")
            for at, text in enumerate(batch)
        ]

    def get_num_bytes(self, batch: Sequence[str]) -> int:
        """Size of a batch for Beam's metrics; counting characters is cheaper than pickling them."""
        return sum(map(len, batch))
