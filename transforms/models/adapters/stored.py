"""What lies in the folder of an adapter, the small checkpoint of a model whose base stays as it is.

    adapter_config.json        of which type it is, and of which base
    adapter_model.safetensors  what was trained: the adapter and the head

The types of peft are written by peft and read here without it; two types are our own.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from schemas.errors import CheckpointError

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
SELECTED = "SPANMILL_SELECTED"
"""Weights of the model itself, some of which were trained."""
BOTTLENECK = "SPANMILL_BOTTLENECK"
"""Small networks after layers of the model."""
PROMPT = "PROMPT_TUNING"
PREFIX = "PREFIX_TUNING"
_FOLDED = ("LORA", "IA3", SELECTED)
# So peft names what lies within its own model around ours.
_PREFIXES = {"LORA": "base_model.model.", "IA3": "base_model.model.", PROMPT: "base_model.", PREFIX: "base_model."}
_TYPES = (*_FOLDED, BOTTLENECK, PROMPT, PREFIX)
# Options of peft that change the computation, with the values that are known here; an option that is absent has one.
_KNOWN_VALUES: dict[str, tuple[Any, ...]] = {
    "alpha_pattern": ({}, None),
    "alora_invocation_tokens": (None,),
    "bias": ("none",),
    "fan_in_fan_out": (False,),
    "layer_replication": (None,),
    "lora_bias": (False,),
    "num_transformer_submodules": (1,),
    "rank_pattern": ({}, None),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "use_bdlora": (None, False),
    "use_qalora": (False,),
}


@dataclasses.dataclass(frozen=True)
class Adapter:
    """An adapter on this machine.

    Attributes:
      folder: where it is.
      kind: its type, as `peft_type` in its config.
      base: the base model, as it was named at training.
      config: the content of its config.
    """

    folder: Path
    kind: str
    base: str
    config: Mapping[str, Any]

    @property
    def is_folded(self) -> bool:
        """Whether it can be computed into the weights of its base."""
        return self.kind in _FOLDED

    @property
    def virtual_tokens(self) -> int:
        """How many places of a window it takes for itself."""
        return int(self.config["num_virtual_tokens"]) if self.kind in (PROMPT, PREFIX) else 0

    def read_weights(self) -> dict[str, Any]:
        """Its tensors in single precision, by the names that they have in the model.

        Raises:
          CheckpointError: the file cannot be read.
        """
        prefix = _PREFIXES.get(self.kind, "")
        try:
            with safe_open(self.folder / WEIGHTS_NAME, framework="pt") as file:
                return {name.removeprefix(prefix): file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read {WEIGHTS_NAME} of adapter {self.folder.name!r}: {error}") from error


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no weights of a whole model."""
    return (folder / CONFIG_NAME).is_file() and not any(folder.glob("model*.safetensors"))


def read_adapter(folder: Path) -> Adapter:
    """The adapter in a folder.

    Raises:
      CheckpointError: it is incomplete, or of a type that cannot be run.
    """
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        kind, base = config["peft_type"], config["base_model_name_or_path"]
        adapter = Adapter(folder, kind, base, config)
        is_sound = isinstance(base, str) and bool(base) and adapter.virtual_tokens >= 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot read {CONFIG_NAME} of adapter {folder.name!r}: {error!r}") from error
    if not is_sound:
        raise CheckpointError(f"expected the name of a base model in {CONFIG_NAME} of {folder.name!r}, found {base!r}")
    if kind not in _TYPES:
        raise CheckpointError(f"expected an adapter of type {', '.join(_TYPES)} in {folder.name!r}, found {kind!r}")
    if changed := [name for name, known in _KNOWN_VALUES.items() if config.get(name, known[0]) not in known]:
        raise CheckpointError(
            f"expected the usual values of {changed} in {CONFIG_NAME} of {folder.name!r}, found others; "
            "merge the adapter into its base with peft"
        )
    if not (folder / WEIGHTS_NAME).is_file():
        raise CheckpointError(f"expected {WEIGHTS_NAME} in adapter {folder.name!r}, found none")
    return adapter
