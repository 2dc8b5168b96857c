"""Entities of tag sequences exactly as seqeval reads them, over arrays of many sequences at once.

    tags      B-PER I-PER O | I-LOC B-LOC
    steps    O>B  B>I  I>O O>O  O>I  I>B  B>O     every sequence begins and ends outside
    flags    start     end      start both end    looked up in one table over pairs of tags

Whether an entity starts, goes on or ends depends on two neighbouring tags only, so one look-up per step decides, and
what is left works on the few steps that do something. Two readings:

default  conlleval's (Tjong Kim Sang and De Meulder, 2003), which makes an entity of every run of tags
strict   seqeval's strict mode (Nakayama, 2018), which keeps only what the scheme's patterns begin and end
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from schemas.labels import OUTSIDE, split_tag
from transforms.tags.schemes import SCHEMES

IntArray = npt.NDArray[np.int64]

_START, _INSIDE, _END, _BREAK, _ILLEGAL = 1, 2, 4, 8, 16
_MOST_TAGS = 2048
"""Different tags of a vocabulary, for their pairs are looked at; more are no tags but another column of the file."""

# Patterns `XY=` (same label), `XY!` (another label) and `XY*` (any) from one prefix to the next; `?` is any prefix.
_STRICT = {
    "IOB1": ("OI* II! BI* IB= BB=", "BI= II=", "II! IO* IB* BO* BI! BB="),
    "BIO": ("?B*", "BI= II=", "IO* II! IB* BO* BI! BB*"),
    "BIOES": ("?B* ?S*", "BI= BE= II= IE=", "S?* E?*"),
    "BILOU": ("?B* ?U*", "BI= BL= II= IL=", "U?* L?*"),
    "BMES": ("?B* ?S*", "BM= BE= MM= ME=", "S?* E?*"),
}
_DEFAULT_STARTS = "?B* ?S* EE* EI* SE* SI* OE* OI*"
_DEFAULT_ENDS = "E?* S?* BB* BS* BO* IB* IS* IO*"


@dataclasses.dataclass(frozen=True)
class Chunks:
    """Entities in order of their ends.

    Attributes:
      first: (n,) first unit, counted over all sequences.
      last: (n,) one past the last unit.
      label: (n,) index into the vocabulary's labels.
    """

    first: IntArray
    last: IntArray
    label: IntArray


class Vocabulary:
    """Tags and labels as numbers, growing as they are met.

    Args:
      scheme: the scheme that the tags follow.
      label_map: label to another label, or to `O` for none.
      labels: the labels met so far; two vocabularies that share the list number labels alike.
    """

    def __init__(
        self, scheme: str, label_map: Mapping[str, str] | None = None, *, labels: list[str] | None = None
    ) -> None:
        if scheme not in SCHEMES:
            raise ConfigError(f"expected a scheme of {sorted(SCHEMES)}, found {scheme!r}")
        self.scheme = scheme
        self.labels = [] if labels is None else labels
        self._label_map = label_map or {}
        self._parts: list[tuple[str, int]] = [(OUTSIDE, -1)]
        self._codes = _Codes(self)
        self._codes[OUTSIDE] = 0
        self._tables: dict[str, npt.NDArray[np.uint8]] = {}

    def encode(self, tags: Iterable[str], n_tags: int) -> npt.NDArray[np.int16]:
        """Tags to their codes, (n_tags,).

        Raises:
          ConfigError: a tag has a prefix that the scheme lacks, or there are too many tags to be any.
        """
        return np.fromiter(map(self._codes.__getitem__, tags), np.int16, n_tags)

    def label_code(self, label: str) -> int:
        """The number of a label, as the label map calls it; -1 for one that is mapped to `O`."""
        label = self._label_map.get(label, label)
        if label == OUTSIDE:
            return -1
        if label not in self.labels:
            self.labels.append(label)
        return self.labels.index(label)

    def code(self, prefix: str, label: int) -> int:
        """The code of a prefix and a label's number; a number under 0 is outside."""
        part = (prefix, label) if label >= 0 else (OUTSIDE, -1)
        # Tags that became the same by the label map share a code, so that equal codes mean equal tags.
        if part not in self._parts:
            if len(self._parts) == _MOST_TAGS:
                raise ConfigError(f"expected {_MOST_TAGS:,} different tags at most, found more; set --conll-columns")
            self._parts.append(part)
            self._tables.clear()
        return self._parts.index(part)

    def add(self, tag: str) -> int:
        """The code of a tag that was not met before."""
        prefix, label = split_tag(tag)
        if prefix not in SCHEMES[self.scheme].prefixes and prefix != OUTSIDE:
            raise ConfigError(
                f"expected tags in the scheme {self.scheme}, with prefixes {'-'.join(SCHEMES[self.scheme].prefixes)}, "
                f"found {tag!r}; set --scheme"
            )
        self._codes[tag] = self.code(prefix, self.label_code(label) if label else -1)
        return self._codes[tag]

    def find(self, codes: npt.NDArray[np.int16], bounds: IntArray, *, is_strict: bool) -> Chunks:
        """The entities of sequences laid end to end.

        Args:
          codes: (n_units,) what `encode` gave.
          bounds: (n_sequences + 1,) where each sequence begins; the last entry is n_units.
          is_strict: seqeval's strict mode instead of its default.
        """
        steps = _Steps(codes, bounds)
        flags = self._table("strict" if is_strict else "default")[steps.before, steps.after]
        # A scheme without patterns of its own (IO) has one reading.
        if is_strict and self.scheme in _STRICT:
            begins, ends = _find_strict(flags)
        else:
            begins, ends = _find_default(flags)
        label = np.array([label for _, label in self._parts])[steps.before[ends]]
        return Chunks(steps.to_units(begins), steps.to_units(ends), label)

    def find_illegal(self, codes: npt.NDArray[np.int16], bounds: IntArray) -> IntArray:
        """Indices of the sequences with a step that the scheme forbids."""
        steps = _Steps(codes, bounds)
        flags = self._table("illegal")[steps.before, steps.after]
        return np.unique(steps.to_sequences(np.flatnonzero(flags & _ILLEGAL)))

    def _table(self, name: str) -> npt.NDArray[np.uint8]:
        """Flags of every pair of tags, (n_tags, n_tags)."""
        if name not in self._tables:
            flags = [[self._flag(name, before, after) for after in self._parts] for before in self._parts]
            self._tables[name] = np.array(flags, dtype=np.uint8)
        return self._tables[name]

    def _flag(self, name: str, before: tuple[str, int], after: tuple[str, int]) -> int:
        (p, label), (q, other) = before, after
        is_same = label == other
        if name == "illegal":
            scheme = SCHEMES[self.scheme]
            allowed = scheme.same if is_same and label >= 0 else scheme.other
            return 0 if p + q in allowed else _ILLEGAL
        if name == "strict" and self.scheme in _STRICT:
            start, inside, end = (_matches(patterns, p + q, is_same=is_same) for patterns in _STRICT[self.scheme])
            is_break = not inside and (p, q) != (OUTSIDE, OUTSIDE)
            return start * _START + inside * _INSIDE + end * _END + is_break * _BREAK
        start = _matches(_DEFAULT_STARTS, p + q, is_same=is_same) or (q != OUTSIDE and not is_same)
        end = _matches(_DEFAULT_ENDS, p + q, is_same=is_same) or (p != OUTSIDE and not is_same)
        return start * _START + end * _END


