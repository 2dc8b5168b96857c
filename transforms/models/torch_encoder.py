"""Encoders of the BERT family in PyTorch, computed without padding and loaded without transformers.

The tokens of a batch stand end to end in one matrix, so that every product but attention runs over real tokens alone,
and one product gives queries, keys and values (ByteTransformer, Zhai et al. 2023). Attention knows where the windows
lie: on the CPU by windows of like length, on CUDA through the variable-length kernel of FlashAttention, or, over
batches padded to a few static shapes, through a mask, so that each shape is captured once as a CUDA graph.

What this file does not know to the letter is left to transformers: `load_encoder` then gives None.
"""

import dataclasses
import itertools
import json
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from transforms.models.tagger import IntArray
from transforms.text.packing import padding_mask

Attend = Callable[[Any], Any]
"""Queries, keys and values (n_tokens, 3, n_heads, head_size) to what they attend to (n_tokens, n_heads, head_size)."""

_PREFIXES = {
    "bert": "bert.",
    "roberta": "roberta.",
    "xlm-roberta": "roberta.",
    "camembert": "roberta.",
    "electra": "electra.",
    "distilbert": "distilbert.",
}
_COUNT_FROM_PADDING = ("roberta", "xlm-roberta", "camembert")
_DISTILBERT_OPTIONS = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "activation": "hidden_act",
}
_DISTILBERT_WEIGHTS = (
    ("encoder.layer.", "transformer.layer."),
    (".attention.self.query.", ".attention.q_lin."),
    (".attention.self.key.", ".attention.k_lin."),
    (".attention.self.value.", ".attention.v_lin."),
    (".attention.output.dense.", ".attention.out_lin."),
    (".attention.output.LayerNorm.", ".sa_layer_norm."),
    (".intermediate.dense.", ".ffn.lin1."),
    (".output.dense.", ".ffn.lin2."),
    (".output.LayerNorm.", ".output_layer_norm."),
)
# Options that change the computation, with the one value that is known here; an option that is absent has it.
_KNOWN_VALUES = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "hidden_act": "gelu",
    "pruned_heads": {},
    "quantization_config": None,
}
_AFTER_ATTENTION = (
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_UNUSED_WEIGHTS = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids", "embeddings.token_type_ids")
_STORED = ("F16", "BF16", "F32")

_BUCKET_LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512)
_BUCKET_STEP = 128


