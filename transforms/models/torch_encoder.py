"""Encoders of the BERT family in PyTorch, loaded without transformers.

Tokens stand end to end in one matrix, and one product gives queries, keys and values (ByteTransformer, Zhai et al.
2023). Where windows begin and end is known to attention alone, which is handed in (see torch_networks).

What this file does not know to the letter is left to transformers: `load_encoder` then gives None.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from schemas.errors import CheckpointError
from transforms.models.adapters.folding import fold_weights
from transforms.models.adapters.stored import CONFIG_NAME, read_adapter
from transforms.models.tagger import IntArray

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
# Where the rows of a weight come from.
_OPTIONS = {
    "word_embeddings": "vocab_size",
    "position_embeddings": "max_position_embeddings",
    "token_type_embeddings": "type_vocab_size",
    "classifier": "id2label",
}
_STORED = ("F16", "BF16", "F32")


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


def check_shapes(folder: Path, config: Mapping[str, Any], *, n_tags: int, base: Path | None = None) -> None:
    """Compares what `config.json` says of a model with the headers of its weights, without reading any of them.

    All weights of the BERT family are compared, as far as they are there; of other models the head.

    Args:
      folder: the checkpoint.
      config: the content of its `config.json`.
      n_tags: how many tags it tells apart.
      base: the base, whose own head does not matter, where the checkpoint is an adapter.

    Raises:
      CheckpointError: naming a weight of another shape.
    """
    if config.get("quantization_config"):
        return
    shape = read_shape(config)
    expected: dict[str, tuple[int, ...]] = {}
    if shape:
        expected = {shape.stored_name(name): wanted for name, wanted in shape.weights().items()}
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted((base or folder).glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    head = found.get("classifier.weight", ())
    if not shape and len(head) == 2:
        expected["classifier.weight"] = (n_tags, head[1])
    for name, wanted in expected.items():
        # A bare encoder, as a base may be, has no prefix.
        stored = name if name in found or not shape else name.removeprefix(_PREFIXES[shape.family])
        is_head = stored.startswith("classifier.")
        if found.get(stored, wanted) != wanted and not (is_head and base):
            option = next((option for part, option in _OPTIONS.items() if part in name), "the sizes")
            raise CheckpointError(
                f"expected {stored} of shape {list(wanted)} in model {(base or folder).name!r}, as its config.json "
                f"says, found {list(found[stored])}; mend {option} in config.json, or fetch the model again"
            )


def load_encoder(folder: Path, dtype: Any, device: Any, *, base: Path | None = None) -> "Encoder | None":
    """A checkpoint folder to an encoder, or None where config or weights are not exactly what is known here.

    Weights are widened or narrowed to the wanted type. None leaves the checkpoint to transformers, with its errors.

    Args:
      folder: the checkpoint.
      dtype: the type to compute in.
      device: where.
      base: the base, where the checkpoint is an adapter, which is folded into it.

    Raises:
      CheckpointError: the adapter does not fit its base.
    """
    path = (base or folder) / "model.safetensors"
    # transformers would put an adapter that lies in the folder on top of the model.
    if not path.is_file() or (path.parent / CONFIG_NAME).exists():
        return None
    try:
        shape = read_shape(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        if shape is None:
            return None
        weights = _read_weights(path, shape) if base is None else _read_folded(path, shape, folder)
    except (OSError, ValueError, SafetensorError):
        return None
    return Encoder(shape, weights, dtype, device) if weights else None


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


def _read_folded(path: Path, shape: EncoderShape, folder: Path) -> dict[str, Any] | None:
    """The weights of a base with an adapter folded into them by BERT's names, or None where they are not all known.

    The base may be a bare encoder, whose weights have no prefix, or hold heads of its own.
    """
    adapter = read_adapter(folder)
    if not adapter.is_folded:
        return None
    prefix = _PREFIXES[shape.family]
    names = {shape.stored_name(name): name for name in shape.weights()}
    with safe_open(path, framework="pt") as file:
        stored = set(file.keys())
        is_bare = not any(name.startswith(prefix) for name in stored)
        found = {prefix + name if is_bare else name: name for name in stored}
        head = {name for name in names if not name.startswith(prefix)}
        unused = {prefix + name for name in _UNUSED_WEIGHTS}
        if {name for name in found if name.startswith(prefix)} - unused != names.keys() - head:
            return None
        if any(file.get_slice(found[name]).get_dtype() not in _STORED for name in names.keys() - head):
            return None
        weights = {name: file.get_tensor(found[name]) for name in names.keys() - head}
    folded = fold_weights(weights, adapter, head=head)
    expected = {stored: shape.weights()[name] for stored, name in names.items()}
    if {name: tuple(weight.shape) for name, weight in folded.items()} != expected:
        return None
    return {name: folded[stored] for stored, name in names.items()}


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

    def list_weights(self) -> dict[str, Any]:
        """The tensors that it holds, by their places."""
        groups = {"tables": (self._words, self._positions), "norm": self._norm, "head": self._head}
        groups |= {
            f"{index}.{part}": pair for index, layer in enumerate(self._layers) for part, pair in enumerate(layer)
        }
        return {f"{name}.{at}": tensor for name, group in groups.items() for at, tensor in enumerate(group)}

    def count_positions(self, ids: IntArray) -> IntArray:
        """Rows of the table of positions for a padded batch (n_windows, longest), as the family counts them."""
        padding = self.shape.padding
        if padding is None:
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        # A padding token that the text itself spells is not counted either.
        is_counted = (ids != padding).astype(np.int64)
        positions: IntArray = np.cumsum(is_counted, axis=1) * is_counted + padding
        return positions
