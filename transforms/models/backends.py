"""The libraries that can run a model, and how they are told to."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from schemas.errors import ConfigError, DeviceError
from schemas.settings import check_type, check_types

PRECISIONS = {
    "torch": ("fp32", "bf16", "fp16"),
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
}
DEVICES = {"torch": ("cpu", "cuda"), "onnx": ("cpu", "cuda"), "openvino": ("cpu",)}
MOST_THREADS = 256
_BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}
_OUT_OF_MEMORY = ("bad allocation", "bad_alloc", "Failed to allocate", "out of memory", "could not allocate")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """What runs the model, where, and how exactly.

    Attributes:
      backend: torch, onnx or openvino.
      device: cpu or cuda, which may carry a number (cuda:1).
      precision: auto (fp32 on the CPU, bf16 in PyTorch on CUDA), fp32, bf16, fp16 or int8.
      threads: threads of one forward pass; 0 for one per core.
    """

    backend: str = "torch"
    device: str = "cpu"
    precision: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if self.backend not in PRECISIONS:
            raise ConfigError(f"expected the backend to be one of {tuple(PRECISIONS)}, found {self.backend!r}")
        if self.device.partition(":")[0] not in DEVICES[self.backend]:
            raise ConfigError(
                f"expected the device of backend {self.backend} to be one of {DEVICES[self.backend]}, "
                f"found {self.device!r}"
            )
        if self.precision not in ("auto", *PRECISIONS[self.backend]):
            raise ConfigError(
                f"expected the precision of backend {self.backend} to be auto or one of {PRECISIONS[self.backend]}, "
                f"found {self.precision!r}"
            )
        if not 0 <= self.threads <= MOST_THREADS:
            raise ConfigError(f"expected threads between 0 and {MOST_THREADS}, found {self.threads}")

    @property
    def resolved_precision(self) -> str:
        """The precision that `auto` stands for, which follows from the backend and the device alone."""
        if self.precision != "auto":
            return self.precision
        return "bf16" if self.backend == "torch" and self.device != "cpu" else "fp32"


def default_batch_tokens(device: str) -> int:
    """Padded tokens per batch on a device, where nobody has measured.

    >>> default_batch_tokens("cpu"), default_batch_tokens("cuda:1")
    (1024, 65536)
    """
    return _BATCH_TOKENS[device.partition(":")[0]]


def check_batch_tokens(batch_tokens: int) -> None:
    """Refuses a budget of padded tokens per batch that is none; 0 leaves the choice to us.

    Raises:
      ConfigError: it is less than 0, or no whole number.
    """
    check_type(batch_tokens, int, "batch_tokens")
    if batch_tokens < 0:
        raise ConfigError(f"expected 0 or more padded tokens in a batch, found {batch_tokens}")


@contextlib.contextmanager
def memory_errors_told() -> Iterator[None]:
    """What ONNX Runtime and OpenVINO say when memory runs out (try a smaller batch) or a device is broken (stop)."""
    try:
        yield
    except Exception as error:
        reason = str(error).partition("\n")[0]
        if any(sign in str(error) for sign in _OUT_OF_MEMORY):
            raise MemoryError(reason) from None
        if "CUDA failure" in str(error):
            raise DeviceError(f"the device failed and must be restarted: {reason}") from error
        raise


@contextlib.contextmanager
def torch_errors_told() -> Iterator[None]:
    """What PyTorch says when memory runs out (try a smaller batch) or a device is broken (stop)."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        reason = text.partition("\n")[0]
        if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in text:
            raise MemoryError(reason) from None
        if "CUDA error" in text or type(error).__name__ == "AcceleratorError":
            raise DeviceError(f"the device failed and must be restarted: {reason}") from error
        raise


def torch_type(config: BackendConfig) -> Any:
    """The number type of PyTorch that a precision stands for."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[config.resolved_precision]


def check_device(config: BackendConfig) -> None:
    """Refuses a device that is not there.

    Raises:
      ConfigError: CUDA is asked for and the backend finds no GPU.
    """
    if not config.device.startswith("cuda"):
        return
    if config.backend == "onnx":
        import onnxruntime

        found, version = "CUDAExecutionProvider" in onnxruntime.get_available_providers(), onnxruntime.__version__
        remedy = "pip install onnxruntime-gpu in place of onnxruntime"
    else:
        import torch

        found, version = torch.cuda.is_available(), torch.__version__
        remedy = "install a CUDA build of torch"
    if not found:
        raise ConfigError(
            f"expected a GPU for device {config.device}, found none ({config.backend} {version}); "
            f"set the device to cpu or {remedy}"
        )
