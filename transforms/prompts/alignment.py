"""Mentions to places in the text, each with a status that says how well it fits.

| status     | what the text has                                                                              |
|------------|------------------------------------------------------------------------------------------------|
| exact      | the very characters, from word to word; all places count                                       |
| normalised | the same but for case, Unicode forms, white space, quotation marks, dashes; all places count   |
| fuzzy      | the like: few characters differ (Levenshtein, 1966), and no digit; the best place counts       |
| not-found  | nothing of the kind: the model made it up                                                      |

The first status that has a place holds. Of a mention that says where it stands, only the nearest place counts.
"""

import bisect
import dataclasses
import functools
from typing import Literal, NamedTuple

from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import extract

from schemas.errors import ConfigError
from transforms.prompts.answers import Mention
from transforms.prompts.folding import Folded, fold
from transforms.text.words import find_words, is_boundary

Status = Literal["exact", "normalised", "fuzzy", "not-found"]

_MORE_WORDS = 1


class Place(NamedTuple):
    """Where a mention stands in the text.

    Attributes:
      start: first code point.
      end: one past the last.
      distance: characters to add, drop or change in the folded spelling; 0 unless fuzzy.
    """

    start: int
    end: int
    distance: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignmentConfig:
    """What counts as found.

    Attributes:
      max_distance: most characters that may differ, as a share of the mention's; 0 finds nothing fuzzy.
    """

    max_distance: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.max_distance < 1:
            raise ConfigError(f"expected a largest distance from 0 to below 1, found {self.max_distance}")


class Aligner:
    """Finds mentions in one text.

    Args:
      text: the text.
      config: what counts as found.
    """

    def __init__(self, text: str, config: AlignmentConfig | None = None) -> None:
        self._text = text
        self._config = config or AlignmentConfig()

    def align(self, mention: Mention) -> tuple[Status, tuple[Place, ...]]:
        """A mention to its status and places, in the order of the text; none where it is not found."""
        wanted = mention.text.strip()
        if places := self._find_exact(wanted, mention.near):
            return "exact", _choose(places, mention.near)
        folded = fold(wanted).text
        if places := self._find_normalised(folded):
            return "normalised", _choose(places, mention.near)
        if place := self._find_fuzzy(folded, mention.near):
            return "fuzzy", (place,)
        return "not-found", ()

    def _find_exact(self, wanted: str, near: int | None) -> list[Place]:
        places = [Place(start, start + len(wanted)) for start in _find_all(self._text, wanted)]
        # A mark within a word is where the model wants it.
        return [place for place in places if place.start == near or self._is_whole(place.start, place.end)]

    def _find_normalised(self, wanted: str) -> list[Place]:
        folded = self._folded
        found = (folded.find_original(first, first + len(wanted)) for first in _find_all(folded.text, wanted))
        return [Place(*span) for span in found if span and self._is_whole(*span)]

    def _find_fuzzy(self, wanted: str, near: int | None) -> Place | None:
        """The place of least distance among those of about as many words; the first, or nearest, of equal ones."""
        most = int(self._config.max_distance * len(wanted))
        if not most:
            return None
        n_words = len(find_words(wanted))
        candidates: dict[tuple[int, int], str] = {}
        for length in range(max(1, n_words - _MORE_WORDS), n_words + _MORE_WORDS + 1):
            candidates |= self._runs(length)
        alike = extract(wanted, candidates, scorer=Levenshtein.distance, score_cutoff=most, limit=None, processor=None)
        digits = _find_digits(wanted)
        places = [
            Place(start, end, int(distance))
            for spelling, distance, (start, end) in alike
            if _find_digits(spelling) == digits
        ]
        return min(places, key=lambda place: (place.distance, abs(place.start - (near or 0)), place.end), default=None)

    @functools.cached_property
    def _folded(self) -> Folded:
        return fold(self._text)

    @functools.cached_property
    def _words(self) -> list[tuple[int, int]]:
        return find_words(self._text)

    def _runs(self, n_words: int) -> dict[tuple[int, int], str]:
        """Folded spellings of all runs of some words, by their places."""
        words, folded = self._words, self._folded
        spans = [(words[at][0], words[at + n_words - 1][1]) for at in range(len(words) - n_words + 1)]
        return {
            (start, end): folded.text[bisect.bisect_left(folded.starts, start) : bisect.bisect_left(folded.starts, end)]
            for start, end in spans
        }

    def _is_whole(self, start: int, end: int) -> bool:
        return is_boundary(self._text, start) and is_boundary(self._text, end)


def _find_all(text: str, wanted: str) -> list[int]:
    """Every start of a string in a text, also where it overlaps itself."""
    starts = []
    at = text.find(wanted) if wanted else -1
    while at != -1:
        starts.append(at)
        at = text.find(wanted, at + 1)
    return starts


def _choose(places: list[Place], near: int | None) -> tuple[Place, ...]:
    if near is None:
        return tuple(places)
    return (min(places, key=lambda place: (abs(place.start - near), place.start)),)


def _find_digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
