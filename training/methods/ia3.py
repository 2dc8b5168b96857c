"""(IA)3: keys, values and what enters the second product of each feed-forward network are scaled (Liu et al., 2022).

The vectors begin as ones. They are a few thousandths of the weights, and vanish into the matrices in the end. With so
few of them the learning rate is high, 1e-2 to 3e-3.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from training.modules import find_parts, wrap_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ia3Config:
    """(IA)3 has nothing to choose.

    Attributes:
      learning_rate: the highest of the schedule, unless another is asked for.
    """

    learning_rate: ClassVar[float] = 1e-2


def apply(model: "PreTrainedModel", config: Ia3Config) -> Any:  # noqa: ARG001
    """A model in, peft's model around it, with only vectors and head trainable, out.

    Raises:
      ConfigError: where the linear layers are is not known for this kind of model.
    """
    import peft

    return wrap_model(
        model,
        peft.IA3Config(
            target_modules=find_parts(model, ("key", "value", "narrowing")),
            feedforward_modules=find_parts(model, ("narrowing",)),
        ),
    )
