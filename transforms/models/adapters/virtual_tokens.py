"""Virtual tokens: vectors that stand before a text, as its first tokens or within attention, and belong to no word.

    prompt   e1 ... en | [CLS] Jo slept [SEP]     embeddings before those of the text    (Lester et al., 2021)
    prefix   keys and values in every layer       which the text attends to              (Li and Liang, 2021)

Both shift the positions of the text, so that a window has n tokens less. The model answers for the text only.
"""

from collections.abc import Callable
from typing import Any

_NAME = "virtual_tokens"


def prepend_prompt(model: Any, prompt: Any) -> None:
    """Puts embeddings (n, width) before every text that a model reads, in place."""
    _keep(model, prompt)
    model.register_forward_pre_hook(_embed, with_kwargs=True)
    model.register_forward_hook(cut_logits(len(prompt)))


def prepend_prefix(model: Any, prefix: Any) -> None:
    """Puts keys and values (n, n_layers * 2 * hidden) before every text within attention, in place."""
    _keep(model, prefix)
    model.register_forward_pre_hook(_remember, with_kwargs=True)


def cut_logits(n_tokens: int) -> Callable[[Any, Any, Any], Any]:
    """A hook that takes the answers for the first tokens away."""

    def cut(_model: Any, _inputs: Any, output: Any) -> Any:
        output.logits = output.logits[:, n_tokens:]
        return output

    return cut


def _keep(model: Any, vectors: Any) -> None:
    import torch

    like = model.get_input_embeddings().weight
    model.register_parameter(_NAME, torch.nn.Parameter(vectors.to(like.device, like.dtype), requires_grad=False))


def _embed(model: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch

    ids, mask, options = _take(model, inputs, options)
    prompt = getattr(model, _NAME).expand(len(ids), -1, -1)
    options["inputs_embeds"] = torch.cat([prompt, model.get_input_embeddings()(ids)], 1)
    return (), {**options, "attention_mask": mask}


def _remember(model: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    from transformers import DynamicCache

    ids, mask, options = _take(model, inputs, options)
    config, vectors = model.config, getattr(model, _NAME)
    shape = (config.num_hidden_layers, 2, config.num_attention_heads, -1)
    # (n_layers, 2, n_heads, n_tokens, head_size)
    heads = vectors.unflatten(1, shape).permute(1, 2, 3, 0, 4)
    cache = DynamicCache()
    for index, (key, value) in enumerate(heads):
        cache.update(key.expand(len(ids), -1, -1, -1), value.expand(len(ids), -1, -1, -1), index)
    return (), {**options, "input_ids": ids, "attention_mask": mask, "past_key_values": cache}


def _take(model: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Token ids, and a mask that covers the virtual tokens too; what else there is for the model."""
    import torch

    options = dict(options)
    ids = inputs[0] if inputs else options.pop("input_ids")
    mask = options.pop("attention_mask", None)
    mask = torch.ones_like(ids) if mask is None else mask
    ahead = mask.new_ones(len(ids), len(getattr(model, _NAME)))
    return ids, torch.cat([ahead, mask], 1), options
