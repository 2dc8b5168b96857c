"""Bottleneck adapters: small networks within the layers of an encoder that itself stays as it is.

`houlsby` puts one after attention and one after the feed-forward network of each layer (Houlsby et al., 2019),
`pfeiffer` one after the feed-forward network only, which costs half and does about as well (Pfeiffer et al., 2021).
They begin as the identity. Normalisation is not trained. Unlike LoRA they cannot be folded into the encoder, so running
costs some percent more time. A learning rate of 1e-3 or so.
"""

import dataclasses
import re
from typing import TYPE_CHECKING, ClassVar

from schemas.errors import ConfigError
from training.modules import find_parts, train_only
from transforms.models.adapters.bottleneck import insert_bottlenecks, is_bottleneck

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PLACEMENTS = {"houlsby": ("mixing", "narrowing"), "pfeiffer": ("narrowing",)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """How wide adapters are, and where.

    Attributes:
      reduction: how many times narrower than the encoder.
      size: their width, in place of a reduction; 0 to go by that.
      placement: houlsby or pfeiffer.
      learning_rate: the highest of the schedule, unless another is asked for.
    """

    learning_rate: ClassVar[float] = 1e-3
    reduction: int = 16
    size: int = 0
    placement: str = "houlsby"

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ConfigError(
                f"expected placement of --method adapter of {sorted(PLACEMENTS)}, found {self.placement!r}"
            )
        if self.reduction < 1 or self.size < 0:
            raise ConfigError(
                "expected reduction of --method adapter of at least 1 and size of at least 0, "
                f"found {self.reduction} and {self.size}"
            )


def apply(model: "PreTrainedModel", config: AdapterConfig) -> "PreTrainedModel":
    """A model in, the same model with adapters, and only these and the head trainable, out.

    Raises:
      ConfigError: where the linear layers are is not known for this kind of model.
    """
    pattern = find_parts(model, PLACEMENTS[config.placement])
    size = config.size or max(1, model.config.hidden_size // config.reduction)
    insert_bottlenecks(model, {name: size for name, _ in model.named_modules() if re.fullmatch(pattern, name)})
    train_only(model, {name for name, _ in model.named_parameters() if is_bottleneck(name)})
    return model