@dataclasses.dataclass(frozen=True)
class EncoderShape:
    """What `config.json` says of an encoder.

    Attributes:
      family: its model_type.
      layers: how many there are.
      heads: attention heads of each.
      hidden: width.
      inner: width between the two products of a feed-forward layer.
      words: rows of the table of words.
      positions: rows of the table of positions.
      types: rows of the table of token types; 0 where there is none.
      tags: how many tags it tells apart.
      epsilon: of layer normalisation.
      padding: id of the padding token, where positions are counted from it on; None where they begin with 0.
    """

    family: str
    layers: int
    heads: int
    hidden: int
    inner: int
    words: int
    positions: int
    types: int
    tags: int
    epsilon: float
    padding: int | None

    def weights(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its weights, by the names that BERT has for them."""
        wide, tall = (self.inner, self.hidden), (self.hidden, self.inner)
        tables = {"word": self.words, "position": self.positions, "token_type": self.types}
        shapes: dict[str, tuple[int, ...]] = {
            f"embeddings.{table}_embeddings.weight": (rows, self.hidden) for table, rows in tables.items() if rows
        }
        products = {"classifier": (self.tags, self.hidden)}
        norms = ["embeddings.LayerNorm"]
        for layer in (f"encoder.layer.{index}" for index in range(self.layers)):
            square = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
            products |= {f"{layer}.{name}": (self.hidden, self.hidden) for name in square}
            products |= {f"{layer}.intermediate.dense": wide, f"{layer}.output.dense": tall}
            norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        for name, shape in products.items():
            shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
        for name in norms:
            shapes |= {f"{name}.weight": (self.hidden,), f"{name}.bias": (self.hidden,)}
        return shapes

    def stored_name(self, name: str) -> str:
        """The name of a weight in the checkpoint, from the one that BERT has for it."""
        if name.startswith("classifier."):
            return name
        for ours, theirs in _DISTILBERT_WEIGHTS if self.family == "distilbert" else ():
            name = name.replace(ours, theirs)
        return _PREFIXES[self.family] + name


def read_shape(config: Mapping[str, Any]) -> EncoderShape | None:
    """The content of `config.json` to the shape of the encoder, or None where anything about it is not known here."""
    family = config.get("model_type")
    if family not in _PREFIXES:
        return None
    options = dict(config)
    if family == "distilbert":
        options = {_DISTILBERT_OPTIONS.get(name, name): value for name, value in config.items()}
        options |= {"layer_norm_eps": 1e-12, "type_vocab_size": 0}
    if any(options.get(name, known) not in (known, known or None) for name, known in _KNOWN_VALUES.items()):
        return None
    try:
        shape = EncoderShape(
            family=family,
            layers=options["num_hidden_layers"],
            heads=options["num_attention_heads"],
            hidden=options["hidden_size"],
            inner=options["intermediate_size"],
            words=options["vocab_size"],
            positions=options["max_position_embeddings"],
            types=options["type_vocab_size"],
            tags=len(options["id2label"]),
            epsilon=options["layer_norm_eps"],
            padding=options["pad_token_id"] if family in _COUNT_FROM_PADDING else None,
        )
    except (KeyError, TypeError):
        return None
    counts = (shape.layers, shape.heads, shape.hidden, shape.inner, shape.words, shape.positions, shape.types)
    is_known = all(type(count) is int for count in counts) and isinstance(shape.epsilon, float)
    is_known &= isinstance(shape.padding, int) or family not in _COUNT_FROM_PADDING
    return shape if is_known and shape.heads > 0 and shape.hidden % shape.heads == 0 else None


def load_encoder(folder: Path, dtype: Any, device: Any) -> "Encoder | None":
    """A checkpoint folder to an encoder, or None where config or weights are not exactly what is known here.

    Weights are widened or narrowed to the wanted type. None leaves the checkpoint to transformers, with its errors.
    """
    path = folder / "model.safetensors"
    # transformers would put an adapter that lies in the folder on top of the model.
    if not path.is_file() or (folder / "adapter_config.json").exists():
        return None
    try:
        shape = read_shape(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        weights = _read_weights(path, shape) if shape else None
    except (OSError, ValueError, SafetensorError):
        return None
    return Encoder(shape, weights, dtype, device) if shape and weights else None


def _read_weights(path: Path, shape: EncoderShape) -> dict[str, Any] | None:
    """The weights by BERT's names, or None where the file holds others, more, fewer or quantised ones."""
    names = {shape.stored_name(name): name for name in shape.weights()}
    expected = {stored: shape.weights()[name] for stored, name in names.items()}
    unused = {_PREFIXES[shape.family] + name for name in _UNUSED_WEIGHTS}
    with safe_open(path, framework="pt") as file:
        found = {stored: file.get_slice(stored) for stored in file.keys() if stored not in unused}  # noqa: SIM118
        if {stored: tuple(weight.get_shape()) for stored, weight in found.items()} != expected:
            return None
        if any(weight.get_dtype() not in _STORED for weight in found.values()):
            return None
        return {name: file.get_tensor(stored) for stored, name in names.items()}


class Encoder:
    """A token-classification model of the BERT family: embeddings, layers with normalisation after, a linear head.

    Args:
      shape: its dimensions.
      weights: tensors of the shapes in `EncoderShape.weights`.
      dtype: the type to compute in.
      device: where.
    """

    def __init__(self, shape: EncoderShape, weights: Mapping[str, Any], dtype: Any, device: Any) -> None:
        import torch

        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)

        def place(tensor: Any) -> Any:
            return tensor.to(self.device, dtype)

        def pair(name: str) -> tuple[Any, Any]:
            return place(weights[f"{name}.weight"]), place(weights[f"{name}.bias"])

        positions = weights["embeddings.position_embeddings.weight"].float()
        if shape.types:
            # Every token is of the first type.
            positions = positions + weights["embeddings.token_type_embeddings.weight"][0].float()
        self._words, self._positions = place(weights["embeddings.word_embeddings.weight"]), place(positions)
        self._norm, self._head = pair("embeddings.LayerNorm"), pair("classifier")
        self._layers = []
        for layer in (f"encoder.layer.{index}" for index in range(shape.layers)):
            parts = [pair(f"{layer}.attention.self.{part}") for part in ("query", "key", "value")]
            fused = (torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts]))
            self._layers.append((fused, *(pair(f"{layer}.{name}") for name in _AFTER_ATTENTION)))

    def forward(self, ids: Any, positions: Any, attend: Attend) -> Any:
        """Tokens to logits; call it under `torch.inference_mode`.

        Args:
          ids: (n_tokens,) vocabulary ids of the windows, one after the other.
          positions: (n_tokens,) rows of the table of positions.
          attend: attention within the windows.

        Returns:
          Tensor (n_tokens, n_tags).
        """
        import torch
        from torch.nn.functional import embedding, layer_norm, linear

        width = (self.shape.hidden,)
        heads = (3, self.shape.heads, self.shape.hidden // self.shape.heads)
        hidden = embedding(ids, self._words).add_(embedding(positions, self._positions))
        hidden = layer_norm(hidden, width, *self._norm, self.shape.epsilon)
        for fused, mixing, mixed_norm, widening, narrowing, norm in self._layers:
            mixed = attend(linear(hidden, *fused).unflatten(1, heads)).flatten(1)
            hidden = layer_norm(linear(mixed, *mixing).add_(hidden), width, *mixed_norm, self.shape.epsilon)
            inner = torch.ops.aten.gelu_(linear(hidden, *widening))
            hidden = layer_norm(linear(inner, *narrowing).add_(hidden), width, *norm, self.shape.epsilon)
        return linear(hidden, *self._head)

    def count_positions(self, ids: IntArray) -> IntArray:
        """Rows of the table of positions for a padded batch (n_windows, longest), as the family counts them."""
        padding = self.shape.padding
        if padding is None:
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        # A padding token that the text itself spells is not counted either.
        is_counted = (ids != padding).astype(np.int64)
        positions: IntArray = np.cumsum(is_counted, axis=1) * is_counted + padding
        return positions


class UnpaddedNetwork:
    """An encoder over the real tokens of a batch only."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._is_varlen = _has_varlen(encoder)

    def forward(self, ids: IntArray, lengths: IntArray) -> Any:
        """A padded batch to the logits of its real tokens, (n_tokens, n_tags)."""
        real = padding_mask(lengths, ids.shape[1]).astype(bool)
        device = self._encoder.device
        attend = attend_varlen(lengths, device) if self._is_varlen else attend_by_length(lengths)
        positions = self._encoder.count_positions(ids)
        return self._encoder.forward(to_device(ids[real], device), to_device(positions[real], device), attend)


class BucketedNetwork:
    """An encoder over batches padded to static shapes; on CUDA each shape is captured once and replayed as a graph.

    The tensors of a shape are used again: on CUDA, queue a copy of the result on the stream before the next call.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._shapes: dict[tuple[int, int], tuple[tuple[Any, ...], Callable[[], Any]]] = {}
        self._pool: Any = None
        self._lock = threading.Lock()

    def forward(self, ids: IntArray, lengths: IntArray) -> Any:
        """A padded batch (n_windows, longest) to logits (n_rows, bucket, n_tags), at least as large on both sides."""
        shape = round_shape(*ids.shape, most_tokens=self._encoder.shape.positions)
        padded = np.zeros(shape, dtype=np.int64)
        padded[: len(ids), : ids.shape[1]] = ids
        positions = np.zeros(shape, dtype=np.int64)
        positions[: len(ids), : ids.shape[1]] = self._encoder.count_positions(ids)
        # A row that only fills up the shape attends to one token, for softmax over none is not a number.
        filled = np.ones(shape[0], dtype=np.int64)
        filled[: len(ids)] = lengths
        inputs = (padded, positions, padding_mask(filled, shape[1]).astype(bool))
        with self._lock:
            if shape not in self._shapes:
                self._shapes[shape] = self._prepare(inputs)
            buffers, run = self._shapes[shape]
            for buffer, array in zip(buffers, inputs, strict=True):
                buffer.copy_(to_device(array, self._encoder.device), non_blocking=True)
            return run()

    def _prepare(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], Callable[[], Any]]:
        """Tensors to hold the inputs of a shape, and a function from what they hold to logits."""
        buffers = tuple(to_device(array, self._encoder.device).clone() for array in inputs)
        ids, positions, real = buffers

        def run() -> Any:
            logits = self._encoder.forward(ids.flatten(), positions.flatten(), attend_padded(real))
            return logits.unflatten(0, tuple(ids.shape))

        return buffers, self._capture(run) if self._encoder.device.type == "cuda" else run

    def _capture(self, run: Callable[[], Any]) -> Callable[[], Any]:
        import torch

        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            # Libraries set themselves up at the first calls, which no graph may hold.
            run()
            run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the device meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            logits = run()
        self._pool = graph.pool()

        def replay() -> Any:
            graph.replay()
            return logits

        return replay


