"""Names in texts: all at once by an automaton (Aho and Corasick 1975), then the leftmost and longest."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from transforms.models.gazetteer.dictionaries import Dictionary
from transforms.models.gazetteer.options import GazetteerOptions
from transforms.models.gazetteer.reading import Reading, read_texts
from transforms.models.tagger import IntArray
from transforms.workers.heartbeats import beat

_BLOCK_CHARACTERS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Matches:
    """Names that were found, in order of text and position, none within another.

    Attributes:
      document: (n,) index of the text.
      start: (n,) first code point.
      end: (n,) one past the last.
      label: (n,) index into the dictionary's labels.
      words: (n_texts,) words of each text.
    """

    document: IntArray
    start: IntArray
    end: IntArray
    label: IntArray
    words: IntArray


class Matcher:
    """Finds the names of a dictionary; threads may share it.

    Args:
      dictionary: the names.
      options: how they are looked for.
    """

    def __init__(self, dictionary: Dictionary, options: GazetteerOptions) -> None:
        from ahocorasick_rs import AhoCorasick

        numbers = {label: number for number, label in enumerate(dictionary.labels)}
        self._at_words = options.words
        self._is_folded = bool(dictionary.folded)
        self._exact = {name: numbers[label] for name, label in dictionary.exact.items()}
        self._check_exact = self._is_folded and bool(self._exact)
        names = dict(dictionary.folded)
        for name, label in dictionary.exact.items():
            names.setdefault(name.casefold() if self._is_folded else name, "" if self._is_folded else label)
        # What holds whatever the case; -1 where only names as they are written do.
        self._labels = np.array([numbers.get(label, -1) for label in names.values()], dtype=np.int64)
        self._longest = max(map(len, names))
        self._automaton = AhoCorasick(names, store_patterns=False)

    def match(self, texts: Sequence[str]) -> Matches:
        """Texts in, names out: of those that overlap the leftmost, and of those the longest."""
        reading = read_texts(texts, is_folded=self._is_folded, at_words=self._at_words)
        start, end, label = self._find_candidates(reading)
        kept = _keep_leftmost_longest(start, end)
        document = np.searchsorted(reading.bounds, start[kept], side="right") - 1
        base = reading.bounds[document]
        return Matches(document, start[kept] - base, end[kept] - base, label[kept], reading.words)

    def _find_candidates(self, reading: Reading) -> tuple[IntArray, IntArray, IntArray]:
        """(start, end, label) of whatever may be a name, in the joined texts."""
        found = np.concatenate([*self._search(reading.text), np.empty((0, 3), dtype=np.int64)])
        pattern, first, last = found.T
        is_whole = reading.is_edge[first] & reading.is_edge[last]
        pattern, first, last = pattern[is_whole], first[is_whole], last[is_whole]
        start, end = reading.origin[first].astype(np.int64), reading.origin[last - 1].astype(np.int64) + 1
        label = self._labels[pattern]
        if self._check_exact:
            spans = zip(start.tolist(), end.tolist(), label.tolist(), strict=True)
            label = np.array([self._label(reading.joined[a:b], folded) for a, b, folded in spans], dtype=np.int64)
        is_name = label >= 0
        return start[is_name], end[is_name], label[is_name]

    def _label(self, surface: str, folded: int) -> int:
        """The label of a name as it is written, else what holds whatever the case."""
        label = self._exact.get(surface)
        return self._exact.get(" ".join(surface.split()), folded) if label is None else label

    def _search(self, text: str) -> Iterator[IntArray]:
        """(pattern, first, last) of every pattern in a text, block by block, so that not all are held as tuples."""
        for base in range(0, len(text), _BLOCK_CHARACTERS):
            block = text[base : base + _BLOCK_CHARACTERS + self._longest]
            triples: list[Any] = self._automaton.find_matches_as_indexes(block, overlapping=True)
            found = np.fromiter(itertools.chain.from_iterable(triples), np.int64, 3 * len(triples)).reshape(-1, 3)
            found[:, 1:] += base
            yield found[found[:, 1] < base + _BLOCK_CHARACTERS]
            beat()


def _keep_leftmost_longest(start: IntArray, end: IntArray) -> IntArray:
    """Indices of spans that remain when each takes its place from those that begin later, or there and are shorter."""
    order = np.lexsort((-end, start))
    kept = []
    free_from = 0
    for at, first, last in zip(order.tolist(), start[order].tolist(), end[order].tolist(), strict=True):
        if first >= free_from:
            kept.append(at)
            free_from = last
    return np.array(kept, dtype=np.int64)
