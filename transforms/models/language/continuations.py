"""Forward passes of a batch of prompts through transformers' models, causal and seq2seq."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transforms.models.language.attention import beginning, build_growing_cache
from transforms.models.language.prefixes import Ids, Layers, Shared

if TYPE_CHECKING:
    import torch


class CausalContinuation:
    """A model that goes on with the prompt itself.

    A row is the shared beginning, then padding, then what the prompt has of its own. Padding is masked, and positions
    are counted without it, so that a token's are the same as in a prompt that is alone.

    Args:
      model: a causal language model in inference mode.
      shared: the beginning of all prompts.
      rests: ids of each prompt after it, at least one.
      is_kept_once: whether the model attends to the beginning as it is (see `attention`), in place of a copy per row.
    """

    def __init__(self, model: Any, shared: Shared, rests: Sequence[Ids], *, is_kept_once: bool = False) -> None:
        import torch

        self._model = model
        longest = max(map(len, rests))
        padded = [[0] * (longest - len(rest)) + list(rest) for rest in rests]
        n_copied = 0 if is_kept_once else shared.n_tokens
        mask = [[1] * n_copied + [0] * (longest - len(rest)) + [1] * len(rest) for rest in rests]
        self._ids = torch.tensor(padded, device=model.device)
        self._mask = torch.tensor(mask, device=model.device)
        self._beginning = shared.layers if is_kept_once else []
        self._first = shared.n_tokens - n_copied
        self._cache = (
            build_growing_cache(model) if is_kept_once else build_cache(model, shared.layers, n_rows=len(rests))
        )

    def start(self) -> "torch.Tensor":
        """See `Continuation`."""
        return self._forward(self._ids)

    def step(self, tokens: "torch.Tensor") -> "torch.Tensor":
        """See `Continuation`."""
        import torch

        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        return self._forward(tokens[:, None])

    def keep(self, rows: "torch.Tensor") -> None:
        """See `Continuation`."""
        self._mask = self._mask[rows]
        self._cache.batch_select_indices(rows)

    def _forward(self, ids: "torch.Tensor") -> "torch.Tensor":
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :] + self._first
        with beginning(self._beginning):
            output = self._model(
                input_ids=ids,
                attention_mask=self._mask,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                **last_only(self._model),
            )
        last: torch.Tensor = output.logits[:, -1]
        return last


class Seq2SeqContinuation:
    """A model that reads the prompt with an encoder and answers with a decoder.

    Args:
      model: a seq2seq language model in inference mode.
      prompts: ids of each prompt.
    """

    def __init__(self, model: Any, prompts: Sequence[Ids]) -> None:
        import torch
        import transformers

        self._model = model
        longest = max(map(len, prompts))
        pad = model.config.pad_token_id or 0
        ids = torch.tensor([list(prompt) + [pad] * (longest - len(prompt)) for prompt in prompts], device=model.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
        self._mask = (torch.arange(longest, device=model.device) < lengths[:, None]).long()
        self._encoded = model.get_encoder()(input_ids=ids, attention_mask=self._mask)[0]
        self._cache = transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())

    def start(self) -> "torch.Tensor":
        """See `Continuation`."""
        settings = self._model.generation_config
        first = [settings.decoder_start_token_id, settings.forced_bos_token_id]
        ids = self._mask.new_tensor([[id_ for id_ in first if id_ is not None]])
        return self._forward(ids.expand(len(self._mask), -1))

    def step(self, tokens: "torch.Tensor") -> "torch.Tensor":
        """See `Continuation`."""
        return self._forward(tokens[:, None])

    def keep(self, rows: "torch.Tensor") -> None:
        """See `Continuation`."""
        self._mask, self._encoded = self._mask[rows], self._encoded[rows]
        self._cache.batch_select_indices(rows)

    def _forward(self, ids: "torch.Tensor") -> "torch.Tensor":
        output = self._model(
            encoder_outputs=(self._encoded,),
            attention_mask=self._mask,
            decoder_input_ids=ids,
            past_key_values=self._cache,
            use_cache=True,
        )
        last: torch.Tensor = output.logits[:, -1]
        return last


def extend_layers(model: Any, known: Layers, ids: Ids) -> Layers:
    """Keys and values of the ids after some whose own are known, to those of both; see `PrefixStore`."""
    import torch

    n_known = known[0][0].shape[2] if known else 0
    cache = build_cache(model, known, n_rows=1)
    model(
        input_ids=torch.tensor([ids], device=model.device),
        attention_mask=torch.ones((1, n_known + len(ids)), dtype=torch.long, device=model.device),
        position_ids=torch.arange(n_known, n_known + len(ids), device=model.device)[None],
        past_key_values=cache,
        use_cache=True,
        **last_only(model),
    )
    return [(layer.keys, layer.values) for layer in cache.layers]


def has_plain_attention(model: Any) -> bool:
    """Whether each layer keeps keys and values of every token, so that they can be padded, shared and cut."""
    import transformers

    layers = transformers.DynamicCache(config=model.config).layers
    stateful = getattr(model, "_is_stateful", False)
    return not stateful and all(type(layer).__name__ == "DynamicLayer" for layer in layers)


def build_cache(model: Any, layers: Layers, *, n_rows: int) -> Any:
    """A cache of transformers that begins with the same keys and values in every row."""
    import transformers

    cache = transformers.DynamicCache(config=model.config)
    for at, (keys, values) in enumerate(layers):
        cache.update(keys.expand(n_rows, -1, -1, -1), values.expand(n_rows, -1, -1, -1), at)
    return cache


def last_only(model: Any) -> dict[str, int]:
    """What tells a model to compute logits of the last position alone; those of a long prompt would fill the memory."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
