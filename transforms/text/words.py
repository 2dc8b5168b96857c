"""Where words begin and end, in any script, without a tokenizer: what annotators mark and a CoNLL file has a line for.

    "In 東京, Zoë's"    ->    In 東 京 , Zoë ' s

A word is a run of letters, digits and the marks upon them; in scripts written without spaces, every character is one.
What else is no space is a word of its own. Training splits words again as its model does.
"""

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from transforms.text.tokens import UNSPACED

_UNSPACED = "".join(f"{chr(first)}-{chr(last - 1)}" for first, last in UNSPACED.tolist())
_PIECE = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+|[^\w\s]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]").match


def find_words(text: str) -> list[tuple[int, int]]:
    """Start and end of each word; only white space lies between them.

    >>> find_words("In 東京, Ann")
    [(0, 2), (3, 4), (4, 5), (5, 6), (7, 10)]
    """
    words: list[tuple[int, int]] = []
    for piece in _PIECE.finditer(text):
        start, end = piece.span()
        if words and words[-1][1] == start and not is_boundary(text, start):
            words[-1] = words[-1][0], end
        else:
            words.append((start, end))
    return words


def cut_words(words: Iterable[tuple[int, int]], cuts: Iterable[int]) -> list[tuple[int, int]]:
    """Words cut where something begins or ends within them.

    >>> cut_words([(0, 8), (9, 10)], [6, 9])
    [(0, 6), (6, 8), (9, 10)]
    """
    places = np.unique(np.fromiter(cuts, dtype=np.int64))
    pieces = []
    for start, end in words:
        first, last = np.searchsorted(places, [start + 1, end])
        pieces += list(pairwise([start, *places[first:last].tolist(), end]))
    return pieces


def is_boundary(text: str, at: int) -> bool:
    """Whether no word goes on across a position, from 0 to len(text).

    >>> is_boundary("in Rome", 3), is_boundary("in Rome", 4)
    (True, False)
    """
    if not 0 < at < len(text):
        return True
    before, after = text[at - 1], text[at]
    if _is_mark(after):
        return before.isspace()
    return not (_is_spelling(before) and _is_spelling(after)) or bool(_IS_UNSPACED(before) or _IS_UNSPACED(after))


def _is_spelling(character: str) -> bool:
    return character.isalnum() or character == "_" or _is_mark(character)


def _is_mark(character: str) -> bool:
    """Whether it is written upon the character before it, as accents and many vowels are."""
    return not character.isascii() and unicodedata.category(character).startswith("M")
