"""Weights and activations of an engine in int8.

ONNX Runtime scales activations by what each batch holds, so that nothing has to be calibrated; OpenVINO scales them by
what they were on calibration windows, after moving outliers into the weights (SmoothQuant, Xiao et al. 2023).
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import ConfigError
from transforms.export.fusion import save_graph
from transforms.export.graphs import ONNX_LIMIT_BYTES, quiet
from transforms.models.checkpoint import Checkpoint, read_tokenizer
from transforms.models.openvino_classifier import import_openvino
from transforms.models.tagger import IntArray
from transforms.text.tokens import ColumnTokenizer
from transforms.text.windows import WindowConfig, cut_windows

_BLOCK_TEXTS = 64
# How much of an outlier goes into the weights: with 0.95, as NNCF has it, the default model loses 0.33 points of F1,
# with this 0.06.
_SMOOTHING = 0.7


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Windows that int8 is calibrated on.

    Attributes:
      source: names of their files.
      windows: vocabulary ids of each, with special tokens.
    """

    source: str
    windows: tuple[IntArray, ...]

    def describe(self) -> dict[str, Any]:
        """What an engine's card says of it; nothing of the text."""
        digest = hashlib.sha256()
        for window in self.windows:
            digest.update(window.tobytes())
        return {
            "source": self.source,
            "windows": len(self.windows),
            "tokens": sum(map(len, self.windows)),
            "digest": digest.hexdigest(),
        }


def take_windows(
    checkpoint: Checkpoint, texts: Iterable[str], windows: WindowConfig, *, source: str, most: int
) -> Calibration:
    """The first windows of some texts; no more texts are read than those take.

    Args:
      checkpoint: whose tokenizer and limit count.
      texts: the texts, in order.
      windows: how they are cut, as in annotation.
      source: names of their files.
      most: how many windows.

    Raises:
      ConfigError: the texts have no tokens.
    """
    tokenizer = ColumnTokenizer(read_tokenizer(checkpoint.folder))
    taken: list[IntArray] = []
    waiting = iter(texts)
    while len(taken) < most and (block := list(itertools.islice(waiting, _BLOCK_TEXTS))):
        taken += _cut_block(tokenizer, block, windows)
    if not taken:
        raise ConfigError("expected text in --calibration, found none; check --text-column and --format")
    return Calibration(source, tuple(taken[:most]))


def quantize_onnx(path: Path) -> None:
    """Rewrites an ONNX graph in place with int8 products of matrices.

    Weights keep 7 bits, as sums of pairs of products overflow on processors without VNNI. Products that narrow stay in
    fp32: what leaves the activation of a feed-forward network has outliers, which one scale for a batch cannot hold.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    with quiet():
        quantize_dynamic(
            model,
            path,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=_find_narrowing(model),
            use_external_data_format=path.stat().st_size > ONNX_LIMIT_BYTES,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    save_graph(onnx.load(path), path)


def _find_narrowing(model: Any) -> list[str]:
    """Names of the products of an onnx.ModelProto with constant matrices of more rows than columns."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type == "MatMul" and len(shape := shapes.get(node.input[1], ())) == 2 and shape[0] > shape[1]:
            found.append(node.name)
    return found


def quantize_openvino(model: Any, calibration: Calibration, tell: Callable[[int], None]) -> Any:
    """An openvino.Model in fp32 to one in int8, by NNCF.

    Args:
      model: as `trace_openvino` gives it.
      calibration: the windows.
      tell: called with the number of windows that were run; NNCF runs each several times.
    """
    import_openvino()
    import nncf

    done = 0

    def build_inputs(window: IntArray) -> dict[str, IntArray]:
        nonlocal done
        done += 1
        tell(done)
        return {"input_ids": window[None], "attention_mask": np.ones((1, len(window)), dtype=np.int64)}

    with quiet():
        return nncf.quantize(
            model,
            nncf.Dataset(calibration.windows, build_inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration.windows),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING)
            ),
        )


def _cut_block(tokenizer: ColumnTokenizer, texts: list[str], config: WindowConfig) -> list[IntArray]:
    columns = tokenizer.tokenize(texts)
    prefix, suffix = tokenizer.prefix_ids, tokenizer.suffix_ids
    windows = cut_windows(
        columns.bounds,
        columns.starts_word,
        max_tokens=config.max_tokens - len(prefix) - len(suffix),
        overlap_tokens=config.overlap_tokens,
    )
    return [
        np.concatenate([prefix, columns.ids[first:last], suffix]).astype(np.int64)
        for first, last in zip(windows.first, windows.last, strict=True)
        if last > first
    ]