def attend_by_length(lengths: IntArray) -> Attend:
    """Attention within windows (n_windows,) end to end, a call for each run of windows of one length."""
    import torch

    runs = [(length, len(list(same))) for length, same in itertools.groupby(lengths.tolist())]

    def attend(heads: Any) -> Any:
        parts, begin = [], 0
        for length, count in runs:
            end = begin + length * count
            query, key, value = heads[begin:end].unflatten(0, (count, length)).permute(2, 0, 3, 1, 4)
            mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
            parts.append(mixed.transpose(1, 2).flatten(0, 1))
            begin = end
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return attend


def attend_varlen(lengths: IntArray, device: Any) -> Attend:
    """Attention within windows (n_windows,) end to end, in one kernel; needs CUDA and half precision."""
    from torch.nn.attention.varlen import varlen_attn

    bounds = to_device(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), device)
    longest = int(lengths.max())

    def attend(heads: Any) -> Any:
        query, key, value = heads.unbind(1)
        return varlen_attn(query, key, value, bounds, bounds, longest, longest)

    return attend


def attend_padded(real: Any) -> Attend:
    """Attention within the rows of a padded batch, to the tokens that are real: a tensor of bool (n_rows, longest)."""
    import torch

    def attend(heads: Any) -> Any:
        query, key, value = heads.unflatten(0, tuple(real.shape)).permute(2, 0, 3, 1, 4)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None, :])
        return mixed.transpose(1, 2).flatten(0, 1)

    return attend


