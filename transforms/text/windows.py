"""Overlapping windows that cover every token of every document.

    tokens   0 1 2 3 4 5 6 7 8 9        at most 6 tokens, 2 shared by neighbours
    window   [0 1 2 3 4 5]
    window           [4 5 6 7 8 9]

A window begins at a word where it can, so that no word is seen only in part by both of its windows.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """How documents are cut.

    Attributes:
      max_tokens: most tokens in a window, special tokens included; the model's own limit if that is less.
      overlap_tokens: tokens shared by neighbours, at least.
    """

    max_tokens: int = 512
    overlap_tokens: int = 64

    def __post_init__(self) -> None:
        if self.max_tokens < 8:
            raise ConfigError(f"expected --window-tokens of 8 or more, found {self.max_tokens}")
        if not 0 <= self.overlap_tokens * 3 <= self.max_tokens:
            raise ConfigError(
                f"expected --overlap-tokens between 0 and a third of the window ({self.max_tokens // 3}), "
                f"found {self.overlap_tokens}"
            )

    def within(self, most_tokens: int) -> "WindowConfig":
        """The same for a model that reads no more than `most_tokens`, with an overlap that fits."""
        if self.max_tokens <= most_tokens:
            return self
        return WindowConfig(max_tokens=most_tokens, overlap_tokens=min(self.overlap_tokens, most_tokens // 3))


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows over tokens laid end to end.

    Attributes:
      first: (n_windows,) first token.
      last: (n_windows,) one past the last token.
      document: (n_windows,) the document it belongs to.
    """

    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    document: npt.NDArray[np.int64]


def cut_windows(
    bounds: npt.NDArray[np.int64], starts_word: npt.NDArray[np.bool_], *, max_tokens: int, overlap_tokens: int
) -> Windows:
    """Tokens to windows; every token lies in one, or in two where neighbours overlap.

    Args:
      bounds: (n_documents + 1,) where each document's tokens begin.
      starts_word: (n_tokens,) whether a word begins at a token.
      max_tokens: most tokens in a window, special tokens not counted.
      overlap_tokens: fewest tokens shared by neighbours, at most a third of `max_tokens`.
    """
    first, last, owner = [], [], []
    for document, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        while end - begin > max_tokens:
            stop = begin + max_tokens
            first.append(begin)
            last.append(stop)
            owner.append(document)
            begin = _back_to_word(starts_word, stop - overlap_tokens, at_most=overlap_tokens // 2)
        if end > begin:
            first.append(begin)
            last.append(end)
            owner.append(document)
    return Windows(np.array(first, np.int64), np.array(last, np.int64), np.array(owner, np.int64))


def _back_to_word(starts_word: npt.NDArray[np.bool_], token: int, *, at_most: int) -> int:
    for back in range(at_most + 1):
        if starts_word[token - back]:
            return token - back
    return token
