"""Token probabilities of overlapping windows merged into one set per document.

A token near the edge of its window is seen with half its context. Where two windows overlap, each one's answer is
weighted by the token's distance to that window's nearer edge; the ends of the document are no edges.

    weight  window a   ... 6 5 4 3 2 1
            window b           1 2 3 4 5 6 ...
"""

import numpy as np
import numpy.typing as npt

from transforms.text.windows import Windows

FloatArray = npt.NDArray[np.float32]


class Stitcher:
    """Collects the probabilities of windows, in any order, for documents laid end to end.

    Args:
      windows: the windows.
      bounds: (n_documents + 1,) where each document's tokens begin.
      n_tags: width of the probabilities.
    """

    def __init__(self, windows: Windows, bounds: npt.NDArray[np.int64], n_tags: int) -> None:
        self._windows = windows
        self._opens = windows.first == bounds[windows.document]
        self._closes = windows.last == bounds[windows.document + 1]
        self._total = np.zeros((int(bounds[-1]), n_tags), dtype=np.float32)
        self._weight = np.zeros(int(bounds[-1]), dtype=np.float32)

    def add(self, window: int, probabilities: FloatArray) -> None:
        """Takes one window's probabilities, (n_tokens of the window, n_tags)."""
        first, last = self._windows.first[window], self._windows.last[window]
        if self._opens[window] and self._closes[window]:
            self._total[first:last] = probabilities
            self._weight[first:last] = 1
            return
        weight = edge_weights(last - first, opens=self._opens[window], closes=self._closes[window])
        self._total[first:last] += probabilities * weight[:, None]
        self._weight[first:last] += weight

    def merge(self) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
        """Probabilities (n_tokens, n_tags), and which tokens (n_tokens,) some window answered for."""
        is_read = self._weight > 0
        np.divide(self._total, self._weight[:, None], out=self._total, where=is_read[:, None])
        return self._total, is_read


def edge_weights(n_tokens: int, *, opens: bool, closes: bool) -> FloatArray:
    """Distance of each token to its window's nearer edge, (n_tokens,).

    Args:
      n_tokens: length of the window.
      opens: the window begins its document, so that its left end is no edge.
      closes: the window ends its document.

    >>> edge_weights(5, opens=True, closes=False).tolist()
    [5.0, 4.0, 3.0, 2.0, 1.0]
    """
    steps = np.arange(1, n_tokens + 1, dtype=np.float32)
    far = np.full(n_tokens, n_tokens, dtype=np.float32)
    return np.minimum(far if opens else steps, far if closes else steps[::-1])
