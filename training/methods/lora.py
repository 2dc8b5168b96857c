"""LoRA: the change of a weight matrix is a product of two thin ones, W + alpha / rank * B A (Hu et al., 2022).

B begins as zero, so that the model begins as its base. What is trained is some percent of the weights, and is added
to W in the end, so that running costs nothing more. Where it is put matters more than the rank: all linear layers of
the encoder, not query and value alone (Dettmers et al., 2023). A learning rate ten times that of full fine-tuning.

`rslora` scales by alpha / sqrt(rank), which keeps large ranks learning (Kalajdzievski, 2023). `dora` trains the length
of each row apart from its direction (Liu et al., 2024), and takes longer to train.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from schemas.errors import ConfigError
from training.modules import PARTS, check_parts, find_parts, wrap_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Where pairs of matrices are put, and of what kind they are.

    Attributes:
      rank: rows of A and columns of B.
      alpha: by how much their product counts.
      dropout: dropout of what A reads.
      targets: which linear layers of each layer get a pair.
      dora: train lengths and directions apart.
      rslora: scale by the root of the rank.
      learning_rate: the highest of the schedule, unless another is asked for.
    """

    learning_rate: ClassVar[float] = 1e-3
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    targets: tuple[str, ...] = PARTS
    dora: bool = False
    rslora: bool = False

    def __post_init__(self) -> None:
        check_parts(self.targets, option="targets of --method lora")
        for name in ("rank", "alpha"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {name} of --method lora above 0, found {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"expected dropout of --method lora of at least 0 and below 1, found {self.dropout}")


def apply(model: "PreTrainedModel", config: LoraConfig) -> Any:
    """A model in, peft's model around it, with only matrices and head trainable, out.

    Raises:
      ConfigError: where the linear layers are is not known for this kind of model.
    """
    import peft

    return wrap_model(
        model,
        peft.LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=find_parts(model, config.targets),
            use_dora=config.dora,
            use_rslora=config.rslora,
        ),
    )
