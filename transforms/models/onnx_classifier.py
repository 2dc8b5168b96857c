"""Token classification with ONNX Runtime, on the CPU or through its CUDA execution provider; without PyTorch."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from schemas.errors import CheckpointError
from schemas.labels import TagSet
from transforms.models.backends import BackendConfig, check_device, memory_errors_told
from transforms.models.engines import Engine
from transforms.models.tagger import FloatArray, IntArray
from transforms.text.packing import padding_mask

MODEL_FILE = "model.onnx"


class OnnxClassifier:
    """An exported engine in ONNX Runtime.

    Args:
      engine: the engine; takes `input_ids` and `attention_mask`, (n_windows, longest) int64, and gives probabilities.
      tag_set: its tags.
      config: device and threads.

    Raises:
      CheckpointError: ONNX Runtime cannot load it.
      ConfigError: the device is not there.
    """

    def __init__(self, engine: Engine, tag_set: TagSet, config: BackendConfig) -> None:
        import onnxruntime

        check_device(config)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # It would keep a plan of memory for every shape of batch, and there are many.
        options.enable_mem_pattern = False
        device, _, number = config.device.partition(":")
        providers = [("CUDAExecutionProvider", {"device_id": number or "0"})] if device == "cuda" else []
        try:
            self._session = onnxruntime.InferenceSession(
                str(engine.folder / MODEL_FILE), options, providers=[*providers, "CPUExecutionProvider"]
            )
        except Exception as error:
            raise CheckpointError(f"cannot load engine {engine.card.name}: {' '.join(str(error).split())}") from error
        self._tag_set = tag_set
        # One pass at a time, with all threads, while its caller goes on with the batch before.
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="forward")

    @property
    def tag_set(self) -> TagSet:
        """Its tags, in the order of its outputs."""
        return self._tag_set

    @property
    def in_flight(self) -> int:
        """One pass that runs, and another that waits for it."""
        return 2

    def submit(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        """Starts a forward pass; see `TokenClassifier.submit`."""
        return self._queue.submit(self._run, ids, lengths).result

    def _run(self, ids: IntArray, lengths: IntArray) -> FloatArray:
        with memory_errors_told():
            inputs = {"input_ids": ids, "attention_mask": padding_mask(lengths, ids.shape[1])}
            probabilities: FloatArray = self._session.run(None, inputs)[0]
            return probabilities
