"""The training methods by name. A method is a file with a config and `apply(model, config)`, and a row here."""

from collections.abc import Callable
from typing import Any, NamedTuple

from training.methods import adapter, bitfit, frozen, full, ia3, lora, prefix, prompt


class Method(NamedTuple):
    """A way to choose which weights are trained.

    Attributes:
      config: its options, a frozen dataclass.
      apply: takes a model and the options; returns the model to train.
      is_folded: whether what was trained can be computed into the weights of the base.
      has_tokens: whether it adds `tokens` of its options to every window.
    """

    config: type[Any]
    apply: Callable[[Any, Any], Any]
    is_folded: bool = True
    has_tokens: bool = False


METHODS = {
    "full": Method(full.FullConfig, full.apply),
    "frozen": Method(frozen.FrozenConfig, frozen.apply),
    "lora": Method(lora.LoraConfig, lora.apply),
    "adapter": Method(adapter.AdapterConfig, adapter.apply, is_folded=False),
    "prompt": Method(prompt.PromptConfig, prompt.apply, is_folded=False, has_tokens=True),
    "prefix": Method(prefix.PrefixConfig, prefix.apply, is_folded=False, has_tokens=True),
    "ia3": Method(ia3.Ia3Config, ia3.apply),
    "bitfit": Method(bitfit.BitfitConfig, bitfit.apply),
}
