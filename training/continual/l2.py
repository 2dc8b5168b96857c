"""L2 to the old weights: whatever moves is pulled back, all weights alike (L2-SP, Xuhong Li et al., 2018).

The cheapest way: it needs neither old sentences nor a second model. What it cannot know is which weights matter.
"""

import dataclasses

from schemas.errors import ConfigError
from training.continual.anchors import build_penalty, weigh_alike
from training.continual.past import Added, Past


@dataclasses.dataclass(frozen=True, kw_only=True)
class L2Config:
    """How much moving costs.

    Attributes:
      strength: half of it is the price of a weight's squared distance.
    """

    strength: float = 0.1

    def __post_init__(self) -> None:
        if not self.strength > 0:
            raise ConfigError(f"expected strength of --continual l2 above 0, found {self.strength}")


def build(config: L2Config, past: Past) -> Added:
    """The options to what is added to the loss."""
    return Added(term=build_penalty(past, weigh_alike(past), config.strength))
