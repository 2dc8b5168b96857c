"""Words to windows that a model reads whole, and what it finds in them to entities.

    words    0 1 2 3 4 5 6 7 8 9        at most 6 words, 2 shared by neighbours
    window  [0 1 2 3 4 5]
    window          [4 5 6 7 8 9]

Of spans that overlap, one that ends where its window does, though the text goes on, gives way: the neighbour saw more
of what is around it. Among the rest the higher score holds.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class WordWindow(NamedTuple):
    """Words from `first` to before `last`."""

    first: int
    last: int


class WordSpan(NamedTuple):
    """Words from `first` to before `last` with a label, an index, and its score."""

    first: int
    last: int
    label: int
    score: float


def cut_words(tokens: Sequence[int], *, max_words: int, max_tokens: int, overlap_words: int) -> list[WordWindow]:
    """Words to windows; every word lies in one, or in two where neighbours overlap.

    Args:
      tokens: tokens of each word, at most `max_tokens`.
      max_words: most words of a window.
      max_tokens: most tokens of a window.
      overlap_words: words shared by neighbours, fewer where the next word would not fit; less than `max_words`.
    """
    windows: list[WordWindow] = []
    first = last = total = 0
    while last < len(tokens):
        while last < len(tokens) and last - first < max_words and total + tokens[last] <= max_tokens:
            total += tokens[last]
            last += 1
        windows.append(WordWindow(first, last))
        if last < len(tokens):
            first = max(first, last - overlap_words)
            total = sum(tokens[first:last])
            while total + tokens[last] > max_tokens:
                total -= tokens[first]
                first += 1
    return windows


def merge_spans(found: Iterable[tuple[WordWindow, Sequence[WordSpan]]], n_words: int) -> list[WordSpan]:
    """What was found in the windows of a text to spans that do not overlap, in order.

    Args:
      found: windows, each with its spans, whose words are counted from the text's first.
      n_words: words of the text.
    """
    ranked = []
    for window, spans in found:
        for span in spans:
            is_cut = (span.first == window.first > 0) or (span.last == window.last < n_words)
            ranked.append((is_cut, -span.score, span))
    taken = bytearray(n_words)
    kept = []
    for _, _, span in sorted(ranked):
        if not any(taken[span.first : span.last]):
            taken[span.first : span.last] = b"\1" * (span.last - span.first)
            kept.append(span)
    return sorted(kept)
