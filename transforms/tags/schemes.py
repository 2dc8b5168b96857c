"""Tag schemes as data: which prefix may follow which.

A scheme is two sets of allowed steps between prefixes, one for steps that stay within a label and one for steps
that change it, plus the prefixes that may open and close a sequence. Decoding, validating and repairing all read
this table. M is the middle of BMES and means I; L and U are BILOU's names for E and S.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import CheckpointError
from schemas.labels import TagSet, split_tag


@dataclasses.dataclass(frozen=True)
class Scheme:
    """Allowed steps of one tag scheme.

    Attributes:
      prefixes: prefixes in use beside O.
      same: steps `XY` allowed from X-a to Y-a.
      other: steps `XY` allowed from X-a to Y-b, or from and to O.
      first: prefixes, O included, that may open a sequence.
      last: prefixes, O included, that may close one.
    """

    prefixes: str
    same: frozenset[str]
    other: frozenset[str]
    first: str
    last: str


def _steps(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _chunked(end: str, single: str, middle: str = "I") -> Scheme:
    """BIOES and its dialects: an entity is single, or begins, goes on and ends."""
    e, s, i = end, single, middle
    closed = f"O{e}{s}"
    opened = f"OB{s}"
    return Scheme(
        prefixes=f"B{i}{e}{s}",
        same=_steps(f"B{i} B{e} {i}{i} {i}{e} {e}B {e}{s} {s}B {s}{s}"),
        other=frozenset(x + y for x in closed for y in opened),
        first=opened,
        last=closed,
    )


SCHEMES = {
    "BIO": Scheme("BI", _steps("BB BI IB II"), _steps("OO OB BO BB IO IB"), "OB", "OBI"),
    "IOB1": Scheme("BI", _steps("BB BI IB II"), _steps("OO OI BO BI IO II"), "OI", "OBI"),
    "IO": Scheme("I", _steps("II"), _steps("OO OI IO II"), "OI", "OI"),
    "BIOES": _chunked("E", "S"),
    "BILOU": _chunked("L", "U"),
    "BMES": _chunked("E", "S", "M"),
}


def recognise_scheme(tags: Sequence[str]) -> str:
    """Names the scheme that a list of tags follows.

    A label with an I tag and no B tag, while others have one, is the mark of IOB1, where B only separates entities
    that touch; B and I for every label is BIO.

    Raises:
      CheckpointError: no scheme uses these prefixes together.

    >>> recognise_scheme(["O", "B-PER", "I-PER"]), recognise_scheme(["O", "I-PER", "B-LOC", "I-LOC"])
    ('BIO', 'IOB1')
    """
    parts = [split_tag(tag) for tag in tags if tag != "O"]
    prefixes = {prefix for prefix, _ in parts}
    if prefixes == {"I"}:
        return "IO"
    if prefixes <= {"B", "I"}:
        begun = {label for prefix, label in parts if prefix == "B"}
        return "BIO" if begun >= {label for _, label in parts} else "IOB1"
    for name in ("BIOES", "BILOU", "BMES"):
        if prefixes <= set(SCHEMES[name].prefixes):
            return name
    raise CheckpointError(
        f"expected tags in one of {sorted(SCHEMES)}, found prefixes {sorted(prefixes)} in {list(tags)!r}; "
        "rename the labels in the model's config.json"
    )


def build_tag_set(tags: Sequence[str]) -> TagSet:
    """Tags of a model to a TagSet with its scheme recognised."""
    return TagSet(tuple(tags), recognise_scheme(tags))


def allowed_steps(tag_set: TagSet) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The transition table over a model's own tags.

    Returns:
      steps (n_tags, n_tags) from row to column, first (n_tags,), last (n_tags,).
    """
    scheme = SCHEMES[tag_set.scheme]
    parts = [split_tag(tag) for tag in tag_set.tags]
    steps = np.array(
        [
            [p + q in (scheme.same if label and label == other else scheme.other) for q, other in parts]
            for p, label in parts
        ]
    )
    first = np.array([prefix in scheme.first for prefix, _ in parts])
    last = np.array([prefix in scheme.last for prefix, _ in parts])
    return steps, first, last
