"""Full fine-tuning: every weight of the encoder and of the head is trained (Devlin et al., 2019).

The most a model can adapt, and the most it can forget. It needs gradients and optimizer state for all weights, about
four times the model's memory, and a small learning rate, 1e-5 to 2e-4: the encoder already knows the language.
"""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullConfig:
    """Full fine-tuning has nothing to choose.

    Attributes:
      learning_rate: the highest of the schedule, unless another is asked for.
    """

    learning_rate: ClassVar[float] = 5e-5


def apply(model: "PreTrainedModel", config: FullConfig) -> "PreTrainedModel":  # noqa: ARG001
    """A model in, the same model with every weight trainable out."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)  # noqa: FBT003
    return model
