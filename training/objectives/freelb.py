"""FreeLB: the weights learn at every step of the search for a perturbation (Zhu et al., 2020).

The perturbation starts at random and climbs; the gradients of the weights at all points of the way are averaged, which
is the cost of that many passes and of nothing else.
"""

import dataclasses
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.objectives.attacks import Adversary, Attack, normalize, project, take_gradient
from training.objectives.steps import Setting

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreeLbConfig:
    """FreeLB.

    Attributes:
      steps: passes of the search, each of which teaches the weights.
      step_size: L2 norm of a step.
      init_magnitude: how far out it starts: coordinates are uniform between plus and minus this, divided by the root
        of their number.
      max_norm: largest L2 norm of a window's perturbation; 0 for no limit.
    """

    steps: int = 3
    step_size: float = 0.3
    init_magnitude: float = 0.3
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("steps", "step_size"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} of --objective freelb above 0, found {getattr(self, name)}")
        for name in ("init_magnitude", "max_norm"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"expected {name} of --objective freelb of at least 0, found {getattr(self, name)}")


def build(config: FreeLbConfig, setting: Setting) -> Adversary:  # noqa: ARG001
    """The options to an adversary."""
    import torch

    def attack_step(attack: Attack) -> "Tensor":
        perturbation = draw_start(attack, config.init_magnitude)
        total = torch.zeros((), device=perturbation.device)
        for _ in range(config.steps):
            loss = attack.loss(perturbation)
            attack.backward(loss / config.steps)
            total += loss.detach() / config.steps
            moved = perturbation.detach() + config.step_size * normalize(take_gradient(perturbation))
            perturbation = (project(moved, config.max_norm) if config.max_norm else moved).requires_grad_()
        return total

    return attack_step


def draw_start(attack: Attack, magnitude: float) -> "Tensor":
    """A random perturbation (n_windows, longest, width) to start from; padding has none."""
    import torch

    start = attack.start().detach()
    n_coordinates = attack.mask.sum(dim=1, keepdim=True) * start.shape[-1]
    noise = torch.empty_like(start).uniform_(-1, 1) * attack.mask
    return (noise * magnitude / n_coordinates.sqrt()).requires_grad_()