class _Codes(dict[str, int]):
    """Codes by tag; looking up a new tag adds it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, tag: str) -> int:
        return self._vocabulary.add(tag)


class _Steps:
    """Pairs of neighbouring tags, with one outside every sequence.

    Attributes:
      before: (n_units + n_sequences,) codes that are left.
      after: (n_units + n_sequences,) codes that are reached.
    """

    def __init__(self, codes: npt.NDArray[np.int16], bounds: IntArray) -> None:
        n_sequences = len(bounds) - 1
        padded = np.zeros(len(codes) + n_sequences + 1, dtype=codes.dtype)
        self._closing = bounds[1:] + np.arange(n_sequences)
        is_unit = np.ones(len(padded), dtype=bool)
        is_unit[0] = False
        is_unit[self._closing + 1] = False
        padded[is_unit] = codes
        self.before, self.after = padded[:-1], padded[1:]

    def to_sequences(self, steps: IntArray) -> IntArray:
        """The sequence that each step lies in."""
        return np.searchsorted(self._closing, steps)

    def to_units(self, steps: IntArray) -> IntArray:
        """The unit that each step leads to, counted over all sequences."""
        return steps - self.to_sequences(steps)


def _find_default(flags: npt.NDArray[np.uint8]) -> tuple[IntArray, IntArray]:
    starts, ends = np.flatnonzero(flags & _START), np.flatnonzero(flags & _END)
    # Where an entity ends and the next does not start (which takes a broken sequence), seqeval keeps the old start.
    return starts[np.searchsorted(starts, ends) - 1], ends


def _find_strict(flags: npt.NDArray[np.uint8]) -> tuple[IntArray, IntArray]:
    starts, breaks = np.flatnonzero(flags & _START), np.flatnonzero(flags & _BREAK)
    stretch = np.searchsorted(breaks, starts, side="right")
    # Of a stretch that goes on without a break, the first start takes all that follows.
    is_first = np.ones(len(starts), dtype=bool)
    is_first[1:] = stretch[1:] != stretch[:-1]
    starts, ends = starts[is_first], breaks[stretch[is_first]]
    is_ended = (flags[ends] & _END) > 0
    return starts[is_ended], ends[is_ended]


def _matches(patterns: str, pair: str, *, is_same: bool) -> bool:
    return any(
        all(wanted in ("?", found) for wanted, found in zip(pattern, pair, strict=False))
        and (pattern[2] == "*" or (pattern[2] == "=") == is_same)
        for pattern in patterns.split()
    )


def find_chunks(
    sequences: Sequence[Sequence[str]], *, scheme: str, is_strict: bool = False
) -> list[list[tuple[int, int, str]]]:
    """Tag sequences to the (first, last, label) spans of each, `last` exclusive.

    >>> find_chunks([["B-PER", "I-PER", "O"], ["I-LOC", "B-LOC"]], scheme="BIO")
    [[(0, 2, 'PER')], [(0, 1, 'LOC'), (1, 2, 'LOC')]]
    >>> find_chunks([["B-PER", "I-PER", "O"], ["I-LOC", "B-LOC"]], scheme="BIO", is_strict=True)
    [[(0, 2, 'PER')], [(1, 2, 'LOC')]]
    """
    vocabulary = Vocabulary(scheme)
    bounds = np.concatenate([[0], np.cumsum([len(tags) for tags in sequences], dtype=np.int64)])
    codes = vocabulary.encode((tag for tags in sequences for tag in tags), int(bounds[-1]))
    chunks = vocabulary.find(codes, bounds, is_strict=is_strict)
    spans: list[list[tuple[int, int, str]]] = [[] for _ in sequences]
    owners = np.searchsorted(bounds, chunks.last) - 1
    for owner, first, last, label in zip(
        owners.tolist(), chunks.first.tolist(), chunks.last.tolist(), chunks.label.tolist(), strict=True
    ):
        base = int(bounds[owner])
        spans[owner].append((first - base, last - base, vocabulary.labels[label]))
    return spans
