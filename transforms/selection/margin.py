"""Margin: documents with entities near the line between kept and not kept.

    threshold 0.7      0.98 -> 0.07      0.72 -> 0.93      0.41 -> 0.59

The nearness of a score to the threshold of its label, 1 on it and 0 at either end; where nothing is left out, to 0.5.
It asks about the decisions that labels would change, and not, as uncertainty, about whatever scores lowest. Margin
sampling (Scheffer et al., "Active hidden Markov models for information extraction", 2001) takes the two best labels of
a word; a run keeps the best only, so the threshold stands for the other.
"""

import dataclasses

from transforms.selection.candidates import Candidate
from transforms.selection.setting import Scorer, Setting, all_entities, check_reduction, reduce_values


@dataclasses.dataclass(frozen=True, kw_only=True)
class MarginConfig:
    """Options of margin.

    Attributes:
      of: how entities become one number: mean or most, as `reduce_values` has it.
    """

    of: str = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.of, way="margin")


def build(config: MarginConfig, setting: Setting) -> Scorer:
    """A scorer of candidates."""

    def nearness(label: str, score: float) -> float:
        threshold = setting.threshold_of(label)
        room = threshold if score < threshold else 1 - threshold
        return 1 - abs(score - threshold) / room if room else 1.0

    def score(candidate: Candidate) -> float:
        return reduce_values([nearness(each["label"], each["score"]) for each in all_entities(candidate)], config.of)

    return score
