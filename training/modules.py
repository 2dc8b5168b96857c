"""Where the parts of an encoder are, by the names that transformers has for them.

layer:  query key value ──> attention ──> mixing ──> widening ──> activation ──> narrowing
"""

import re
import warnings
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from schemas.errors import ConfigError
from training.crf import find_crf

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARTS = ("query", "key", "value", "mixing", "widening", "narrowing")
"""The linear layers of a layer of the encoder: those of attention, then those of the feed-forward network."""

_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mixing": "attention.output.dense",
    "widening": "intermediate.dense",
    "narrowing": "output.dense",
}
_DISTILBERT = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "mixing": "attention.out_lin",
    "widening": "ffn.lin1",
    "narrowing": "ffn.lin2",
}
_DEBERTA = {**_BERT, **{part: f"attention.self.{part}_proj" for part in ("query", "key", "value")}}
_MPNET = {
    **_BERT,
    **{part: f"attention.attn.{part[0]}" for part in ("query", "key", "value")},
    "mixing": "attention.attn.o",
}
# One product gives all three.
_MODERNBERT = {
    **dict.fromkeys(("query", "key", "value"), "attn.Wqkv"),
    "mixing": "attn.Wo",
    "widening": "mlp.Wi",
    "narrowing": "mlp.Wo",
}
_NAMES = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": _DISTILBERT,
    "deberta-v2": _DEBERTA,
    "mpnet": _MPNET,
    "modernbert": _MODERNBERT,
}


def check_parts(parts: Collection[str], *, option: str) -> None:
    """Refuses names of parts that no layer has.

    Raises:
      ConfigError: naming those that there are.
    """
    if not parts or not set(parts) <= set(PARTS):
        raise ConfigError(f"expected {option} of {'+'.join(PARTS)}, found {'+'.join(parts) or 'none'!r}")


def find_parts(model: "PreTrainedModel", parts: Sequence[str]) -> str:
    """A pattern that the full names of some parts of every layer match, and nothing else in the model.

    Raises:
      ConfigError: where they are is not known for this kind of model, or they are one with others there.
    """
    kind = model.config.model_type
    if kind not in _NAMES:
        raise ConfigError(
            f"expected a base model of the kinds {', '.join(_NAMES)} for this --method, found {kind!r}; "
            "frozen, bitfit and full train others too"
        )
    wanted = dict.fromkeys(_NAMES[kind][part] for part in parts)
    if joined := [part for part in PARTS if part not in parts and _NAMES[kind][part] in wanted]:
        raise ConfigError(
            f"expected {'+'.join(parts)} as layers of their own for this --method, found them one with "
            f"{'+'.join(joined)} in a base model of kind {kind!r}"
        )
    names = "|".join(map(re.escape, wanted))
    return rf"{re.escape(find_layers(model)[0])}\.\d+\.({names})"


def find_layers(model: "PreTrainedModel") -> tuple[str, Any]:
    """The list of an encoder's layers, with its name.

    Raises:
      ConfigError: there is none.
    """
    import torch

    wanted = model.config.num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted and not name.startswith("classifier"):
            return name, module
    raise ConfigError(f"expected a list of {wanted} layers in a model of kind {model.config.model_type!r}, found none")


def find_head(model: "PreTrainedModel") -> list[str]:
    """Names of the modules beside the encoder that have weights; what a CRF learns is kept apart (see training.crf)."""
    crf = find_crf(model)
    return [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and module is not crf and any(True for _ in module.parameters())
    ]


def train_only(model: "PreTrainedModel", names: Collection[str]) -> None:
    """Makes some weights trainable, and those of the head; all others stay as they are."""
    head = tuple(f"{name}." for name in find_head(model))
    for name, weights in model.named_parameters():
        weights.requires_grad_(name in names or name.startswith(head))


def wrap_model(model: "PreTrainedModel", config: Any) -> Any:
    """A model and a config of peft to peft's model around it, whose head is trained too."""
    import peft

    config.task_type = peft.TaskType.TOKEN_CLS
    # It adds these two of its own accord.
    config.modules_to_save = [name for name in find_head(model) if name not in ("classifier", "score")] or None
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5.23 by an old name whether it keeps activations.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        return peft.get_peft_model(model, config)
