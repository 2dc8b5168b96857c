"""Windows of like length together, under a budget of padded tokens, in few shapes.

The cost of a batch is its padded length times the number of windows, so the windows of a bounded look-ahead are sorted
by length and cut where the next one would break the budget. Lengths are padded to the next of sixteen between powers of
two, which costs 3 % on average: an engine prepares itself for every shape that it meets for the first time.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_LOG2_STEPS = 4


class Batch(NamedTuple):
    """Windows that run together.

    Attributes:
      windows: (n_windows,) their indices, longest first.
      longest: tokens that each is padded to.
    """

    windows: npt.NDArray[np.int64]
    longest: int


def pack_windows(lengths: npt.NDArray[np.int64], budget_tokens: int, *, most_tokens: int) -> list[Batch]:
    """Lengths to batches, longest windows first.

    Every window is in one batch; a batch's padded length times its count is within the budget, or it is a single
    window.

    Args:
      lengths: (n_windows,) tokens, special tokens included.
      budget_tokens: most padded tokens in a batch.
      most_tokens: a length that no window is padded beyond, for the model reads no more.

    >>> [(b.windows.tolist(), b.longest) for b in pack_windows(np.array([33, 3, 4, 70]), 70, most_tokens=512)]
    [([3], 72), ([0, 2], 34), ([1], 3)]
    """
    order = np.argsort(-lengths, kind="stable")
    padded = round_lengths(lengths, most_tokens)
    batches, begin = [], 0
    while begin < len(order):
        longest = int(padded[order[begin]])
        count = max(1, budget_tokens // longest)
        batches.append(Batch(order[begin : begin + count], longest))
        begin += count
    return batches


def round_lengths(lengths: npt.NDArray[np.int64], most_tokens: int) -> npt.NDArray[np.int64]:
    """Lengths (n,) to those they are padded to; see `pack_windows`.

    >>> round_lengths(np.array([31, 33, 65, 130, 500, 511]), 510).tolist()
    [31, 34, 68, 136, 510, 511]
    """
    octave = np.frexp(lengths)[1].astype(np.int64) - 1
    step = 1 << np.maximum(0, octave - _LOG2_STEPS)
    padded: npt.NDArray[np.int64] = np.maximum(lengths, np.minimum(-(-lengths // step) * step, most_tokens))
    return padded


def padding_mask(lengths: npt.NDArray[np.int64], longest: int) -> npt.NDArray[np.int64]:
    """Which tokens of a batch are real, (n_windows, longest): ones, then zeros where it is padded on the right.

    >>> padding_mask(np.array([3, 1]), 3).tolist()
    [[1, 1, 1], [1, 0, 0]]
    """
    return (np.arange(longest) < lengths[:, None]).astype(np.int64)
