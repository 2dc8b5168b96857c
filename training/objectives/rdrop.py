"""R-Drop: two passes with different dropout shall agree (Liang et al., 2021).

A model is run without dropout but trained with it. The second pass sees the same words through another dropout; what
the two think differently, as Kullback-Leibler divergence in both directions, is added to the mean of their losses.
Costs a second pass. As in the paper's code, the mean of both losses is taken where its formula has their sum.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.examples import IGNORED
from training.objectives.steps import Setting, Step

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class RDropConfig:
    """R-Drop.

    Attributes:
      alpha: weight of the divergence.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ConfigError(f"expected alpha of --objective rdrop above 0, found {self.alpha}")


def build(config: RDropConfig, setting: Setting) -> Callable[[Step], "Tensor"]:  # noqa: ARG001
    """The options to what is added to the task's loss."""

    def score(step: Step) -> "Tensor":
        first, second = step.logits, step.forward()
        is_word = step.targets != IGNORED
        divergence = sum_divergences(first[is_word], second[is_word]) / step.n_targets
        # The task's loss of the first pass is there already; this makes it the mean of both.
        return (step.score(second) - step.score(first)) / 2 + config.alpha * divergence

    return score


def sum_divergences(first: "Tensor", second: "Tensor") -> "Tensor":
    """Logits (n, n_tags) of the same words to the mean of the divergences in both directions, summed over words."""
    one, other = first.float().log_softmax(-1), second.float().log_softmax(-1)
    return ((one.exp() - other.exp()) * (one - other)).sum() / 2
