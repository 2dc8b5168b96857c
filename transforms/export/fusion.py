"""Fusing attention with its projections in an ONNX graph.

    x ─┬─ MatMul ─ Add ─ Reshape ─ Reshape ─┐
       ├─ MatMul ─ Add ─ Reshape ─ Reshape ─ MultiHeadAttention      x ── Attention
       └─ MatMul ─ Add ─ Reshape ─ Reshape ─┘

One product of matrices takes the place of three, and quantization then finds one, too. What else can be fused
(normalization with the sum before it, activation with its bias) ONNX Runtime fuses when it loads the graph. The
operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.export.graphs import ONNX_LIMIT_BYTES

_PROJECTIONS, _MASK = 3, 4


@dataclasses.dataclass(frozen=True, eq=False)
class _Projection:
    """Where a query, key or value comes from.

    Attributes:
      source: name of what is multiplied.
      weight: (n_in, n_out).
      bias: (n_out,).
    """

    source: str
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def fuse_attention(path: Path) -> int:
    """Rewrites a graph in place and returns how many attentions were fused; the others stay as they are.

    Args:
      path: an ONNX graph, as `trace_onnx` writes it.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    constants = {constant.name: constant for constant in graph.initializer}
    fused = 0
    for node in graph.node:
        if node.op_type != "MultiHeadAttention":
            continue
        found = [_find_projection(name, producers, constants) for name in node.input[:_PROJECTIONS]]
        projections = [projection for projection in found if projection]
        if len(projections) == _PROJECTIONS and len({projection.source for projection in projections}) == 1:
            _join(graph, node, projections)
            fused += 1
    _drop_unused(graph)
    save_graph(model, path)
    return fused


def save_graph(model: Any, path: Path) -> None:
    """Writes an onnx.ModelProto, with large weights in a file beside it."""
    import onnx

    is_large = sum(len(constant.raw_data) for constant in model.graph.initializer) > ONNX_LIMIT_BYTES
    beside = path.with_name(f"{path.name}.data")
    # onnx would append to what is there.
    beside.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=is_large, location=beside.name)


def _find_projection(name: str, producers: dict[str, Any], constants: dict[str, Any]) -> _Projection | None:
    """The linear layer that a value comes from, through reshapes that only split and join heads."""
    from onnx import numpy_helper

    node = producers.get(name)
    while node is not None and node.op_type == "Reshape":
        node = producers.get(node.input[0])
    if node is None or node.op_type != "Add":
        return None
    biases = [operand for operand in node.input if operand in constants]
    products = [producers[operand] for operand in node.input if operand in producers]
    if len(biases) != 1 or len(products) != 1 or products[0].op_type != "MatMul":
        return None
    source, weight = products[0].input
    if weight not in constants:
        return None
    return _Projection(
        source, numpy_helper.to_array(constants[weight]), numpy_helper.to_array(constants[biases[0]]).reshape(-1)
    )


def _join(graph: Any, node: Any, projections: list[_Projection]) -> None:
    """Makes of a MultiHeadAttention an Attention that holds its projections."""
    from onnx import numpy_helper

    weight, bias, mask = f"{node.name}.weight", f"{node.name}.bias", node.input[_MASK]
    graph.initializer.append(numpy_helper.from_array(np.concatenate([p.weight for p in projections], axis=1), weight))
    graph.initializer.append(numpy_helper.from_array(np.concatenate([p.bias for p in projections]), bias))
    node.op_type = "Attention"
    del node.input[:]
    node.input.extend([projections[0].source, weight, bias, mask])


def _drop_unused(graph: Any) -> None:
    """Removes the nodes and constants that nothing reads any more, and types of values that are gone."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    constants = [constant for constant in graph.initializer if constant.name in needed]
    for field, values in (("node", kept[::-1]), ("initializer", constants), ("value_info", [])):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        graph.ClearField(field)
        getattr(graph, field).extend(copies)
