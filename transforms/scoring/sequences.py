"""Tag sequences in memory to entity counts, as seqeval scores them and many times as fast."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from transforms.scoring.matching import SpanColumns, match_spans
from transforms.tags.chunks import Vocabulary

IntArray = npt.NDArray[np.int64]

_BLOCK_SEQUENCES = 1 << 13


def count_sequences(
    gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]], *, scheme: str = "BIO", is_strict: bool = False
) -> dict[str, list[int]]:
    """Gold and predicted tags of the same sequences to [found, spurious, missed] by label, sorted by label.

    Args:
      gold: a sequence of tags per sentence.
      predicted: the same; each as long as its gold sequence.
      scheme: the scheme of the tags.
      is_strict: seqeval's strict mode instead of its default.

    Raises:
      ValueError: the sequences differ in number or length.
      ConfigError: a tag does not fit the scheme.

    >>> count_sequences([["B-PER", "I-PER", "O"]], [["B-PER", "O", "B-LOC"]])
    {'LOC': [0, 1, 0], 'PER': [0, 1, 1]}
    """
    vocabulary = Vocabulary(scheme)
    totals: dict[str, list[int]] = {}
    for lengths, *sides in _blocks(gold, predicted):
        bounds = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        wanted, given = (_find_spans(side, bounds, vocabulary, is_strict=is_strict) for side in sides)
        is_found, is_right = match_spans(wanted, given)
        labels = (wanted.label[is_found], given.label[~is_right], wanted.label[~is_found])
        counts = np.stack([np.bincount(label, minlength=len(vocabulary.labels)) for label in labels], axis=1)
        for label, row in zip(vocabulary.labels, counts.tolist(), strict=True):
            totals[label] = [a + b for a, b in zip(totals.get(label, [0, 0, 0]), row, strict=True)]
    return {label: totals[label] for label in sorted(totals) if any(totals[label])}


def _find_spans(side: list[Sequence[str]], bounds: IntArray, vocabulary: Vocabulary, *, is_strict: bool) -> SpanColumns:
    codes = vocabulary.encode(itertools.chain.from_iterable(side), int(bounds[-1]))
    chunks = vocabulary.find(codes, bounds, is_strict=is_strict)
    # Positions count over the whole block, so that they tell sequences apart by themselves.
    return SpanColumns(np.zeros_like(chunks.first), chunks.first, chunks.last, chunks.label)


def _blocks(
    gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]
) -> Iterator[tuple[list[int], list[Sequence[str]], list[Sequence[str]]]]:
    """Runs of sequences as (lengths, gold, predicted).

    Sides stay apart, since a tuple per pair would have the garbage collector walk through all tags again and again.
    """
    sides = iter(gold), iter(predicted)
    while True:
        wanted, given = (list(itertools.islice(side, _BLOCK_SEQUENCES)) for side in sides)
        if len(wanted) != len(given):
            raise ValueError("expected as many predicted sequences as gold sequences, found more on one side")
        if not wanted:
            return
        lengths, others = list(map(len, wanted)), list(map(len, given))
        if lengths != others:
            a, b = next(pair for pair in zip(lengths, others, strict=True) if pair[0] != pair[1])
            raise ValueError(f"expected as many predicted tags as gold tags, found {b} and {a}")
        yield lengths, wanted, given
