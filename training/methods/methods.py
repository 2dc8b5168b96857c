"""The training methods by name. A method is a file with a config and `apply(model, config)`, and a row here."""

from collections.abc import Callable
from typing import Any, NamedTuple

from training.methods import full


class Method(NamedTuple):
    """A way to choose which weights are trained.

    Attributes:
      config: its options, a frozen dataclass.
      apply: takes a model and the options; returns the model to train.
    """

    config: type[Any]
    apply: Callable[[Any, Any], Any]


METHODS = {"full": Method(full.FullConfig, full.apply)}
