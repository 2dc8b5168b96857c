"""Which surface forms a later run has and an earlier one has not, from the sketches of their slices.

    sketches of A   ....|..        every sketch is complete up to its last hash; up to the least of these, the
    sketches of B   ......|..      bound, any set of slices is known exactly, and what lies there is a uniform
    bound               |          sample of its forms

Any text goes on using new names, so a share of new forms means little by itself. What tells is how much larger it is
than that of a part of the earlier run, of as many entities, against the rest of it.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.sketches import FORMS_KEPT, HASH_BYTES, FormSketch
from transforms.scoring.intervals import interval

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MOST_FORMS = 4096
"""Forms that are looked at; a share of them has a standard error of 0.8 points at most."""

LEAST_SLICES = 10
"""Slices that a run needs for resamples and parts that say something."""

_MOST_UNEQUAL = 1.25
_ALL_HASHES = 1 << (8 * HASH_BYTES)


@dataclasses.dataclass(frozen=True, eq=False)
class FormSample:
    """A uniform sample of the surface forms of two runs.

    Attributes:
      share: of all forms that are in the sample.
      n_forms: forms in the sample.
      a: (n,) form of each entry of run A, by number.
      b: the same of run B.
      slice_a: (n,) slice that each entry of run A is of.
      slice_b: the same of run B.
    """

    share: float
    n_forms: int
    a: IntArray
    b: IntArray
    slice_a: IntArray
    slice_b: IntArray

    def summarise(self) -> dict[str, float | int | None]:
        """Estimates of distinct forms and of the share of B's forms that A has not, each with its standard error."""
        in_a, in_b = self.mark(self.a), self.mark(self.b)
        n_a, n_b = int(in_a.sum()), int(in_b.sum())
        n_new = int((in_b & ~in_a).sum())
        new = n_new / n_b if n_b else None
        return {
            "sampled": self.n_forms,
            "a": round(n_a / self.share),
            "b": round(n_b / self.share),
            "relative_error_a": self._relative_error(n_a),
            "relative_error_b": self._relative_error(n_b),
            "new": new,
            "error_of_new": None if new is None else math.sqrt(new * (1 - new) * (1 - self.share) / n_b),
        }

    def mark(self, forms: IntArray) -> npt.NDArray[np.bool_]:
        """Which forms are among some, (n_forms,)."""
        marks = np.zeros(self.n_forms, dtype=bool)
        marks[forms] = True
        return marks

    def _relative_error(self, n: int) -> float | None:
        return math.sqrt((1 - self.share) / n) if n else None


@dataclasses.dataclass(frozen=True)
class Novelty:
    """New forms beyond those that any text brings.

    Attributes:
      natural: share of the forms of a part of A's slices that the rest of A has not, mean over parts.
      found: share of the forms of slices of B with as many entities that the rest of A has not.
      low: lower bound of found - natural.
      high: upper bound.
    """

    natural: float
    found: float
    low: float
    high: float


def sample_forms(a: Sequence[FormSketch], b: Sequence[FormSketch]) -> FormSample:
    """Sketches of the slices of two runs in, what is known of all of them out."""
    slices, hashes = zip(*map(_unpack, (a, b)), strict=True)
    full = [sketch.hashes[-HASH_BYTES:] for sketch in (*a, *b) if len(sketch) == FORMS_KEPT]
    bound = min((int.from_bytes(last, "big") for last in full), default=_ALL_HASHES)
    forms = np.unique(np.concatenate([part[part < bound] for part in hashes]))
    if len(forms) > MOST_FORMS:
        bound = int(forms[MOST_FORMS])
        forms = forms[:MOST_FORMS]
    inside = [part < bound for part in hashes]
    numbers = [np.searchsorted(forms, part[is_in]) for part, is_in in zip(hashes, inside, strict=True)]
    slice_a, slice_b = (part[is_in] for part, is_in in zip(slices, inside, strict=True))
    return FormSample(bound / _ALL_HASHES, len(forms), numbers[0], numbers[1], slice_a, slice_b)


def measure_novelty(
    sample: FormSample, entities_a: IntArray, entities_b: IntArray, parts: npt.NDArray[np.bool_], orders: IntArray
) -> Novelty | None:
    """How many more new forms B brings than A brings to itself.

    Half-samples vary about as much as samples of the whole do (McCarthy, "Pseudo-replication: half samples", 1969), and
    smaller parts more. So the spread over parts gives the interval, to which the error of the sketches is added.

    Args:
      sample: the forms.
      entities_a: (n_slices_a,) entities of A's slices.
      entities_b: (n_slices_b,) the same of B's.
      parts: (n_splits, n_slices_a) parts of A.
      orders: (n_splits, n_slices_b) orders of B's slices, from which as many are taken as have enough entities.

    Returns:
      None where slices are too few, or so large that like cannot be compared with like.
    """
    if len(entities_a) < LEAST_SLICES or not entities_b.sum():
        return None
    rows, sizes = [], []
    for part, order in zip(parts, orders, strict=True):
        chosen = np.flatnonzero(part)
        target = min(int(entities_a[chosen].sum()), int(entities_b.sum()))
        own, other = _take(chosen, entities_a, target), _take(order, entities_b, target)
        known = sample.mark(sample.a[~part[sample.slice_a]])
        row = []
        for forms, slices, taken in ((sample.a, sample.slice_a, own), (sample.b, sample.slice_b, other)):
            marks = sample.mark(forms[taken[slices]])
            row += [int((marks & ~known).sum()), int(marks.sum())]
        rows.append(row)
        sizes.append((entities_a[own].sum(), entities_b[other].sum()))
    counts = np.array(rows, dtype=np.int64)
    size_a, size_b = np.mean(sizes, axis=0)
    if not counts[:, [1, 3]].all() or max(size_a, size_b) > _MOST_UNEQUAL * min(size_a, size_b):
        return None
    natural, found = counts[:, 0] / counts[:, 1], counts[:, 2] / counts[:, 3]
    low, high = interval(found - natural)
    excess = float(np.mean(found - natural))
    error = math.hypot(*(_error(part, n, sample.share) for part, n in ((natural, counts[:, 1]), (found, counts[:, 3]))))
    return Novelty(
        natural=float(natural.mean()),
        found=float(found.mean()),
        low=excess - math.hypot(excess - low, 1.96 * error),
        high=excess + math.hypot(high - excess, 1.96 * error),
    )


def _take(order: IntArray, entities: IntArray, target: int) -> npt.NDArray[np.bool_]:
    """Slices from the first on, until they hold as many entities as are wanted; marks over all slices."""
    sums = np.cumsum(entities[order])
    marks = np.zeros(len(entities), dtype=bool)
    marks[order[: int(np.searchsorted(sums, target)) + 1]] = True
    return marks


def _error(shares: FloatArray, n: IntArray, share: float) -> float:
    mean = float(shares.mean())
    return math.sqrt(mean * (1 - mean) * (1 - share) / float(n.mean()))


def _unpack(sketches: Sequence[FormSketch]) -> tuple[IntArray, IntArray]:
    """Sketches to their hashes, and the slice that each is of."""
    raw = np.frombuffer(b"".join(sketch.hashes for sketch in sketches), dtype=np.uint8).reshape(-1, HASH_BYTES)
    words = np.zeros((len(raw), 8), dtype=np.uint8)
    words[:, 8 - HASH_BYTES :] = raw
    slices = np.repeat(np.arange(len(sketches)), np.array([len(sketch) for sketch in sketches], dtype=np.int64))
    return slices, words.reshape(-1).view(">i8").astype(np.int64)
