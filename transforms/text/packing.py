"""Windows of like length together, under a budget of padded tokens, in few shapes.

The cost of a batch is its padded length times the number of windows, so the windows of a bounded look-ahead are sorted
by length and cut where the next one would break the budget. An engine prepares itself for every shape that it meets for
the first time, and keeps what it prepared, so shapes are few: lengths are padded to the next of eight between powers of
two, which costs 4 % on average, and all batches of a length have the same number of rows.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_LOG2_STEPS = 3


class Batch(NamedTuple):
    """Windows that run together.

    Attributes:
      windows: (n_windows,) their indices, longest first.
      longest: tokens that each is padded to.
      rows: how many rows to run: those after the windows are filler.
    """

    windows: npt.NDArray[np.int64]
    longest: int
    rows: int


def pack_windows(lengths: npt.NDArray[np.int64], budget_tokens: int, *, most_tokens: int) -> list[Batch]:
    """Lengths to batches, longest windows first.

    Every window is in one batch; a batch's padded length times its rows is within the budget, or it is a single window.
    The last batch of several is filled up to the rows of a full one.

    Args:
      lengths: (n_windows,) tokens, special tokens included.
      budget_tokens: most padded tokens in a batch.
      most_tokens: a length that no window is padded beyond, for the model reads no more.

    >>> [(b.windows.tolist(), b.longest, b.rows) for b in pack_windows(np.array([33, 3, 4, 70]), 70, most_tokens=512)]
    [([3], 72, 1), ([0], 36, 1), ([2, 1], 4, 17)]
    """
    order = np.argsort(-lengths, kind="stable")
    padded = round_lengths(lengths, most_tokens)
    batches: list[Batch] = []
    begin = 0
    while begin < len(order):
        longest = int(padded[order[begin]])
        full = max(1, budget_tokens // longest)
        windows = order[begin : begin + full]
        rows = len(windows) if not batches else full
        batches.append(Batch(windows, longest, rows))
        begin += full
    return batches


def round_lengths(lengths: npt.NDArray[np.int64], most_tokens: int) -> npt.NDArray[np.int64]:
    """Lengths (n,) to those they are padded to; see `pack_windows`.

    >>> round_lengths(np.array([31, 33, 65, 130, 500, 511]), 510).tolist()
    [32, 36, 72, 144, 510, 511]
    """
    octave = np.frexp(lengths)[1].astype(np.int64) - 1
    step = 1 << np.maximum(0, octave - _LOG2_STEPS)
    padded: npt.NDArray[np.int64] = np.maximum(lengths, np.minimum(-(-lengths // step) * step, most_tokens))
    return padded


def fill_lengths(lengths: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    """Lengths of a batch's windows (n_windows,) to those of its rows (rows,): filler is the last window again.

    >>> fill_lengths(np.array([5, 3]), 4).tolist()
    [5, 3, 3, 3]
    """
    return np.pad(lengths, (0, rows - len(lengths)), mode="edge")


def padding_mask(lengths: npt.NDArray[np.int64], longest: int) -> npt.NDArray[np.int64]:
    """Which tokens of a batch are real, (n_windows, longest): ones, then zeros where it is padded on the right.

    >>> padding_mask(np.array([3, 1]), 3).tolist()
    [[1, 1, 1], [1, 0, 0]]
    """
    return (np.arange(longest) < lengths[:, None]).astype(np.int64)
