"""Texts as a gazetteer reads them, with the way back to their offsets.

    "Old  Straße"  ──>  text    o l d _ s t r a s s e
                        origin  0 1 2 3 5 6 7 8 9 9 10

Runs of whitespace become one space, and letters are case-folded if wanted; every character knows which it was. Texts
are read end to end, a separator between them, so that many short ones cost little more than a long one.

Words are runs of letters, digits and underscores, with the combining marks on them (after Unicode Standard Annex 29,
but an apostrophe or full stop ends a word, so that `Anna` is found in `Anna's`). In scripts written without spaces
every character is a word.
"""

import dataclasses
import functools
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.text.tokens import code_points, is_unspaced

# A control character, which no name has; where a text has it, another stands for it.
_SEPARATOR, _OTHER = "\x01", "\x02"

_SPACE, _WORD, _JOIN, _EXTEND = 1, 2, 4, 8
_N_POINTS = 0x110000

BoolArray = npt.NDArray[np.bool_]
OffsetArray = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Reading:
    """Texts as they are searched.

    Attributes:
      joined: the texts end to end, with a separator between them.
      bounds: (n_texts,) where each begins in it.
      text: what is searched: joined, with single spaces, folded.
      origin: (len(text),) where each of its characters comes from in `joined`.
      is_edge: (len(text) + 1,) whether a name may begin or end there.
      words: (n_texts,) words of each text.
    """

    joined: str
    bounds: OffsetArray
    text: str
    origin: OffsetArray
    is_edge: BoolArray
    words: npt.NDArray[np.int64]


def read_texts(texts: Sequence[str], *, is_folded: bool, at_words: bool) -> Reading:
    """Texts to what is searched.

    Args:
      texts: texts of any length, without lone surrogates.
      is_folded: fold their case.
      at_words: a name may begin and end only where a word does; else wherever a character does.
    """
    joined = _SEPARATOR.join(text.replace(_SEPARATOR, _OTHER) for text in texts)
    bounds = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])], dtype=np.int32)
    points = code_points(joined)
    kinds = _kinds()[points]
    is_kept = np.ones(len(points), dtype=bool)
    is_kept[1:] = (kinds[1:] & kinds[:-1] & _SPACE) == 0
    origin = np.flatnonzero(is_kept).astype(np.int32)
    kinds = kinds[is_kept]
    points = np.where(kinds & _SPACE, np.uint32(ord(" ")), points[is_kept])
    is_first = _find_characters(points, kinds)
    is_boundary = _find_boundaries(kinds, is_first)
    starts = origin[is_boundary[:-1] & ((kinds & _WORD) != 0)]
    words = np.bincount(np.searchsorted(bounds, starts, side="right") - 1, minlength=len(texts)).astype(np.int64)
    is_edge = is_boundary if at_words else is_first
    if is_folded:
        points, origin, is_edge = _fold(points, origin, is_edge)
    return Reading(joined, bounds, _to_text(points), origin, is_edge, words)


def _find_boundaries(kinds: npt.NDArray[np.uint8], is_first: BoolArray) -> BoolArray:
    """Between which characters a word may begin or end, (n + 1,)."""
    is_boundary: BoolArray = is_first.copy()
    is_boundary[1:-1] &= (kinds[1:] & kinds[:-1] & _JOIN) == 0
    return is_boundary


def _find_characters(points: npt.NDArray[np.uint32], kinds: npt.NDArray[np.uint8]) -> BoolArray:
    """Where a code point begins that is no mark on the one before it, and the end; (n + 1,)."""
    is_first = np.ones(len(kinds) + 1, dtype=bool)
    is_first[1:-1] = ((kinds[1:] & _EXTEND) == 0) | (points[:-1] == ord(_SEPARATOR))
    return is_first


def _fold(
    points: npt.NDArray[np.uint32], origin: OffsetArray, is_edge: BoolArray
) -> tuple[npt.NDArray[np.uint32], OffsetArray, BoolArray]:
    """Folds case; a character that becomes several, such as ß, is begun or ended by none of the inner ones."""
    folded = code_points(_to_text(points).casefold())
    if len(folded) == len(points):
        return folded, origin, is_edge
    lengths = np.ones(len(points), dtype=np.int64)
    unusual = np.flatnonzero(points > 127)
    lengths[unusual] = [len(chr(point).casefold()) for point in points[unusual].tolist()]
    first = np.cumsum(lengths) - lengths
    edges = np.zeros(len(folded) + 1, dtype=bool)
    edges[first] = is_edge[:-1]
    edges[-1] = True
    return folded, np.repeat(origin, lengths), edges


def _to_text(points: npt.NDArray[np.uint32]) -> str:
    return points.tobytes().decode("utf-32-le")


@functools.cache
def _kinds() -> npt.NDArray[np.uint8]:
    """What each code point is to a word, (0x110000,)."""
    points = np.arange(_N_POINTS, dtype=np.uint32)
    characters = points.view("U1")
    kinds = np.zeros(_N_POINTS, dtype=np.uint8)
    is_word = np.char.isalnum(characters)
    is_mark = np.array([unicodedata.category(chr(point))[0] == "M" for point in range(_N_POINTS)])
    # Joiners and the soft hyphen stand within words.
    is_mark[[0x00AD, 0x200C, 0x200D]] = True
    is_join = is_word | is_mark | (points == ord("_"))
    kinds[np.char.isspace(characters)] |= _SPACE
    kinds[is_word] |= _WORD
    kinds[is_mark] |= _EXTEND
    kinds[is_join & ~is_unspaced(points)] |= _JOIN
    return kinds
