"""What an objective sees of a step of training."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Task = Callable[["Tensor", "Tensor"], "Tensor"]
"""Logits (n_windows, longest, n_tags) and targets (n_windows, longest) to the loss summed over their words."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What objectives are built for.

    Attributes:
      tag_counts: how many words of the training windows carry each tag.
      task: the loss that the model's head asks for, in place of one that is chosen; None where it asks for none.
      precision: of the products of a pass, fp32 or bf16.
    """

    tag_counts: tuple[int, ...]
    task: Task | None = None
    precision: str = "fp32"


@dataclasses.dataclass
class Step:
    """A batch on its way through the model to a loss.

    Attributes:
      model: the model, in training mode.
      inputs: what it reads.
      targets: (n_windows, longest) positions of tags, IGNORED where there is none.
      n_targets: words that a loss is averaged over: those of all batches whose gradients are added up.
      task: the loss of the words themselves.
      precision: of the products of a pass, fp32 or bf16.
    """

    model: Any
    inputs: Mapping[str, "Tensor"]
    targets: "Tensor"
    n_targets: "Tensor | int"
    task: Task
    precision: str = "fp32"

    def forward(self) -> "Tensor":
        """Logits (n_windows, longest, n_tags) of one more pass, which has a dropout of its own."""
        import torch

        is_half = self.precision == "bf16"
        with torch.autocast(self.targets.device.type, torch.bfloat16, enabled=is_half):
            logits: Tensor = self.model(**self.inputs).logits
        return logits.float() if is_half else logits

    @functools.cached_property
    def logits(self) -> "Tensor":
        """Logits (n_windows, longest, n_tags) of the first pass, which all objectives share."""
        return self.forward()

    def score(self, logits: "Tensor") -> "Tensor":
        """The task's loss, averaged over words."""
        return self.task(logits, self.targets) / self.n_targets


Term = Callable[[Step], "Tensor"]
"""A batch on its way to what is added to its loss."""
