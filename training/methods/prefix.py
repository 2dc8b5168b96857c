"""Prefix tuning: keys and values that every layer's attention sees before those of the text are trained, and the head.

It reaches every layer, where a prompt only reaches the first (Li and Liang, 2021; for tagging, Liu et al., 2022:
P-Tuning v2). With `projection` they come from a small network that is trained in their place and dropped in the end;
it steadies training. A learning rate of 1e-2 or so without projection, 1e-3 with it. The virtual tokens take room in
the window, for positions of the text begin behind them.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from schemas.errors import ConfigError
from training.modules import wrap_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrefixConfig:
    """How long the prefix is, and where it comes from.

    Attributes:
      tokens: virtual tokens that attention sees.
      projection: make them by a network of two layers, as wide as the encoder.
    """

    tokens: int = 20
    projection: bool = False

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ConfigError(f"expected tokens of --method prefix of at least 1, found {self.tokens}")

    @property
    def learning_rate(self) -> float:
        """The highest rate of the schedule, unless another is asked for."""
        return 1e-3 if self.projection else 1e-2


def apply(model: "PreTrainedModel", config: PrefixConfig) -> Any:
    """A model in, peft's model around it, with only prefix and head trainable, out.

    Raises:
      ConfigError: this kind of model takes no keys and values from outside.
    """
    import peft

    if model.config.model_type not in _KINDS:
        raise ConfigError(
            f"expected a base model of the kinds {', '.join(_KINDS)} for --method prefix, found "
            f"{model.config.model_type!r}; use prompt, or lora"
        )
    return wrap_model(
        model,
        peft.PrefixTuningConfig(
            num_virtual_tokens=config.tokens,
            prefix_projection=config.projection,
            encoder_hidden_size=model.config.hidden_size,
        ),
    )
