"""Focal loss: words that the model already knows count less (Lin et al., 2017).

The cross-entropy of a word is multiplied by (1 - p) to the power of gamma, where p is the probability of its tag. Most
words are O and easy; what is left of the gradient is about the hard ones. Probabilities come out less sure than those
of cross-entropy, so thresholds and calibrators have to be chosen anew. The paper divides by the number of objects;
here, as everywhere, the loss is averaged over words.
"""

import dataclasses
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.examples import IGNORED
from training.objectives.cross_entropy import check_weights, weigh_tags
from training.objectives.steps import Setting, Task

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class FocalConfig:
    """Focal loss.

    Attributes:
      gamma: how much less easy words count; 0 is cross-entropy.
      weights: none, or balanced: a tag weighs the more, the rarer it is in the training windows.
    """

    gamma: float = 2.0
    weights: str = "none"

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise ConfigError(f"expected gamma of --objective focal of at least 0, found {self.gamma}")
        check_weights(self.weights, name="focal")


def build(config: FocalConfig, setting: Setting) -> Task:
    """The options to a loss."""
    weights = weigh_tags(setting) if config.weights == "balanced" else None

    def score(logits: "Tensor", targets: "Tensor") -> "Tensor":
        is_word = targets != IGNORED
        tags, logits = targets[is_word], logits[is_word].float()
        log_probability = logits.log_softmax(-1).gather(-1, tags[:, None])[:, 0]
        losses = -((1 - log_probability.exp()) ** config.gamma) * log_probability
        return (losses if weights is None else losses * logits.new_tensor(weights)[tags]).sum()

    return score
