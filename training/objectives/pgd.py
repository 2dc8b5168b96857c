"""PGD: like FGM, but the perturbation is searched in several steps within a ball (Madry et al., 2018).

Each step follows the gradient of the embeddings and is projected back into the L2 ball of radius epsilon around the
clean ones; the weights learn from the clean pass and from the last. The paper starts at random and trains on perturbed
examples alone; here the clean pass is the start, since its gradient is there, and keeps the accuracy on clean text.
Costs as many passes as steps, and one.
"""

import dataclasses
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.objectives.attacks import Adversary, Attack, normalize, project, take_gradient
from training.objectives.steps import Setting

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class PgdConfig:
    """Projected gradient descent, which for the adversary is ascent.

    Attributes:
      epsilon: largest L2 norm of a window's perturbation.
      steps: steps of the search.
      step_size: L2 norm of a step.
    """

    epsilon: float = 1.0
    steps: int = 3
    step_size: float = 0.5

    def __post_init__(self) -> None:
        for name in ("epsilon", "steps", "step_size"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} of --objective pgd above 0, found {getattr(self, name)}")


def build(config: PgdConfig, setting: Setting) -> Adversary:  # noqa: ARG001
    """The options to an adversary."""
    import torch

    def attack_step(attack: Attack) -> "Tensor":
        perturbation = attack.start()
        clean = attack.loss(perturbation)
        attack.backward(clean / 2)
        gradient = take_gradient(perturbation)
        for step in range(config.steps):
            moved = perturbation.detach() + config.step_size * normalize(gradient)
            perturbation = project(moved, config.epsilon).requires_grad_()
            perturbed = attack.loss(perturbation)
            if step < config.steps - 1:
                # Of the perturbation alone: the weights do not learn on the way.
                (gradient,) = torch.autograd.grad(perturbed, [perturbation])
        attack.backward(perturbed / 2)
        return (clean.detach() + perturbed.detach()) / 2

    return attack_step
