"""Words of a text without a model: what annotators mark, and what CoNLL files have a line for.

    "Zoë's 東京!"  ──>  Zoë ' s 東 京 !

Words end at white space and punctuation, as in BERT's first step, and a character of a script that is written without
spaces is a word. Combining marks stay with what they combine with. Training splits words again as its model does.
"""

import unicodedata
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from tokenizers.pre_tokenizers import BertPreTokenizer

from transforms.text.tokens import code_points, is_unspaced

_SPLITTER = BertPreTokenizer()


def find_words(text: str) -> list[tuple[int, int]]:
    """A text to the (start, end) of its words in code points; everything but white space is in one of them.

    >>> find_words("Zo\u00eb's \u6771\u4eac!")
    [(0, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9)]
    """
    words = [places for _, places in _SPLITTER.pre_tokenize_str(text)]
    if text.isascii():
        return words
    cuts = _find_cuts(text)
    return cut_words(words, cuts) if cuts else words


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


def _find_cuts(text: str) -> list[int]:
    """Where words begin and end that the splitter does not see."""
    places = np.flatnonzero(is_unspaced(code_points(text))).tolist()
    ends = (at + 1 for at in places if at + 1 < len(text))
    return [at for at in (*places, *ends) if not unicodedata.category(text[at]).startswith("M")]
