"""Token classification with PyTorch: any safetensors checkpoint that transformers' auto class loads."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.errors import CheckpointError, ModelError
from schemas.labels import TagSet
from transforms.models.backends import BackendConfig, check_device
from transforms.models.tagger import FloatArray, IntArray
from transforms.text.packing import padding_mask


class TorchClassifier:
    """A transformers token-classification model on one device.

    Args:
      folder: the checkpoint.
      tag_set: its tags.
      config: device, precision and threads.

    Raises:
      CheckpointError: the weights do not fill the model.
      ConfigError: the device is not there.
    """

    def __init__(self, folder: Path, tag_set: TagSet, config: BackendConfig) -> None:
        # oneDNN keeps code for each of the last 1,024 shapes, and batches come in many: memory would grow for long.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        import torch

        check_device(config)
        if config.threads:
            torch.set_num_threads(config.threads)
        self._torch = torch
        self._tag_set = tag_set
        self._device = torch.device(config.device)
        self._lock = threading.Lock()
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.resolved_precision]
        self._model = load_model(folder, dtype).to(self._device).eval()

    @property
    def tag_set(self) -> TagSet:
        """Its tags, in the order of its outputs."""
        return self._tag_set

    def submit(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        """Starts a forward pass; see `TokenClassifier.submit`. On CUDA all copies are asynchronous."""
        with _ErrorTranslation():
            return self._submit_cuda(ids, lengths) if self._device.type == "cuda" else self._run_cpu(ids, lengths)

    def _run_cpu(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        torch = self._torch
        with torch.inference_mode():
            logits = self._model(torch.from_numpy(ids), attention_mask=self._mask(ids, lengths)).logits
            probabilities: FloatArray = logits.float().softmax(-1).numpy()
        return lambda: probabilities

    def _submit_cuda(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        torch = self._torch
        mask = self._mask(ids, lengths)
        with torch.inference_mode(), self._lock:
            on_device = torch.from_numpy(ids).pin_memory().to(self._device, non_blocking=True)
            if mask is not None:
                mask = mask.pin_memory().to(self._device, non_blocking=True)
            probabilities = self._model(on_device, attention_mask=mask).logits.float().softmax(-1)
            host = torch.empty(probabilities.shape, dtype=torch.float32, pin_memory=True)
            host.copy_(probabilities, non_blocking=True)
            done = torch.cuda.Event()
            done.record()

        def fetch() -> FloatArray:
            with _ErrorTranslation():
                done.synchronize()
                result: FloatArray = host.numpy()
                return result

        return fetch

    def _mask(self, ids: IntArray, lengths: IntArray) -> Any:
        """Attention mask (n_windows, longest), or None when nothing is padded."""
        if int(lengths.min()) == ids.shape[1]:
            return None
        return self._torch.from_numpy(padding_mask(lengths, ids.shape[1]))


def load_model(folder: Path, dtype: Any) -> Any:
    """A checkpoint folder to a transformers model, from safetensors only and without its code.

    Raises:
      CheckpointError: transformers cannot load it, or weights are missing from it.
    """
    import transformers

    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, info = transformers.AutoModelForTokenClassification.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"cannot load model {folder.name!r}: {' '.join(str(error).split())}") from error
    finally:
        transformers.logging.set_verbosity(level)
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"expected every weight in model {folder.name!r}, found none for {missing[:4]}; "
            "is it a token-classification checkpoint?"
        )
    return model


class _ErrorTranslation:
    """Tells memory that ran out (try a smaller batch) from a device that is broken (stop)."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if not isinstance(error, RuntimeError):
            return
        text = str(error)
        if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
            raise MemoryError(text.partition("\n")[0]) from None
        if "CUDA error" in text or type(error).__name__ == "AcceleratorError":
            raise ModelError(f"the device failed and must be restarted: {text.partition(chr(10))[0]}") from error
