"""Uncertainty: documents whose entities the model is least sure of.

    [Ada]PER 0.98 met [Babbage]ORG 0.41        1 - score: 0.02, 0.59

Least confidence (Culotta and McCallum, "Reducing labeling effort for structured prediction tasks", 2005) per entity,
and then by document: a mean, so that length does not choose, as in MNLP (Shen et al., "Deep active learning for named
entity recognition", 2018). Entities under their threshold count where the run kept them (`--keep-below`): there
something was nearly found. A document without any entity tells nothing.
"""

import dataclasses

from transforms.selection.candidates import Candidate
from transforms.selection.setting import Scorer, Setting, all_entities, check_reduction, reduce_values


@dataclasses.dataclass(frozen=True, kw_only=True)
class UncertaintyConfig:
    """Options of uncertainty.

    Attributes:
      of: how entities become one number: mean or most, as `reduce_values` has it.
    """

    of: str = "mean"

    def __post_init__(self) -> None:
        check_reduction(self.of, way="uncertainty")


def build(config: UncertaintyConfig, setting: Setting) -> Scorer:  # noqa: ARG001
    """A scorer of candidates."""

    def score(candidate: Candidate) -> float:
        return reduce_values([1 - entity["score"] for entity in all_entities(candidate)], config.of)

    return score
