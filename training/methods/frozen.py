"""A head on an encoder that stays as it is, or also its last layers (Lee et al., 2019).

Cheap, and nothing the encoder knows is lost; but the head sees only features that were made for another task. With a
few layers trained, the lower ones, which hold what is common to tasks, stay. A learning rate of 1e-2 for the head
alone, as for full fine-tuning with layers.
"""

import dataclasses
from typing import TYPE_CHECKING

from schemas.errors import ConfigError
from training.modules import find_layers, train_only

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrozenConfig:
    """What is trained beside the head.

    Attributes:
      layers: how many of the encoder's last layers.
    """

    layers: int = 0

    def __post_init__(self) -> None:
        if self.layers < 0:
            raise ConfigError(f"expected layers of --method frozen of at least 0, found {self.layers}")

    @property
    def learning_rate(self) -> float:
        """The highest rate of the schedule, unless another is asked for."""
        return 2e-4 if self.layers else 1e-2


def apply(model: "PreTrainedModel", config: FrozenConfig) -> "PreTrainedModel":
    """A model in, the same model with only its head and last layers trainable out.

    Raises:
      ConfigError: the encoder has fewer layers.
    """
    if not config.layers:
        train_only(model, ())
        return model
    name, layers = find_layers(model)
    if config.layers > len(layers):
        raise ConfigError(f"expected layers of --method frozen of at most {len(layers)}, found {config.layers}")
    trained = tuple(f"{name}.{at}." for at in range(len(layers) - config.layers, len(layers)))
    train_only(model, {name for name, _ in model.named_parameters() if name.startswith(trained)})
    return model
