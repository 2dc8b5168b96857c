"""Bottleneck adapters: a small network after a linear layer, added to what the layer gives (Houlsby et al., 2019).

    linear ──┬──> down ──> GELU ──> up ──>(+)──> dropout, residual, normalisation as before
             └─────────────────────────────┘

`up` begins as zero, so that a model with fresh adapters answers as it did without.
"""

from collections.abc import Mapping
from typing import Any

_PART = "bottleneck"


def insert_bottlenecks(model: Any, sizes: Mapping[str, int]) -> None:
    """Puts an adapter after some linear layers of a model, in place.

    Args:
      model: a model of PyTorch.
      sizes: the width of the adapter by the name of the layer.
    """
    import torch

    for name, size in sizes.items():
        linear = model.get_submodule(name)
        width, place = linear.out_features, {"device": linear.weight.device, "dtype": linear.weight.dtype}
        down, up = torch.nn.Linear(width, size, **place), torch.nn.Linear(size, width, **place)
        torch.nn.init.zeros_(up.weight)
        torch.nn.init.zeros_(up.bias)
        linear.add_module(_PART, torch.nn.Sequential(down, torch.nn.GELU(), up))
        linear.register_forward_hook(_add)


def read_sizes(weights: Mapping[str, Any]) -> dict[str, int]:
    """The widths of adapters by the names of their layers, from their weights."""
    ending = f".{_PART}.0.weight"
    return {name.removesuffix(ending): len(weight) for name, weight in weights.items() if name.endswith(ending)}


def is_bottleneck(name: str) -> bool:
    """Whether a weight of that name belongs to an adapter."""
    return f".{_PART}." in name


def _add(linear: Any, _inputs: Any, output: Any) -> Any:
    return output + linear.get_submodule(_PART)(output)
