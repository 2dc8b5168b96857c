"""BitFit: only biases are trained, those of normalisation among them, and the head (Ben Zaken et al., 2022).

About a thousandth of the weights. Good with little data; a learning rate ten times that of full fine-tuning, 1e-3.
"""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from schemas.errors import ConfigError
from training.modules import train_only

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class BitfitConfig:
    """BitFit has nothing to choose.

    Attributes:
      learning_rate: the highest of the schedule, unless another is asked for.
    """

    learning_rate: ClassVar[float] = 1e-3


def apply(model: "PreTrainedModel", config: BitfitConfig) -> "PreTrainedModel":  # noqa: ARG001
    """A model in, the same model with only biases and head trainable out.

    Raises:
      ConfigError: the encoder has no biases.
    """
    biases = {name for name, _ in model.base_model.named_parameters(model.base_model_prefix) if name.endswith(".bias")}
    if not biases:
        raise ConfigError(f"expected a base model with biases for --method bitfit, found {model.config.model_type!r}")
    train_only(model, biases)
    return model
