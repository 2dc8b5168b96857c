"""Scores over unique mentions: how many different names were found, however often each occurs.

    gold       London LOC, London LOC, Ada PER         unique: London LOC, Ada PER
    predicted  London LOC, London LOC, London ORG      unique: London LOC, London ORG       found: London LOC

A unique mention is a surface form and its label. Their precision, recall and F1 are the second measure of the WNUT-17
shared task (Derczynski et al., "Results of the WNUT2017 shared task on novel and emerging entity recognition", 2017),
which a few frequent names cannot carry. The sets of both sides are compared, wherever their mentions stand, as the
task's page has it; the task's script asks in addition that one mention of a pair be found in its place.

Sets grow with the corpus, so a bounded sample of them is kept: the mentions with the smallest digests, in which every
distinct mention has the same chance to be (Bar-Yossef et al., "Counting distinct elements in a data stream", 2002).
A mention among the smallest of two sets together is among the smallest of each set that holds it, so samples merge, in
any order, into the sample of the whole, and nothing is lost until there are more mentions than the limit.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.scoring.averages import Prf, score_labels
from transforms.scoring.intervals import BLOCK_DOCUMENTS, FloatArray, IntArray, KeyArray, draw_weights

BoolArray = npt.NDArray[np.bool_]
MaskArray = npt.NDArray[np.uint64]

LIMIT = 131_072
"""Mentions kept by default: 35 MB with 1000 replicates; a sample of so many tells a ratio to within about 0.3 %."""

_BLOCK_MASKS = 1 << 15
_MASK_BITS = 64


@dataclasses.dataclass(frozen=True)
class MentionColumns:
    """Mentions of both sides, of many documents, as columns.

    Attributes:
      surface: (n,) the mention's characters; they are compared as they are.
      label: (n,) its label.
      is_gold: (n,) whether it is in gold; otherwise it is in the prediction.
      document: (n,) index of its document.
    """

    surface: Sequence[str]
    label: Sequence[str]
    is_gold: BoolArray
    document: IntArray


@dataclasses.dataclass(frozen=True, eq=False)
class Mentions:
    """Unique mentions of some documents; `a + b` are those of both together, the same for every order of merging.

    A mask has a bit for the corpus and then one for each replicate of the bootstrap: whether a document that is drawn
    there holds the mention on that side.

    Attributes:
      digests: (n,) the smallest digests of mentions, ascending.
      gold: (n, n_words) masks of the gold side.
      predicted: (n, n_words) masks of the predicted side.
      n_replicates: replicates of the bootstrap.
      limit: most mentions to keep.
      is_sampled: whether there were more, so that scores are estimates.
    """

    digests: npt.NDArray[np.uint64]
    gold: MaskArray
    predicted: MaskArray
    n_replicates: int
    limit: int
    is_sampled: bool

    @classmethod
    def empty(cls, n_replicates: int, limit: int = LIMIT) -> "Mentions":
        """The mentions of no documents."""
        masks = np.zeros((0, _count_words(n_replicates)), dtype=np.uint64)
        return cls(np.empty(0, dtype=np.uint64), masks, masks, n_replicates, limit, is_sampled=False)

    def __add__(self, other: "Mentions") -> "Mentions":
        ours, theirs = (self.n_replicates, self.limit), (other.n_replicates, other.limit)
        if ours != theirs:
            raise ValueError(f"expected mentions with {ours} replicates and limit, found {theirs}; collect both alike")
        union = np.union1d(self.digests, other.digests)
        digests = union[: self.limit]
        sides = []
        for masks in ((self.gold, other.gold), (self.predicted, other.predicted)):
            side = np.zeros((len(digests), _count_words(self.n_replicates)), dtype=np.uint64)
            for part, part_masks in zip((self.digests, other.digests), masks, strict=True):
                places = np.searchsorted(digests, part)
                n_kept = np.count_nonzero(places < len(digests))
                side[places[:n_kept]] |= part_masks[:n_kept]
            sides.append(side)
        is_sampled = self.is_sampled or other.is_sampled or len(union) > len(digests)
        return dataclasses.replace(self, digests=digests, gold=sides[0], predicted=sides[1], is_sampled=is_sampled)

    def score(self) -> Prf:
        """Precision, recall and F1 over unique mentions, and how many of them gold has.

        Of a sample, precision, recall and F1 are those of the mentions in it, and the support is estimated: the gold
        mentions below the sample's largest digest, divided by the share of all digests that lie below it.
        """
        prf = score_labels(*self._count(1))
        support = int(prf.support[0])
        if self.is_sampled:
            below = int(_count_bits(self.gold[:-1], 1)[0])
            support = round(below / (int(self.digests[-1]) / 2**64))
        return Prf(float(prf.precision[0]), float(prf.recall[0]), float(prf.f1[0]), support)

    def replicate_scores(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Precision, recall and F1 in every replicate, (n_replicates,) each; of the mentions in the sample, if sampled.

        They lie to one side of `score` and close together, because a replicate misses rare mentions and repeats none:
        their interval is `shifted_interval` with `DISTINCT_WIDENING`.
        """
        prf = score_labels(*(count[1:] for count in self._count(1 + self.n_replicates)))
        return prf.precision, prf.recall, prf.f1

    def _count(self, n_bits: int) -> tuple[IntArray, IntArray, IntArray]:
        """Found, spurious and missed mentions under each of the masks' first bits."""
        found = _count_bits(self.gold & self.predicted, n_bits)
        return found, _count_bits(self.predicted, n_bits) - found, _count_bits(self.gold, n_bits) - found


