"""A checkpoint as a graph: token ids and their mask in, probabilities out, both dimensions of a batch left open.

    input_ids, attention_mask  (n_windows, longest) int64  ──>  probabilities  (n_windows, longest, n_tags) float32

For ONNX the model is traced by PyTorch's exporter with attention as one operator of ONNX Runtime, where the
architecture is known to mask nothing but padding; `fusion` then joins it with its projections. Other architectures
keep attention as their own operators. OpenVINO reads the PyTorch module itself.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.errors import CheckpointError
from transforms.models.openvino_classifier import import_openvino
from transforms.models.torch_classifier import load_model

OPSET = 20
ONNX_LIMIT_BYTES = 1_900_000_000
"""Weights beyond this lie in a file beside the graph, for one message of protobuf holds 2 GiB at most."""
FUSED_ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra")
"""Encoders whose attention sees all tokens that are not padding, and nothing but them."""

_ATTENTION = "onnxruntime"
_INPUTS = ("input_ids", "attention_mask")
_NOISY = ("torch.onnx", "torch.export", "nncf", "transformers", "root", "onnxscript")


def trace_onnx(folder: Path, path: Path, *, base: Path | None = None) -> None:
    """Writes the ONNX graph of a checkpoint, in fp32.

    Args:
      folder: the checkpoint.
      path: where the graph is written.
      base: the base, where the checkpoint is an adapter.

    Raises:
      CheckpointError: the checkpoint cannot be loaded, or its architecture cannot be traced.
    """
    import torch

    module = _build_module(folder, base, fuses=True)
    is_open = dict.fromkeys(range(2), torch.export.Dim.DYNAMIC)
    with quiet(), _errors_told(folder):
        program = torch.onnx.export(
            module,
            _example(module),
            dynamo=True,
            dynamic_shapes=dict.fromkeys(_INPUTS, is_open),
            input_names=_INPUTS,
            output_names=("probabilities",),
            opset_version=OPSET,
            verbose=False,
        )
        size_bytes = sum(weight.nbytes for weight in module.parameters())
        assert program is not None
        program.save(path, external_data=size_bytes > ONNX_LIMIT_BYTES)


def trace_openvino(folder: Path, *, base: Path | None = None) -> Any:
    """A checkpoint to an openvino.Model in fp32.

    Args:
      folder: the checkpoint.
      base: the base, where the checkpoint is an adapter.

    Raises:
      CheckpointError: the checkpoint cannot be loaded, or its architecture cannot be traced.
    """
    openvino = import_openvino()
    module = _build_module(folder, base, fuses=False)
    with quiet(), _errors_told(folder):
        example = dict(zip(_INPUTS, _example(module), strict=True))
        return openvino.convert_model(module, example_input=example)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps the exporters' prints, logs and warnings about themselves out of the terminal; errors are raised still."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _build_module(folder: Path, base: Path | None, *, fuses: bool) -> Any:
    """The checkpoint as a module from ids and mask to probabilities."""
    import torch

    model = load_model(folder, torch.float32, base=base).eval()
    if fuses and model.config.model_type in FUSED_ARCHITECTURES:
        _register_attention()
        model.set_attn_implementation(_ATTENTION)

    class Probabilities(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits.float().softmax(-1)

    return Probabilities()


def _example(module: Any) -> tuple[Any, Any]:
    """A padded batch of two windows, whose sizes are those of nothing else in a model."""
    import torch

    ids = torch.arange(2 * 11).reshape(2, 11) % (module.model.config.vocab_size - 5) + 4
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    return ids, mask


def _register_attention() -> None:
    """Names to transformers an attention that is traced as ONNX Runtime's operator, and the mask that goes with it."""
    import torch
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    def attend(_module: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> tuple[Any, None]:
        n_windows, n_heads, length, size = query.shape
        flat = [part.transpose(1, 2).reshape(n_windows, length, n_heads * size) for part in (query, key, value)]
        scale = options.get("scaling")
        attended = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (*flat, None, mask),
            {"num_heads": n_heads, "scale": float(size**-0.5 if scale is None else scale)},
            dtype=query.dtype,
            shape=(n_windows, length, n_heads * size),
            version=1,
        )
        return attended.reshape(n_windows, length, n_heads, size), None

    def keep_mask(*_: Any, attention_mask: Any, **__: Any) -> Any:
        return attention_mask.to(torch.int32)

    AttentionInterface.register(_ATTENTION, attend)
    AttentionMaskInterface.register(_ATTENTION, keep_mask)


@contextlib.contextmanager
def _errors_told(folder: Path) -> Iterator[None]:
    """An exporter's pages about what went wrong as one line."""
    try:
        yield
    except Exception as error:
        root: BaseException = error
        while root.__cause__:
            root = root.__cause__
        lines = str(root).strip().splitlines() or [type(root).__name__]
        raise CheckpointError(
            f"cannot trace model {folder.name!r}: {lines[0][:300]}; run it with --backend torch"
        ) from error
