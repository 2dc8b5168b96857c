"""Tag sequences in memory to entity counts, as seqeval scores them and many times as fast."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from transforms.scoring.matching import SpanColumns, match_spans
from transforms.tags.chunks import Vocabulary

_BLOCK_SEQUENCES = 1 << 15


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
    for block in _blocks(gold, predicted):
        bounds = np.concatenate([[0], np.cumsum([len(tags) for tags, _ in block], dtype=np.int64)])
        sides = []
        for side in zip(*block, strict=True):
            codes = vocabulary.encode(itertools.chain.from_iterable(side), int(bounds[-1]))
            chunks = vocabulary.find(codes, bounds, is_strict=is_strict)
            # Positions count over the whole block, so that they tell sequences apart by themselves.
            sides.append(SpanColumns(np.zeros_like(chunks.first), chunks.first, chunks.last, chunks.label))
        is_found, is_right = match_spans(*sides)
        labels = (sides[0].label[is_found], sides[1].label[~is_right], sides[0].label[~is_found])
        counts = np.stack([np.bincount(label, minlength=len(vocabulary.labels)) for label in labels], axis=1)
        for label, row in zip(vocabulary.labels, counts.tolist(), strict=True):
            totals[label] = [a + b for a, b in zip(totals.get(label, [0, 0, 0]), row, strict=True)]
    return {label: totals[label] for label in sorted(totals) if any(totals[label])}


def _blocks(
    gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]
) -> Iterator[list[tuple[Sequence[str], Sequence[str]]]]:
    pairs = zip(gold, predicted, strict=True)
    while block := list(itertools.islice(pairs, _BLOCK_SEQUENCES)):
        for tags, others in block:
            if len(tags) != len(others):
                raise ValueError(f"expected as many predicted tags as gold tags, found {len(others)} and {len(tags)}")
        yield block
