"""The head of a tagger for other tags: rows of tags that it knows are kept, those of new tags begin anew.

Rows go by the names of their tags: labels are sorted, so a new one may come to stand between old ones.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from schemas.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Rows = list[tuple[int, int]]
"""Places of a tag among new tags and among old ones."""


def match_tags(old: Sequence[str], new: Sequence[str]) -> Rows:
    """Where the tags that both have stand.

    >>> match_tags(["O", "B-PER"], ["O", "B-LOC", "B-PER"])
    [(0, 0), (2, 1)]
    """
    return [(at, old.index(tag)) for at, tag in enumerate(new) if tag in old]


def find_output(model: "PreTrainedModel") -> tuple[str, Any]:
    """The layer that gives a logit per tag, with its name.

    Raises:
      CheckpointError: there is none.
    """
    import torch

    n_tags, body = model.config.num_labels, f"{model.base_model_prefix}."
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == n_tags and not name.startswith(body)
    ]
    if not found:
        raise CheckpointError(f"expected a layer of {n_tags} outputs in {type(model).__name__}, found none")
    return found[-1]


def extend_head(old: "PreTrainedModel", new: "PreTrainedModel") -> None:
    """Copies the weights of a tagger into one with other tags, whose own rows stay for tags that the old one lacks."""
    import torch

    rows = match_tags(list_tags(old.config), list_tags(new.config))
    output = f"{find_output(new)[0]}."
    targets = new.state_dict()
    with torch.no_grad():
        for name, weights in old.state_dict().items():
            if name.startswith(output):
                copy_rows(weights, targets[name], rows)
            else:
                targets[name].copy_(weights)


def copy_rows(old: "Tensor", new: "Tensor", rows: Rows) -> None:
    """Copies rows from one tensor to their places in another."""
    for at, place in rows:
        new[at] = old[place]


def list_tags(config: Any) -> tuple[str, ...]:
    """The tags of a model's config, in order."""
    return tuple(config.id2label[at] for at in sorted(config.id2label))


def is_tagger(config: Any) -> bool:
    """Whether a config is that of a token classifier."""
    return any("TokenClassification" in name for name in config.architectures or ())
