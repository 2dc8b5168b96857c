"""Surface forms of entities: which are known, and how often each occurs in a run of any size.

Counts are a count-min sketch (Cormode and Muthukrishnan, "An improved data stream summary: the count-min sketch and
its applications", 2005): a few rows of counters, in each of which a form has one place by its hash, and the least of
them is its count. That is never too low, and in 98 cases of 100 no more than 2.6 millionths of all entities too high.
The memory is fixed, 32 MiB.
"""

import dataclasses
import hashlib

import numpy as np

from transforms.text.words import find_words

_ROWS, _WIDTH = 4, 1 << 20


def normalise_surface(surface: str) -> str:
    """A surface form as it is compared: without case and white space, since training files hold words.

    >>> normalise_surface("Müller - Lüdenscheidt") == normalise_surface("MÜLLER-LÜDENSCHEIDT")
    True
    """
    return "".join(surface.split()).casefold()


def split_surface(surface: str) -> list[str]:
    """The words of a surface form as they are compared."""
    return [surface[start:end].casefold() for start, end in find_words(surface)]


@dataclasses.dataclass(frozen=True)
class KnownSurfaces:
    """What a model was trained on.

    Attributes:
      surfaces: surface forms of its entities, normalised.
      words: all its words, without case.
    """

    surfaces: frozenset[str]
    words: frozenset[str]

    def novelty(self, surface: str) -> float:
        """How new a surface form is: 0 where it is known, else from 1/2 to 1 by the share of its words that are new."""
        if normalise_surface(surface) in self.surfaces:
            return 0.0
        words = split_surface(surface)
        n_new = sum(word not in self.words for word in words)
        return (1 + n_new / max(1, len(words))) / 2


class SurfaceCounts:
    """How often each surface form occurs in a run."""

    def __init__(self) -> None:
        self._counts = np.zeros((_ROWS, _WIDTH), dtype=np.int64)
        self._rows = np.arange(_ROWS)

    def add(self, surface: str) -> None:
        """Counts one occurrence."""
        self._counts[self._rows, self._places(surface)] += 1

    def count(self, surface: str) -> int:
        """How often a form occurs; hardly ever more than it does, and never less."""
        return int(self._counts[self._rows, self._places(surface)].min())

    def novelty(self, surface: str) -> float:
        """How rare a form is: 1 for one that occurs once, 1/2 for one that occurs twice."""
        return 1 / max(1, self.count(surface))

    def _places(self, surface: str) -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
        digest = hashlib.blake2b(normalise_surface(surface).encode(), digest_size=4 * _ROWS).digest()
        return np.frombuffer(digest, dtype="<u4") % _WIDTH
