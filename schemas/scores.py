"""Scores: how well entities of a label, or of all labels together, were found."""

import dataclasses

MICRO = "micro"
"""Name of the score over all entities, whatever their label."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelScore:
    """Entity scores of one label, or of all together under the name MICRO, from 0 to 1.

    Attributes:
      label: the label.
      precision: share of the found entities that are right; 0 when none was found.
      recall: share of the gold entities that are found; 0 when there are none.
      f1: harmonic mean of both; 0 when both are.
      support: how many gold entities there are.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int
