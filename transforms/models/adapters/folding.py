"""Adapters computed into the weights of their base, so that the model runs as fast as if all of it had been trained.

    LoRA     W + s B A                                      s = alpha / rank             (Hu et al., 2022)
    rsLoRA   the same                                       s = alpha / sqrt(rank)       (Kalajdzievski, 2023)
    DoRA     m (W + s B A) / |W + s B A|                    norms of rows                (Liu et al., 2024)
    (IA)3    l W and l b for keys and values, W l for what enters the second product     (Liu et al., 2022)

Weights that were trained themselves, such as the head, take the place of the base's.
"""

import math
from collections.abc import Mapping
from typing import Any

from schemas.errors import CheckpointError
from transforms.models.adapters.stored import Adapter

_PARTS = (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector", ".ia3_l")


def fold_weights(weights: Mapping[str, Any], adapter: Adapter, *, head: set[str]) -> dict[str, Any]:
    """Weights of a base and an adapter to those of the model that they make, in single precision.

    Args:
      weights: those of the base by their names in the model; the head may be missing or of another shape.
      adapter: one that can be folded.
      head: names of the weights of the head, all of which the adapter must hold.

    Raises:
      CheckpointError: the adapter lacks weights, or holds some that have no place in the base.
    """
    trained = adapter.read_weights()
    check_head(trained, head, adapter)
    folded, parts = dict(weights), dict[str, dict[str, Any]]()
    for name, tensor in trained.items():
        module, part = _split(name)
        if part:
            parts.setdefault(module, {})[part] = tensor
        else:
            _check_place(name, tensor, weights, adapter, is_new=name in head)
            folded[name] = tensor
    for module, own in parts.items():
        weight = f"{module}.weight"
        if weight not in weights:
            raise CheckpointError(
                f"expected a weight {weight!r} in the base of adapter {adapter.folder.name!r}, found none; set the base"
            )
        try:
            if "ia3_l" in own:
                folded.update(_scale(weights, module, own["ia3_l"]))
            else:
                folded[weight] = _add(weights[weight].float(), own, _scaling(adapter))
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"expected whole parts that fit {module!r} in adapter {adapter.folder.name!r}, found {sorted(own)}"
            ) from error
    return folded


def check_head(trained: Mapping[str, Any], head: set[str], adapter: Adapter) -> None:
    """Refuses an adapter without the head that was trained with it.

    Raises:
      CheckpointError: naming what it lacks.
    """
    if missing := sorted(head - trained.keys()):
        raise CheckpointError(f"expected the head in adapter {adapter.folder.name!r}, found none of {missing}")


def _split(name: str) -> tuple[str, str]:
    """The module that a part belongs to, and which part it is; none where it is a weight of the model itself."""
    for part in _PARTS:
        if name.endswith(part):
            return name.removesuffix(part), part.removeprefix(".").removesuffix(".weight")
    return name, ""


def _check_place(name: str, tensor: Any, weights: Mapping[str, Any], adapter: Adapter, *, is_new: bool) -> None:
    found = tuple(weights[name].shape) if name in weights else None
    if not is_new and found != tuple(tensor.shape):
        raise CheckpointError(
            f"expected a weight {name!r} of shape {tuple(tensor.shape)} in the base of adapter "
            f"{adapter.folder.name!r}, found {found or 'none'}; set the base"
        )


def _scaling(adapter: Adapter) -> float:
    rank, alpha = adapter.config["r"], adapter.config["lora_alpha"]
    return float(alpha / math.sqrt(rank) if adapter.config.get("use_rslora") else alpha / rank)


def _add(weight: Any, parts: Mapping[str, Any], scaling: float) -> Any:
    """A weight with the product of a pair of LoRA added, and with DoRA's length of each row."""
    moved = weight + scaling * (parts["lora_B"] @ parts["lora_A"])
    if "lora_magnitude_vector" not in parts:
        return moved
    return moved * (parts["lora_magnitude_vector"] / moved.norm(dim=1))[:, None]


def _scale(weights: Mapping[str, Any], module: str, scale: Any) -> dict[str, Any]:
    """A weight scaled by row, with its bias, or by column: whichever way the vector stands."""
    scaled = {f"{module}.weight": weights[f"{module}.weight"].float() * scale}
    if scale.shape[0] > 1 and f"{module}.bias" in weights:
        scaled[f"{module}.bias"] = weights[f"{module}.bias"].float() * scale[:, 0]
    if scaled[f"{module}.weight"].shape != weights[f"{module}.weight"].shape:
        raise RuntimeError(f"shape {tuple(scale.shape)}")
    return scaled
