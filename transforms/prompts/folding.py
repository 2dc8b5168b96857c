"""Spellings that mean the same, folded to one, with the way back to the original characters.

    "Rapid  Wien 's “Café”"    ->    "rapid wien's 'café'"    with start and end of each character in the original

Folded are compatibility forms (Unicode's NFKD), case, white space, quotation marks, dashes and what is not seen. White
space counts between letters and digits only, as tokenizers put it about punctuation at will.
"""

import dataclasses
import re
import unicodedata

_QUOTES = "\"'`´‘’‚‛“”„‟‹›«»′″＂＇"
_DASHES = "-‐‑‒–—―−﹘﹣－"
_FOLDS = str.maketrans(dict.fromkeys(_QUOTES, "'") | dict.fromkeys(_DASHES, "-"))
_SPACE = re.compile(r"\s+")


@dataclasses.dataclass(frozen=True)
class Folded:
    """A folded text.

    Attributes:
      text: what is left of it.
      starts: where the original of each character begins.
      ends: where it ends; characters that were made from one have the same place.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def find_original(self, first: int, last: int) -> tuple[int, int] | None:
        """A piece of the folded text to the original one; None where it holds only a part of an original character."""
        cuts_first = first > 0 and self.starts[first - 1] == self.starts[first]
        cuts_last = last < len(self.text) and self.starts[last - 1] == self.starts[last]
        return None if cuts_first or cuts_last else (self.starts[first], self.ends[last - 1])


def fold(text: str) -> Folded:
    """A text to its folded form.

    >>> folded = fold("Ｃafe\u0301 'N' Bar")
    >>> folded.text == fold("café ’n’ bar").text
    True
    >>> folded.find_original(0, 5)
    (0, 5)
    """
    characters: list[str] = []
    places: list[tuple[int, int]] = []
    for start, end in _cut_clusters(text):
        cluster = text[start:end]
        if cluster.isspace():
            folded = " "
        else:
            # What compatibility forms hold may have marks and case of its own.
            folded = unicodedata.normalize("NFKD", cluster.translate(_FOLDS))
            folded = unicodedata.normalize("NFKD", folded.casefold())
            folded = _SPACE.sub(" ", folded.translate(_FOLDS))
            folded = "".join(character for character in folded if unicodedata.category(character) != "Cf")
        characters += folded
        places += [(start, end)] * len(folded)
    kept = _find_kept(characters)
    return Folded(
        "".join(characters[at] for at in kept), tuple(places[at][0] for at in kept), tuple(places[at][1] for at in kept)
    )


def _cut_clusters(text: str) -> list[tuple[int, int]]:
    """Runs of white space, and characters with the marks upon them."""
    clusters: list[tuple[int, int]] = []
    for at, character in enumerate(text):
        follows_space = at > 0 and text[at - 1].isspace()
        continues = follows_space if character.isspace() else unicodedata.combining(character) and not follows_space
        if clusters and continues:
            clusters[-1] = clusters[-1][0], at + 1
        else:
            clusters.append((at, at + 1))
    return clusters


def _find_kept(characters: list[str]) -> list[int]:
    """Positions of all but white space that does not part letters and digits."""
    kept: list[int] = []
    space: int | None = None
    for at, character in enumerate(characters):
        if character == " ":
            space = at if space is None else space
            continue
        if space is not None and kept and _parts_words(characters[kept[-1]], character):
            kept.append(space)
        space = None
        kept.append(at)
    return kept


def _parts_words(before: str, after: str) -> bool:
    return (before.isalnum() or unicodedata.combining(before) != 0) and after.isalnum()
