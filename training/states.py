"""What is trained of a model, apart from what stays as it is: counted, kept in a file, and put back.

States between epochs hold no more than this, so that those of a small method are small. peft's own files would lack
the network that a prefix is made by.
"""

from pathlib import Path
from typing import Any

from schemas.errors import ModelError

_NAME = "trained.safetensors"


def trained_weights(model: Any) -> dict[str, Any]:
    """The weights that are trained, by name."""
    return {name: weights.detach() for name, weights in model.named_parameters() if weights.requires_grad}


def count_weights(model: Any) -> tuple[int, int]:
    """How many weights are trained, and how many there are in all."""
    # peft keeps the head as it was beside the one that is trained; it is no part of the model any more.
    sizes = [
        (weights.numel(), weights.requires_grad)
        for name, weights in model.named_parameters()
        if ".original_module." not in name
    ]
    return sum(size for size, is_trained in sizes if is_trained), sum(size for size, _ in sizes)


def save_state(model: Any, folder: Path) -> None:
    """Writes what is trained into a folder."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: weights.contiguous() for name, weights in trained_weights(model).items()}
    save_file(tensors, folder / _NAME, metadata={"format": "pt"})


def load_state(model: Any, folder: Path) -> None:
    """Puts back what was written.

    Raises:
      ModelError: it is not what is trained of this model.
    """
    from safetensors.torch import load_file

    tensors = load_file(folder / _NAME)
    if differing := sorted(tensors.keys() ^ trained_weights(model).keys()):
        raise ModelError(f"expected the state of the same training in {folder.name!r}, found others: {differing[:3]}")
    model.load_state_dict(tensors, strict=False)
