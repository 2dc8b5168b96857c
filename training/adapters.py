"""A trained adapter to a small checkpoint: what was trained, and the name of the base that it belongs to.

    adapter_config.json  adapter_model.safetensors  config.json  tokenizer.json  tokenizer_config.json

What peft trained is written by peft, so that peft reads it. `transforms.models.adapters` runs both kinds.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import ModelError
from training.crf import find_crf, save_crf, without_crf
from training.states import trained_weights
from transforms.models.adapters.bottleneck import is_bottleneck
from transforms.models.adapters.stored import BOTTLENECK, CONFIG_NAME, SELECTED, WEIGHTS_NAME

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def write_adapter(model: Any, tokenizer: "PreTrainedTokenizerBase", directory: Path, *, base: str, dtype: str) -> None:
    """Writes what was trained, with config and tokenizer of the whole.

    Args:
      model: a model that a method has made; it stays as it is.
      tokenizer: its tokenizer.
      directory: where to.
      base: the base model, as a person named it.
      dtype: float16 or float32.

    Raises:
      ModelError: the file does not hold what was trained.
    """
    from transformers import PreTrainedModel

    directory.mkdir(parents=True, exist_ok=True)
    if crf := find_crf(model):
        save_crf(crf, directory)
    if isinstance(model, PreTrainedModel):
        body, expected = model, _write_own(model, directory, base)
    else:
        body, expected = model.get_base_model(), _write_peft(model, directory, base)
    _check_written(expected, directory)
    if dtype == "float16":
        _narrow(directory)
    body.config.architectures = [type(body).__name__]
    body.config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _write_own(model: Any, directory: Path, base: str) -> dict[str, Any]:
    from safetensors.torch import save_file

    tensors = {name: weights.cpu().contiguous() for name, weights in without_crf(trained_weights(model)).items()}
    config = {
        "base_model_name_or_path": base,
        "peft_type": BOTTLENECK if any(map(is_bottleneck, tensors)) else SELECTED,
        "task_type": "TOKEN_CLS",
    }
    save_file(tensors, directory / WEIGHTS_NAME, metadata={"format": "pt"})
    (directory / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return tensors


def _write_peft(model: Any, directory: Path, base: str) -> dict[str, Any]:
    import peft

    for config in model.peft_config.values():
        config.base_model_name_or_path = base
    # Else it would ask the hub whether the vocabulary has grown.
    model.save_pretrained(directory, save_embedding_layers=False)
    return dict(peft.get_peft_model_state_dict(model, save_embedding_layers=False))


def _check_written(expected: dict[str, Any], directory: Path) -> None:
    import torch
    from safetensors.torch import load_file

    found = load_file(directory / WEIGHTS_NAME)
    differing = expected.keys() ^ found.keys()
    differing |= {name for name in expected.keys() & found.keys() if not torch.equal(expected[name].cpu(), found[name])}
    if differing:
        raise ModelError(f"expected what was trained in {WEIGHTS_NAME}, found other values of {sorted(differing)[:3]}")


def _narrow(directory: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = directory / WEIGHTS_NAME
    tensors = {name: weights.half() for name, weights in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
