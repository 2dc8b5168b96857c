"""Diversity: documents that are spread over the corpus, by what words they hold.

    texts ──> words and pairs of words ──> hashed to VECTOR_SIZE numbers ──> tf-idf, length 1 ──> greedy k-center

Each next document is the one furthest from its nearest among those chosen so far (Gonzalez, "Clustering to minimize the
maximum intercluster distance", 1985), which for a set to label is the core-set of Sener and Savarese ("Active learning
for convolutional neural networks: a core-set approach", 2018); they use a network's features, here it is words, which
cost nothing. Words are hashed with a sign (Weinberger et al., "Feature hashing for large scale multitask learning",
2009), so that nothing has to be remembered of the corpus. Documents are spread among a pool of bounded size.
"""

import dataclasses
import zlib
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from transforms.text.words import find_words

FloatArray = npt.NDArray[np.float32]

VECTOR_SIZE = 1024
_MOST_POOLED = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiverseConfig:
    """Options of diverse.

    Attributes:
      among: the way that fills the pool: random, or one that scores (uncertainty, ...), whose best are then spread.
      pool: documents in the pool for each that is chosen.
    """

    among: str = "random"
    pool: int = 10

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise ConfigError(f"expected option pool of --by diverse to be 1 or more, found {self.pool}")

    def pool_size(self, n: int) -> int:
        """Documents in the pool that n are chosen from."""
        return max(n, min(n * self.pool, _MOST_POOLED)) if n else 0


def hash_words(text: str) -> FloatArray:
    """The words of a text and their pairs, counted under their hashes with a sign, (VECTOR_SIZE,)."""
    words = [text[start:end].casefold() for start, end in find_words(text)]
    pairs = (f"{a} {b}" for a, b in pairwise(words))
    hashes = np.fromiter((zlib.crc32(word.encode()) for word in chain(words, pairs)), dtype=np.uint32)
    signs = np.where(hashes >> 31, -1.0, 1.0)
    return np.bincount(hashes % VECTOR_SIZE, weights=signs, minlength=VECTOR_SIZE).astype(np.float32)


def weight_vectors(counts: FloatArray) -> FloatArray:
    """Counts of the documents of a pool, (n, VECTOR_SIZE), to tf-idf vectors of length 1, in place."""
    n_documents = len(counts)
    n_holding = np.count_nonzero(counts, axis=0)
    np.copyto(counts, np.sign(counts) * np.log1p(np.abs(counts)))
    counts *= np.log((1 + n_documents) / (1 + n_holding)).astype(np.float32) + 1
    counts /= np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return counts


def spread(vectors: FloatArray, n: int, centres: FloatArray) -> list[tuple[int, float]]:
    """Rows of vectors that are far from each other and from some centres.

    Args:
      vectors: (n_pool, size) of length 1.
      n: how many rows to choose.
      centres: (n_centres, size) of what is chosen already; without any, the first row is the one nearest the mean.

    Returns:
      (row, cosine distance to the nearest chosen before) in the order they were chosen; 1 for the first.
    """
    if not len(vectors):
        return []
    nearest = np.full(len(vectors), np.inf, dtype=np.float32)
    for centre in centres:
        np.minimum(nearest, 1 - vectors @ centre, out=nearest)
    chosen: list[tuple[int, float]] = []
    while len(chosen) < min(n, len(vectors)):
        is_first = not len(centres) and not chosen
        row = int(np.argmax(vectors @ vectors.mean(axis=0))) if is_first else int(np.argmax(nearest))
        chosen.append((row, 1.0 if is_first else float(nearest[row])))
        np.minimum(nearest, 1 - vectors @ vectors[row], out=nearest)
        # Below any distance, so that it is not chosen again.
        nearest[row] = -np.inf
    return chosen
