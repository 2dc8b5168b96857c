"""Offsets in other units than code points."""

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from transforms.text.tokens import code_points

OFFSET_UNITS = ("codepoint", "utf8", "utf16")


def convert_offsets(text: str, offsets: npt.NDArray[np.int64], unit: str) -> npt.NDArray[np.int64]:
    r"""Offsets in code points to offsets in another unit.

    Args:
      text: the text.
      offsets: positions in it, 0 to len(text).
      unit: codepoint, utf8 (bytes) or utf16 (code units, as in JavaScript and Java).

    >>> convert_offsets("na\u00efve \U0001f600!", np.array([3, 6, 7]), "utf8").tolist()
    [4, 7, 11]
    """
    if unit == "codepoint" or text.isascii():
        return offsets
    points = code_points(text)
    if unit == "utf8":
        widths = 1 + (points > 0x7F) + (points > 0x7FF) + (points > 0xFFFF).astype(np.int64)
    elif unit == "utf16":
        widths = 1 + (points > 0xFFFF).astype(np.int64)
    else:
        raise ConfigError(f"expected an offset unit of {OFFSET_UNITS}, found {unit!r}")
    result: npt.NDArray[np.int64] = np.concatenate([[0], np.cumsum(widths)])[offsets]
    return result


def restore_offsets(text: str, offsets: npt.NDArray[np.int64], unit: str) -> npt.NDArray[np.int64]:
    r"""The inverse of `convert_offsets`: offsets in another unit to offsets in code points.

    Raises:
      ValueError: an offset lies within a character, or beyond the text.

    >>> restore_offsets("na\u00efve \U0001f600!", np.array([4, 7, 11]), "utf8").tolist()
    [3, 6, 7]
    """
    boundaries = convert_offsets(text, np.arange(len(text) + 1), unit)
    found: npt.NDArray[np.int64] = np.searchsorted(boundaries, offsets)
    if len(offsets) and (found.max() > len(text) or (boundaries[found] != offsets).any()):
        raise ValueError(f"expected offsets between characters, 0 to {boundaries[-1]}, found others")
    return found
