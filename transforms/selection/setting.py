"""What the ways of choosing share: what is known beside a document, and how a document's entities become one number."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.errors import ConfigError
from transforms.selection.candidates import Candidate
from transforms.selection.surfaces import KnownSurfaces, SurfaceCounts

Scorer = Callable[[Candidate], float]
"""A candidate in, how much it is worth labelling out: 0 for not at all."""

NEUTRAL_THRESHOLD = 0.5
_REDUCTIONS = ("mean", "most")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known beside a document.

    Attributes:
      thresholds: the threshold of each label that has one of its own.
      threshold: that of the others.
      surfaces: what training files hold, or how often each surface form occurs in the run; None where nobody asks.
      n_readings: how many taggers, or runs, saw each document.
    """

    thresholds: Mapping[str, float]
    threshold: float
    surfaces: KnownSurfaces | SurfaceCounts | None
    n_readings: int

    def threshold_of(self, label: str) -> float:
        """The score from which an entity of a label is kept; NEUTRAL_THRESHOLD where every one is."""
        return self.thresholds.get(label, self.threshold) or NEUTRAL_THRESHOLD


def check_reduction(of: str, *, way: str) -> None:
    """Refuses another way to make one number of many.

    Raises:
      ConfigError: it is none of the known ones.
    """
    if of not in _REDUCTIONS:
        raise ConfigError(f"expected option of of --by {way} to be one of {list(_REDUCTIONS)}, found {of!r}")


def reduce_values(values: Sequence[float], of: str) -> float:
    """The values of a document's entities to the value of the document.

    `mean` takes the mean with one entity of value 0 added. So what counts is the share and not the number of entities,
    and long documents do not win by their length; and one that is known by a single entity is not believed as much as
    one that is known by many. `most` takes the greatest, of which a long document has better chances.

    >>> reduce_values([0.8], "mean"), reduce_values([0.8, 0.8, 0.8], "mean"), reduce_values([0.1, 0.8], "most")
    (0.4, 0.6000000000000001, 0.8)
    """
    if not values:
        return 0.0
    return max(values) if of == "most" else sum(values) / (len(values) + 1)


def all_entities(candidate: Candidate) -> list[Mapping[str, Any]]:
    """Entities of a candidate, those under their threshold included."""
    return [*candidate.document.entities, *candidate.document.below]
