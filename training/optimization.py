"""Which weights are changed how fast: the groups of parameters that an optimizer is given.

    embeddings   layer 0   layer 1 ... layer n-1   head
    r * d^(n+1)  r * d^n   r * d^(n-1)   r * d     r        with rate r and layer decay d

What lies deep knows the language and shall change least; the head knows nothing yet (discriminative fine-tuning, Howard
and Ruder, 2018; in this form by Clark et al., 2020, ELECTRA). Biases and norms do not decay.

The scores of a conditional random field begin at 0 and have to become several units large, which the small rates of an
encoder never get them to in time: they have a rate of their own and do not decay.
"""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from training.config import TrainConfig
from training.crf import is_crf

if TYPE_CHECKING:
    from torch import nn

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_EMBEDDINGS = re.compile(r"embed|wte|wpe")


def group_parameters(model: "nn.Module", decayed: Collection[str], config: TrainConfig) -> list[dict[str, Any]]:
    """The trainable parameters of a model in groups with a rate and a decay each.

    The group of the head comes first, and the order never changes.

    Args:
      model: the model; what is frozen in it is left out.
      decayed: names of the parameters whose weights decay.
      config: rates and decays.
    """
    trained = {name: weights for name, weights in model.named_parameters() if weights.requires_grad}
    depths = measure_depths([name for name, _ in model.named_parameters()])
    top = max(depths.values())
    groups: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    for name, weights in trained.items():
        rate = config.learning_rate * config.layer_decay ** (top - depths[name])
        decay = config.weight_decay if name in decayed else 0.0
        key = (False, config.crf_learning_rate, 0.0) if is_crf(name) else (True, rate, decay)
        groups.setdefault(key, []).append(weights)
    return [
        {"params": weights, "lr": rate, "weight_decay": decay}
        for (_, rate, decay), weights in sorted(groups.items(), key=lambda group: group[0], reverse=True)
    ]


def measure_depths(names: Collection[str]) -> dict[str, int]:
    """How far from the text each parameter is: embeddings 0, the layers from 1 on, all else above the last.

    >>> measure_depths(["bert.embeddings.word.weight", "bert.encoder.layer.0.output.bias", "classifier.bias"])
    {'bert.embeddings.word.weight': 0, 'bert.encoder.layer.0.output.bias': 1, 'classifier.bias': 2}
    """
    layers = {name: int(match[1]) + 1 for name in names if (match := _LAYER.search(name))}
    top = max(layers.values(), default=0) + 1
    return {name: layers.get(name, 0 if _EMBEDDINGS.search(name) else top) for name in names}
