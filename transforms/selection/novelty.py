"""Novelty: documents with names that the model has not been trained on, or that are rare in the run.

    known from training: Ada Lovelace, Rome
    [Ada Lovelace]PER 0    [Lovelace Inc]ORG 0.75    [Zuse]PER 1

With `--known` a name is new whose surface form is no entity of the training files, and the newer the more of its words
they do not have. Models find names they have met more easily than new ones (Augenstein, Derczynski and Bontcheva,
"Generalisation in named entity recognition: a quantitative analysis", 2017), so these are where labels teach most.
Without, a name is new that occurs in few places of the run: 1 over its count.
"""

import dataclasses

from transforms.selection.candidates import Candidate
from transforms.selection.setting import Scorer, Setting, check_reduction, reduce_values


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoveltyConfig:
    """Options of novelty.

    Attributes:
      of: how entities become one number: mean or most, as `reduce_values` has it.
    """

    of: str = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.of, way="novelty")


def build(config: NoveltyConfig, setting: Setting) -> Scorer:
    """A scorer of candidates."""
    surfaces = setting.surfaces
    if surfaces is None:
        raise ValueError("expected surfaces for novelty, found none")

    def score(candidate: Candidate) -> float:
        return reduce_values([surfaces.novelty(entity["text"]) for entity in candidate.document.entities], config.of)

    return score
