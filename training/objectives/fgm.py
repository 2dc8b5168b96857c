"""FGM: each step is also taken on embeddings moved to where the loss grows fastest (Miyato et al., 2017).

The clean pass gives the gradient of the embeddings; one step of length epsilon along it, per window, gives the
perturbed ones. Costs a second pass. The paper normalises the embeddings first, lest the model outgrow the perturbation;
pretrained ones are left as they are, for they hardly move.
"""

import dataclasses
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.objectives.attacks import Adversary, Attack, normalize, take_gradient
from training.objectives.steps import Setting

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class FgmConfig:
    """The fast gradient method.

    Attributes:
      epsilon: L2 norm of a window's perturbation.
    """

    epsilon: float = 1.0

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ConfigError(f"expected epsilon of --objective fgm above 0, found {self.epsilon}")


def build(config: FgmConfig, setting: Setting) -> Adversary:  # noqa: ARG001
    """The options to an adversary."""

    def attack_step(attack: Attack) -> "Tensor":
        perturbation = attack.start()
        clean = attack.loss(perturbation)
        attack.backward(clean / 2)
        moved = config.epsilon * normalize(take_gradient(perturbation))
        perturbed = attack.loss(moved)
        attack.backward(perturbed / 2)
        return (clean.detach() + perturbed.detach()) / 2

    return attack_step
