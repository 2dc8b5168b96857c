"""Prompt tuning: embeddings before every text are trained, and the head (Lester et al., 2021).

They begin as embeddings of words of the vocabulary, taken by chance. They are few, and in small models they fall behind
other methods as data grow; the learning rate is high, 1e-2 or so. The virtual tokens take room in the window.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from schemas.errors import ConfigError
from training.examples import IGNORED
from training.modules import wrap_model
from transforms.models.adapters.virtual_tokens import cut_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """How long the prompt is.

    Attributes:
      tokens: virtual tokens before every text.
      learning_rate: the highest of the schedule, unless another is asked for.
    """

    learning_rate: ClassVar[float] = 1e-2
    tokens: int = 20

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ConfigError(f"expected tokens of --method prompt of at least 1, found {self.tokens}")


def apply(model: "PreTrainedModel", config: PromptConfig) -> Any:
    """A model in, peft's model around it, with only prompt and head trainable, out; it answers for the text alone."""
    import peft

    embeddings: Any = model.get_input_embeddings()
    prompted = wrap_model(
        model,
        peft.PromptTuningConfig(
            num_virtual_tokens=config.tokens,
            # Of the embeddings, which are narrower than the encoder in some.
            token_dim=embeddings.embedding_dim,
            num_attention_heads=model.config.num_attention_heads,
            num_layers=model.config.num_hidden_layers,
            prompt_tuning_init="SAMPLE_VOCAB",
        ),
    )
    # peft compares answers for prompt and text with labels of the text, which are fewer.
    model.register_forward_pre_hook(_pad_labels(config.tokens), with_kwargs=True)
    model.register_forward_hook(cut_logits(config.tokens))
    return prompted


def _pad_labels(n_tokens: int) -> Callable[..., Any]:
    """A hook that gives the prompt labels which the loss leaves out."""

    def pad(_model: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        import torch

        labels = options.get("labels")
        if labels is not None:
            ahead = labels.new_full((len(labels), n_tokens), IGNORED)
            options = {**options, "labels": torch.cat([ahead, labels], 1)}
        return inputs, options

    return pad
