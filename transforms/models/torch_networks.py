"""Forward passes over batches of windows with an encoder of the BERT family: without padding, or in static shapes.

Without padding every product but attention runs over real tokens alone. Attention knows where the windows lie: on the
CPU by windows of like length, on CUDA through the variable-length kernel of FlashAttention. In static shapes attention
goes through a mask, and each shape is captured once as a CUDA graph.
"""

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from transforms.models.tagger import IntArray
from transforms.models.torch_encoder import Attend, Encoder
from transforms.text.packing import padding_mask

_BUCKET_LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512)
_BUCKET_STEP = 128


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

    def list_weights(self) -> dict[str, Any]:
        """The tensors that it holds, by their places."""
        return self._encoder.list_weights()


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

    def list_weights(self) -> dict[str, Any]:
        """The tensors that it holds, by their places."""
        return self._encoder.list_weights()

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
