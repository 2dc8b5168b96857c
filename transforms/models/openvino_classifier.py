"""Token classification with OpenVINO on the CPU; without PyTorch."""

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from schemas.errors import CheckpointError
from schemas.labels import TagSet
from transforms.models.backends import BackendConfig, memory_errors_told
from transforms.models.engines import Engine
from transforms.models.tagger import FloatArray, IntArray
from transforms.text.packing import padding_mask

MODEL_FILE = "model.xml"
# What lies between int8 products is computed in bf16 where the processor has it; OpenVINO takes fp32 elsewhere.
_INFERENCE_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}


def import_openvino() -> Any:
    """The module openvino, without the package by which it reports every import and conversion to its maker.

    Import it, and nncf, by this or after this only: they do without that package where it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class OpenvinoClassifier:
    """An exported engine in OpenVINO.

    Args:
      engine: the engine; takes `input_ids` and `attention_mask`, (n_windows, longest) int64, and gives probabilities.
      tag_set: its tags.
      config: threads.

    Raises:
      CheckpointError: OpenVINO cannot load it.
    """

    def __init__(self, engine: Engine, tag_set: TagSet, config: BackendConfig) -> None:
        openvino = import_openvino()
        settings: dict[str, Any] = {
            # Streams of few threads: passes side by side wait less for stragglers than one pass on all cores does.
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": _INFERENCE_PRECISIONS[engine.card.precision],
            # Pinned, the threads of two processes share one core, for each pins its first thread to the first.
            "ENABLE_CPU_PINNING": False,
        }
        if config.threads:
            settings["INFERENCE_NUM_THREADS"] = config.threads
        try:
            self._model = openvino.Core().compile_model(engine.folder / MODEL_FILE, "CPU", settings)
        except RuntimeError as error:
            raise CheckpointError(f"cannot load engine {engine.card.name}: {' '.join(str(error).split())}") from error
        self._tag_set = tag_set
        self._in_flight = 2 * int(self._model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # Requests keep their memory, so they are made as often as passes overlap, not once for each.
        self._idle: deque[Any] = deque()

    @property
    def tag_set(self) -> TagSet:
        """Its tags, in the order of its outputs."""
        return self._tag_set

    @property
    def in_flight(self) -> int:
        """One pass for each stream, and another that waits for it."""
        return self._in_flight

    def submit(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        """Starts a forward pass; see `TokenClassifier.submit`."""
        with memory_errors_told():
            try:
                request = self._idle.pop()
            except IndexError:
                request = self._model.create_infer_request()
            request.start_async({"input_ids": ids, "attention_mask": padding_mask(lengths, ids.shape[1])})

        def fetch() -> FloatArray:
            with memory_errors_told():
                request.wait()
                probabilities: FloatArray = request.get_output_tensor(0).data.copy()
                self._idle.append(request)
                return probabilities

        return fetch
