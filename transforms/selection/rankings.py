"""The best of a stream of candidates, in bounded memory, and draws by chance that do not depend on its order.

A document that stands in the corpus several times has one text, one score and one draw. So its copies meet at the same
place of a ranking, and it is enough to know the texts that are in there.
"""

import dataclasses
import hashlib
import heapq

from transforms.selection.candidates import Candidate


class Ranking:
    """The candidates with the greatest scores, each text once.

    Args:
      capacity: how many are kept.
      seed: decides between equal scores, and makes a random sample of candidates that all score the same.
    """

    def __init__(self, capacity: int, seed: str) -> None:
        self._capacity = capacity
        self._seed = seed
        # The digest makes every key different, so that candidates themselves are never compared.
        self._heap: list[tuple[float, bytes, str, Candidate]] = []
        self._digests: set[str] = set()

    def add(self, candidate: Candidate, score: float) -> None:
        """Takes a candidate in if it is among the best so far."""
        digest = candidate.document.digest
        is_full = len(self._heap) >= self._capacity
        if not self._capacity or digest in self._digests or (is_full and score < self._heap[0][0]):
            return
        key = score, draw(self._seed, digest), digest
        if is_full and key < self._heap[0][:3]:
            return
        item = (*key, _strip(candidate))
        self._digests.add(digest)
        if is_full:
            self._digests.remove(heapq.heapreplace(self._heap, item)[2])
        else:
            heapq.heappush(self._heap, item)

    def best(self) -> list[tuple[float, Candidate]]:
        """Scores and candidates, the greatest first."""
        return [(score, candidate) for score, _, _, candidate in sorted(self._heap, key=lambda item: item[:3])[::-1]]


def draw(seed: str, digest: str) -> bytes:
    """Eight bytes for a text that look like chance and are the same for the same seed.

    The texts with the greatest draws are a random sample, however the corpus is ordered or cut.
    """
    return hashlib.blake2b(f"{seed} {digest}".encode(), digest_size=8).digest()


def _strip(candidate: Candidate) -> Candidate:
    """A candidate without what is needed for its score only, which may be much larger than the rest."""
    return dataclasses.replace(candidate, document=dataclasses.replace(candidate.document, below=()), readings=())
