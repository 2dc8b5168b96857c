"""Cross-entropy: minus the logarithm of the probability that the model gives to the tag of a word.

The usual loss, and the default. Smoothing gives part of a target to all tags, so that the model is not driven to be
ever surer (Szegedy et al., 2016). Balanced weights make rare tags count as much as O, which is most of the words.
"""

import dataclasses
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.examples import IGNORED
from training.objectives.steps import Setting, Task

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = ("none", "balanced")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropyConfig:
    """Cross-entropy.

    Attributes:
      smoothing: share of a target that is given to all tags alike.
      weights: none, or balanced: a tag weighs the more, the rarer it is in the training windows.
    """

    smoothing: float = 0.0
    weights: str = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ConfigError(
                f"expected smoothing of --objective cross-entropy of at least 0 and below 1, found {self.smoothing}"
            )
        check_weights(self.weights, name="cross-entropy")


def build(config: CrossEntropyConfig, setting: Setting) -> Task:
    """The options to a loss."""
    from torch.nn.functional import cross_entropy

    weights = weigh_tags(setting) if config.weights == "balanced" else None

    def score(logits: "Tensor", targets: "Tensor") -> "Tensor":
        logits = logits.float().flatten(0, 1)
        return cross_entropy(
            logits,
            targets.flatten(),
            weight=None if weights is None else logits.new_tensor(weights),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=config.smoothing,
        )

    return score


def check_weights(weights: str, *, name: str) -> None:
    """Refuses weights that there are not.

    Raises:
      ConfigError: naming those that there are.
    """
    if weights not in WEIGHTS:
        raise ConfigError(f"expected weights of --objective {name} to be one of {WEIGHTS}, found {weights!r}")


def weigh_tags(setting: Setting) -> list[float]:
    """A weight per tag, inverse to how often it is met; their mean over the words trained on is 1.

    A tag that is never met weighs nothing.

    >>> weigh_tags(Setting(tag_counts=(6, 2, 0)))
    [0.6666666666666666, 2.0, 0.0]
    """
    n_met = sum(count > 0 for count in setting.tag_counts)
    n_words = sum(setting.tag_counts)
    return [n_words / (n_met * count) if count else 0.0 for count in setting.tag_counts]
