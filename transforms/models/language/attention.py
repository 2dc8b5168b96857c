"""Attention to a beginning that all rows of a batch share, whose keys and values are kept once.

    query ──> keys of the beginning, one product for all rows ─┐
          ──> keys of the row ─────────────────────────────────┴─> softmax ──> values of both ──> output

transformers' own attention wants the beginning copied into the cache of every row, and its cache copies itself for
every token. Here a step reads the beginning once, whatever the number of rows, and appends to a cache in place: after
Juravsky et al. (2024), "Hydragen: High-Throughput LLM Inference with Shared Prefixes".
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from transforms.models.language.prefixes import Layers

if TYPE_CHECKING:
    import torch

_NAME = "spanmill_shared_beginning"
_BEGINNING: contextvars.ContextVar[Layers | None] = contextvars.ContextVar("beginning", default=None)
_ROOM = 64
# What a model may ask for beside a mask and a scale, which a step here knows nothing of.
_UNKNOWN = ("softcap", "s_aux", "position_bias", "sliding_window")


def share_beginnings(model: Any) -> bool:
    """Lets a model attend to a shared beginning, and returns whether it can."""
    import transformers
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    if not getattr(model, "_supports_attention_backend", False) or model.config._attn_implementation != "sdpa":
        return False

    def attend(
        module: Any,
        query: "torch.Tensor",
        key: "torch.Tensor",
        value: "torch.Tensor",
        attention_mask: "torch.Tensor | None",
        **options: Any,
    ) -> tuple["torch.Tensor", None]:
        layers = _BEGINNING.get()
        if not layers:
            return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        keys, values = layers[module.layer_idx]
        if query.shape[2] == 1 and all(options.get(name) is None for name in _UNKNOWN):
            scale = options.get("scaling") or query.shape[-1] ** -0.5
            return _step(query * scale, (keys, values), (key, value), attention_mask), None
        mask = _extend_mask(attention_mask, (query.shape[2], key.shape[2]), keys.shape[2])
        key, value = _join(keys, key), _join(values, value)
        return sdpa_attention_forward(module, query, key, value, mask.to(query.device), **options)

    transformers.AttentionInterface.register(_NAME, attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
    return True


@contextlib.contextmanager
def beginning(layers: Layers) -> Iterator[None]:
    """Passes in here go on from a beginning: all rows see all of its tokens.

    Args:
      layers: its keys and values, (1, heads, tokens, size); none for passes that begin with nothing.
    """
    token = _BEGINNING.set(layers)
    try:
        yield
    finally:
        _BEGINNING.reset(token)


def build_growing_cache(model: Any) -> Any:
    """An empty cache of transformers that appends in place.

    The layers of its own concatenate, and so copy all keys and values of all rows for every token.
    """
    import transformers

    class GrowingLayer(transformers.cache_utils.DynamicLayer):
        """Keys and values as views into room that is doubled when it is full."""

        def update(
            self, key_states: "torch.Tensor", value_states: "torch.Tensor", *_: Any, **__: Any
        ) -> tuple["torch.Tensor", "torch.Tensor"]:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
                self.rooms = [key_states[:, :, :0], value_states[:, :, :0]]
            begin = self.get_seq_length()
            end = begin + key_states.shape[2]
            self.rooms = [
                _append(room, states, begin)
                for room, states in zip(self.rooms, (key_states, value_states), strict=True)
            ]
            self.keys, self.values = (room[:, :, :end] for room in self.rooms)
            return self.keys, self.values

        def batch_select_indices(self, indices: "torch.Tensor") -> None:
            end = self.get_seq_length()
            self.rooms = [room[indices] for room in self.rooms]
            self.keys, self.values = (room[:, :, :end] for room in self.rooms)

    cache = transformers.DynamicCache(config=model.config)
    layer: Any = GrowingLayer
    cache.layers = [layer() for _ in cache.layers]
    return cache


def _append(room: "torch.Tensor", states: "torch.Tensor", begin: int) -> "torch.Tensor":
    """Writes (n_rows, n_groups, n_new, size) behind what a room holds, in one of twice the size where it is full."""
    end = begin + states.shape[2]
    if end > room.shape[2]:
        larger = states.new_empty((*states.shape[:2], max(2 * begin, end + _ROOM), states.shape[3]))
        larger[:, :, :begin] = room[:, :, :begin]
        room = larger
    room[:, :, begin:end] = states
    return room


def _step(
    query: "torch.Tensor",
    shared: tuple["torch.Tensor", "torch.Tensor"],
    own: tuple["torch.Tensor", "torch.Tensor"],
    mask: "torch.Tensor | None",
) -> "torch.Tensor":
    """What one token of each row sees, (n_rows, 1, n_heads, size).

    Args:
      query: (n_rows, n_heads, 1, size), scaled.
      shared: keys and values (1, n_groups, n_shared, size), each of which n_heads / n_groups heads look at.
      own: keys and values (n_rows, n_groups, n_own, size).
      mask: (n_rows, 1, 1, n_own) whether a row's token is one; None where all are.
    """
    import torch

    n_rows, n_heads, _, size = query.shape
    n_groups, n_shared = shared[0].shape[1:3]
    query = query.reshape(n_rows, n_groups, n_heads // n_groups, size)
    # All rows' heads of a group are one matrix before the beginning.
    packed = query.transpose(0, 1).reshape(n_groups, -1, size)
    before = (packed @ shared[0][0].transpose(1, 2)).reshape(n_groups, n_rows, -1, n_shared).transpose(0, 1)
    after = query @ own[0].transpose(2, 3)
    if mask is not None:
        after = after.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else after + mask
    weights = torch.cat([before, after], dim=-1).softmax(-1, dtype=torch.float32).to(query.dtype)
    before, after = weights.split([n_shared, weights.shape[-1] - n_shared], dim=-1)
    packed = before.transpose(0, 1).reshape(n_groups, -1, n_shared) @ shared[1][0]
    seen: torch.Tensor = packed.reshape(n_groups, n_rows, -1, size).transpose(0, 1) + after @ own[1]
    return seen.reshape(n_rows, 1, n_heads, size)


def _extend_mask(mask: "torch.Tensor | None", size: tuple[int, int], n_shared: int) -> "torch.Tensor":
    """A mask (n_rows or 1, 1, n_new, n_own) that sees all of the beginning too; none sees what is no later."""
    import torch

    if mask is None:
        n_new, n_own = size
        mask = torch.ones((1, 1, n_new, n_own), dtype=torch.bool).tril(n_own - n_new)
    seen = torch.ones if mask.dtype == torch.bool else torch.zeros
    extended: torch.Tensor = torch.cat(
        [seen((*mask.shape[:-1], n_shared), dtype=mask.dtype, device=mask.device), mask], dim=-1
    )
    return extended


def _join(shared: "torch.Tensor", own: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.cat([shared.expand(len(own), -1, -1, -1), own], dim=2)
