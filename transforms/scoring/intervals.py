"""How much a score would move on other documents: a Poisson bootstrap that adds up across workers.

    document   counts    weights in replicate  0  1  2 ...
    a          2 0 1                           1  0  3
    b          1 1 0                           0  2  1
                         replicate 0: 2 0 1    1: 2 2 0    2: 7 1 3

The bootstrap draws documents with replacement. Here every document draws instead how often it is in a replicate, from
Poisson(1) and on its own, so that documents need not be in one place (Hanley & MacGibbon, "Creating non-parametric
bootstrap samples using Poisson frequencies", 2006; Chamandy et al., "Estimating uncertainty for massive data streams",
2012). The draw is a function of the document's key and the replicate's number and of nothing else: any split over
workers, any order and any run gives the same replicates, and two systems scored on the same documents are paired.
"""

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
KeyArray = npt.NDArray[np.uint64]

BLOCK_DOCUMENTS = 1024
"""Documents whose weights are in memory at a time: 4 MB for 1000 replicates."""

DISTINCT_WIDENING = math.sqrt(math.e - 1)
"""How many times as far as its replicates a ratio of distinct things moves, when these mostly occur once.

Drawing such a thing twice adds nothing to a set, so a replicate is a share f = 1 - e^-1 of them without repeats, whose
ratio varies (1 - f) / f = 1 / (e - 1) times as much as the ratio of all (Shao & Wu, "A general theory for jackknife
variance estimation", 1989, on the delete-d jackknife). For things that recur often the factor errs on the wide side.
"""

# The increment and the seed of all draws: 2^64 divided by the golden ratio, and digits of pi.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0x243F6A8885A308D3)
_DRAWS = 1 << 16
_DRAWS_PER_WORD = 4


def document_key(identity: str) -> int:
    """A document's name in, 64 bits that stand for it in every process out.

    Args:
      identity: what tells the document from all others. Two documents with one identity are drawn together.

    >>> document_key("dev.conll 17")
    4792456162328206163
    """
    return int.from_bytes(hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def document_keys(identities: Iterable[str]) -> KeyArray:
    """`document_key` of each, (n_documents,)."""
    return np.fromiter(map(document_key, identities), dtype=np.uint64)


def draw_weights(keys: KeyArray, n_replicates: int) -> npt.NDArray[np.float32]:
    """How often each document is in each replicate, (n_documents, n_replicates), whole numbers drawn from Poisson(1).

    SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014) of the key and a counter
    gives words of 64 bits, each of them four draws. More replicates leave the first ones as they are.

    Args:
      keys: (n_documents,) keys of the documents.
      n_replicates: replicates to draw.

    >>> draw_weights(document_keys(["a", "b"]), 8).astype(int).tolist()
    [[0, 3, 1, 1, 1, 1, 0, 2], [0, 1, 0, 1, 3, 1, 1, 1]]
    """
    n_words = -(-n_replicates // _DRAWS_PER_WORD)
    counters = _GAMMA * np.arange(1, n_words + 1, dtype=np.uint64)
    words = _mix(_mix(keys ^ _SEED)[:, None] + counters)
    draws = words.astype("<u8", copy=False).view("<u2")[:, :n_replicates]
    weights: npt.NDArray[np.float32] = _POISSON[draws]
    return weights


def resample(counts: IntArray, keys: KeyArray, n_replicates: int) -> IntArray:
    """Counts of documents in, their sums in every replicate out, (n_replicates, n_counts).

    The sums of two sets of documents add up, exactly, to those of both.

    Args:
      counts: (n_documents, n_counts) counts, whose sum over a block of documents is far below 2^50.
      keys: (n_documents,) keys of the documents.
      n_replicates: replicates to draw.
    """
    total = np.zeros((n_replicates, counts.shape[1]), dtype=np.int64)
    rows = np.flatnonzero(counts.any(axis=1))
    for begin in range(0, len(rows), BLOCK_DOCUMENTS):
        block = rows[begin : begin + BLOCK_DOCUMENTS]
        part = counts[block]
        # Floats multiply many times faster than integers, and are exact while no sum leaves their mantissa.
        largest = int(np.abs(part).sum(axis=0).max()) * _MAX_WEIGHT
        dtype = np.float32 if largest < 1 << 24 else np.float64
        weights = draw_weights(keys[block], n_replicates).astype(dtype, copy=False)
        total += (weights.T @ part.astype(dtype)).astype(np.int64)
    return total


def interval(replicates: FloatArray, level: float = 0.95) -> tuple[float, float]:
    """A score's replicates in, its percentile interval out.

    Efron & Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.

    Args:
      replicates: (n_replicates,) the score in each replicate; no NaN, at least one.
      level: share of the replicates that lies inside.

    >>> interval(np.arange(9) / 8, level=0.75)
    (0.125, 0.875)
    """
    low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def shifted_interval(
    estimate: float, replicates: FloatArray, level: float = 0.95, widening: float = 1.0
) -> tuple[float, float]:
    """The percentile interval, moved so that the replicates' mean falls on the estimate, within 0 to 1.

    For scores over distinct things, such as unique mentions. A replicate leaves out e^-1 of the documents and with them
    the mentions that occur once, and it draws no new ones for those lost; so its distinct things are fewer and commoner
    than the corpus's, and its score lies to one side of the estimate. It also moves too little: see
    `DISTINCT_WIDENING`.

    Args:
      estimate: the score of the corpus.
      replicates: (n_replicates,) the score in each replicate; no NaN, at least one.
      level: share of the replicates that lies inside, before the interval is widened.
      widening: how many times as far from the estimate the ends are to be.

    >>> shifted_interval(0.5, np.array([0.5, 0.625, 0.75]), level=1.0)
    (0.375, 0.625)
    >>> shifted_interval(0.5, np.array([0.5, 0.625, 0.75]), level=1.0, widening=2.0)
    (0.25, 0.75)
    """
    low, high = interval(replicates, level)
    mean = float(np.mean(replicates))
    return max(0.0, estimate + widening * (low - mean)), min(1.0, estimate + widening * (high - mean))


def _mix(words: KeyArray) -> KeyArray:
    """SplitMix64's finalizer: every bit of a word changes every bit of the result with even odds."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def _tabulate_poisson() -> npt.NDArray[np.float32]:
    """Poisson(1) for each of the 65,536 draws: its distribution function turned round; the mean is exactly 1."""
    chances = [math.exp(-1) / math.factorial(weight) for weight in range(10)]
    ends = np.rint(_DRAWS * np.cumsum(chances)).astype(np.int64)
    return np.searchsorted(ends, np.arange(_DRAWS), side="right").astype(np.float32)


_POISSON = _tabulate_poisson()
_MAX_WEIGHT = int(_POISSON[-1])
