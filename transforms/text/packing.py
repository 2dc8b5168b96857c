"""Windows of like length together, under a budget of padded tokens.

The cost of a batch is the length of its longest window times the number of windows, so the windows of a bounded
look-ahead are sorted by length and cut where the next one would break the budget.
"""

import numpy as np
import numpy.typing as npt


def pack_windows(lengths: npt.NDArray[np.int64], budget_tokens: int) -> list[npt.NDArray[np.int64]]:
    """Lengths to batches of window indices, longest first.

    Every window is in one batch; a batch's longest times its count is within the budget, or it is a single window
    longer than the budget.

    Args:
      lengths: (n_windows,) tokens, special tokens included.
      budget_tokens: most padded tokens in a batch.

    >>> [batch.tolist() for batch in pack_windows(np.array([3, 9, 4, 4]), 12)]
    [[1], [2, 3, 0]]
    """
    order = np.argsort(-lengths, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        count = max(1, budget_tokens // int(lengths[order[begin]]))
        batches.append(order[begin : begin + count])
        begin += count
    return batches


def padding_mask(lengths: npt.NDArray[np.int64], longest: int) -> npt.NDArray[np.int64]:
    """Which tokens of a batch are real, (n_windows, longest): ones, then zeros where it is padded on the right.

    >>> padding_mask(np.array([3, 1]), 3).tolist()
    [[1, 1, 1], [1, 0, 0]]
    """
    return (np.arange(longest) < lengths[:, None]).astype(np.int64)
