"""Elastic weight consolidation: weights are pulled back the more, the more old answers hang on them.

How much hangs on a weight is the diagonal of the Fisher information (Kirkpatrick et al., 2017). The base may have it
in its folder, summed up over all that it has learned (`--remember fisher`); else it is measured on the old files.
"""

import dataclasses

from schemas.errors import ConfigError
from training.continual.anchors import build_penalty, find_anchored
from training.continual.fisher import find_fisher, measure_base, spread_fisher
from training.continual.past import Added, Past


@dataclasses.dataclass(frozen=True, kw_only=True)
class EwcConfig:
    """How much moving costs.

    Attributes:
      strength: half of it is the price of a weight's squared distance, by its Fisher information.
      samples: most windows that it is measured on, where the base does not bring it along.
    """

    strength: float = 100.0
    samples: int = 500

    def __post_init__(self) -> None:
        for name in ("strength", "samples"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} of --continual ewc above 0, found {getattr(self, name)}")


def build(config: EwcConfig, past: Past) -> Added:
    """The options to what is added to the loss."""
    known, found = find_fisher(past.base) or (past.known, measure_base(past, config.samples))
    spread = spread_fisher(found, known, past)
    weights = {name: spread[name] for name in find_anchored(past)}
    return Added(term=build_penalty(past, weights, config.strength))