def round_shape(n_windows: int, longest: int, *, most_tokens: int) -> tuple[int, int]:
    """The static shape that holds a batch: rows of 2^n or 3*2^n, lengths of a short list.

    Args:
      n_windows: rows of the batch.
      longest: tokens of its longest window.
      most_tokens: a length that no bucket exceeds, unless the batch does.

    >>> round_shape(5, 70, most_tokens=512), round_shape(1, 600, most_tokens=4096), round_shape(1, 300, most_tokens=350)
    ((6, 96), (1, 640), (1, 350))
    """
    power = 1 << (n_windows - 1).bit_length()
    rows = power * 3 // 4 if power >= 4 and n_windows <= power * 3 // 4 else power
    steps = math.ceil(longest / _BUCKET_STEP) * _BUCKET_STEP
    length = next((bucket for bucket in _BUCKET_LENGTHS if bucket >= longest), steps)
    return rows, max(longest, min(length, most_tokens))


def to_device(array: Any, device: Any) -> Any:
    """An array to a tensor; to CUDA without waiting for the copy."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _has_varlen(encoder: Encoder) -> bool:
    """Whether the kernel runs there: half precision, a head size of eights, and Ampere or later."""
    import torch

    if encoder.device.type != "cuda" or encoder.dtype == torch.float32:
        return False
    size = encoder.shape.hidden // encoder.shape.heads
    return size % 8 == 0 and size <= 256 and torch.cuda.get_device_capability(encoder.device) >= (8, 0)
