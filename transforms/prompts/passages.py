"""Long texts to passages that fit a budget, however that is counted.

a passage ends    behind the last paragraph that fits, if that is in its second half,
else behind the last sentence,
else behind the last word; then the next one repeats some words, so that a name is whole in one,
else, in a word that does not fit alone, behind the last character
"""

import bisect
import re
from collections.abc import Callable, Iterator, Sequence

from schemas.errors import TaggingError
from transforms.text.words import find_words

_FIRST_GUESS = 256
_OVERLAP_WORDS = 12
_LARGEST_OVERLAP = 0.25

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")
# A single letter before a full stop is an initial.
_SENTENCE_END = re.compile(r"""(?:(?<!\b\w)[.!?…]["'”’»)\]]*\s+|[。！？｡]["'”’」』）]*\s*)(?=\S)""")


def cut_passages(text: str, fits: Callable[[str], bool]) -> list[tuple[int, int]]:
    """A text to passages that fit, in order; every character lies in one, in some also in two neighbours.

    Args:
      text: the text; an empty one has no passages.
      fits: whether a passage fits; what a passage that fits begins with should fit too. It is asked some seven
        times per passage, about little more than twice what fits.

    Raises:
      TaggingError: somewhere not even one character fits.
    """
    cutter = _Cutter(text, fits)
    passages: list[tuple[int, int]] = []
    start = covered = 0
    while covered < len(text):
        end, following = cutter.cut(start, covered)
        if end <= covered:
            # The repeated words leave no room for another one.
            start = covered
            continue
        passages.append((start, end))
        start, covered = following, end
    return passages


class _Cutter:
    """Finds one passage after another, and remembers how many words the last one had."""

    def __init__(self, text: str, fits: Callable[[str], bool]) -> None:
        self._text = text
        self._fits = fits
        # Space belongs to the word before it, and at the very beginning to the first one.
        self._word_ends = [*(start for start, _ in find_words(text)[1:]), len(text)]
        self._paragraph_ends = [match.end() for match in _PARAGRAPH_END.finditer(text)]
        self._sentence_ends = sorted({*self._paragraph_ends, *_find_sentence_ends(text)})
        self._guess = _FIRST_GUESS

    def cut(self, start: int, covered: int) -> tuple[int, int]:
        """A passage that begins at `start`, to its end and the start of the next one.

        The end is not beyond `covered`, where the passage before it ends, if nothing more fits.
        """
        first = bisect.bisect_right(self._word_ends, start)
        n_words = _find_most(
            lambda n: self._fits(self._text[start : self._word_ends[first + n - 1]]),
            most=len(self._word_ends) - first,
            guess=self._guess,
        )
        if n_words == 0:
            return self._cut_word(start, self._word_ends[first])
        self._guess = n_words
        longest = self._word_ends[first + n_words - 1]
        if longest <= covered or longest == len(self._text):
            return longest, longest
        for end in self._find_breaks(start, covered, longest):
            if end == longest or self._fits(self._text[start:end]):
                return end, end
        repeated = min(_OVERLAP_WORDS, int(_LARGEST_OVERLAP * n_words))
        return longest, self._word_ends[first + n_words - 1 - repeated]

    def _find_breaks(self, start: int, covered: int, longest: int) -> Iterator[int]:
        """Where the passage may end without cutting a sentence, the best place first."""
        middle = (start + longest) // 2
        yield from _between(self._paragraph_ends, max(middle, covered), longest)
        yield from _between(self._sentence_ends, max(start, covered), longest)

    def _cut_word(self, start: int, end: int) -> tuple[int, int]:
        n_characters = _find_most(
            lambda n: self._fits(self._text[start : start + n]), most=end - start, guess=end - start
        )
        if n_characters == 0:
            raise TaggingError(
                "too_long", f"expected room for a character beside the instructions, found none at character {start}"
            )
        return start + n_characters, start + n_characters


def _find_most(is_possible: Callable[[int], bool], *, most: int, guess: int) -> int:
    """About the largest number from 0 to `most` that is possible, by doubling from a guess and then halving.

    It is never too large, and too small by one in 32 at most.
    """
    low, high = 0, most + 1
    at = max(1, min(guess, most))
    while high - low > 1 + (low // 32 if high <= most else 0):
        if is_possible(at):
            low = at
            at = min(2 * at, most) if high > most else (low + high) // 2
        else:
            high = at
            at = (low + high) // 2
    return low


def _between(ends: Sequence[int], low: int, high: int) -> Iterator[int]:
    """Those above `low` and up to `high`, the last one first."""
    return reversed(ends[bisect.bisect_right(ends, low) : bisect.bisect_right(ends, high)])


def _find_sentence_ends(text: str) -> Iterator[int]:
    # What goes on in lower case was an abbreviation.
    return (match.end() for match in _SENTENCE_END.finditer(text) if not text[match.end()].islower())