def collect_mentions(columns: MentionColumns, keys: KeyArray, n_replicates: int, limit: int = LIMIT) -> Mentions:
    """Mentions of some documents in, their unique ones out.

    Args:
      columns: the mentions.
      keys: (n_documents,) keys of the documents that the mentions point to.
      n_replicates: replicates of the bootstrap.
      limit: most unique mentions to keep.

    >>> is_gold, document = np.array([True, False, True]), np.array([0, 0, 0])
    >>> columns = MentionColumns(["Ada", "Ada", "Rome"], ["PER", "PER", "LOC"], is_gold, document)
    >>> collect_mentions(columns, np.array([7], dtype=np.uint64), n_replicates=10).score()
    Prf(precision=1.0, recall=0.5, f1=0.6666666666666666, support=2)
    """
    distinct, mention = np.unique(_digest_mentions(columns.surface, columns.label), return_inverse=True)
    digests = distinct[:limit]
    drawn = _pack_draws(keys, n_replicates)
    sides = []
    for is_side in (columns.is_gold, ~columns.is_gold):
        rows = np.flatnonzero(is_side & (mention < len(digests)))
        sides.append(_join_masks(mention[rows], columns.document[rows], drawn, len(digests)))
    return Mentions(digests, sides[0], sides[1], n_replicates, limit, is_sampled=len(distinct) > limit)


def _digest_mentions(surfaces: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.uint64]:
    """64 bits for each mention, (n,); each distinct one is hashed once."""
    pairs = list(zip(surfaces, labels, strict=True))
    digests = {pair: _digest_mention(*pair) for pair in set(pairs)}
    return np.fromiter(map(digests.__getitem__, pairs), dtype=np.uint64, count=len(pairs))


def _digest_mention(surface: str, label: str) -> int:
    # The length keeps apart what runs together: label "A" with surface "BC", and label "AB" with surface "C".
    text = f"{len(label)} {label}{surface}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _count_words(n_replicates: int) -> int:
    """64-bit words that hold a bit for the corpus and one for each replicate."""
    return 1 + n_replicates // _MASK_BITS


def _pack_draws(keys: KeyArray, n_replicates: int) -> MaskArray:
    """Where each document is drawn, (n_documents, n_words): in the corpus, and in replicates that give it a weight."""
    n_words = _count_words(n_replicates)
    masks = np.empty((len(keys), n_words), dtype=np.uint64)
    for begin in range(0, len(keys), BLOCK_DOCUMENTS):
        block = keys[begin : begin + BLOCK_DOCUMENTS]
        bits = np.zeros((len(block), n_words * _MASK_BITS), dtype=bool)
        bits[:, 0] = True
        bits[:, 1 : 1 + n_replicates] = draw_weights(block, n_replicates) > 0
        masks[begin : begin + BLOCK_DOCUMENTS] = np.packbits(bits, axis=1).view(np.uint64)
    return masks


def _join_masks(mention: IntArray, document: IntArray, drawn: MaskArray, n_mentions: int) -> MaskArray:
    """Where some document of each mention is drawn, (n_mentions, n_words).

    Args:
      mention: (n,) index of the mention, for every occurrence of it.
      document: (n,) index of the document it occurs in.
      drawn: (n_documents, n_words) where the documents are drawn.
      n_mentions: how many mentions there are.
    """
    masks = np.zeros((n_mentions, drawn.shape[1]), dtype=np.uint64)
    pairs = np.unique(mention * max(1, len(drawn)) + document)
    for begin in range(0, len(pairs), _BLOCK_MASKS):
        mentions, documents = np.divmod(pairs[begin : begin + _BLOCK_MASKS], len(drawn))
        present, starts = np.unique(mentions, return_index=True)
        masks[present] |= np.bitwise_or.reduceat(drawn[documents], starts, axis=0)
    return masks


def _count_bits(masks: MaskArray, n_bits: int) -> IntArray:
    """How many masks have each of their first bits set, (n_bits,)."""
    total = np.zeros(n_bits, dtype=np.int64)
    for begin in range(0, len(masks), _BLOCK_MASKS):
        block = masks[begin : begin + _BLOCK_MASKS].view(np.uint8)
        total += np.unpackbits(block, axis=1, count=n_bits).sum(axis=0, dtype=np.int64)
    return total
