"""How weights are changed: the options of the trainer."""

import dataclasses
import math

from schemas.errors import ConfigError

OPTIMIZERS = ("adamw", "sgd", "adafactor")
HEADS = ("linear", "crf")
SCHEDULES = ("linear", "cosine", "constant")
PRECISIONS = ("fp32", "bf16")
N_SEEDS = 1 << 32
"""How many seeds NumPy takes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How weights are changed.

    Attributes:
      learning_rate: highest rate of the schedule.
      epochs: passes over the training files.
      batch_size: windows in a batch.
      gradient_accumulation: batches whose gradients are added up to a step.
      optimizer: adamw (Loshchilov and Hutter, 2019), sgd with a momentum of 0.9, or adafactor (Shazeer and Stern,
        2018), which needs far less memory for its state.
      schedule: what the rate does after warming up: it falls to 0, linear or cosine, or stays constant.
      warmup_ratio: share of the steps in which the rate rises from 0.
      weight_decay: decay of all weights but biases and norms.
      crf_learning_rate: highest rate of the scores of a conditional random field.
      layer_decay: by how much the rate of a layer is that of the one above; 1 gives all layers the same.
      max_grad_norm: longer gradients are cut to this norm; 0 leaves them as they are.
      gradient_checkpointing: compute what layers gave anew on the way back instead of keeping it, to save memory.
      precision: of the products of training; bf16 is about twice as fast where the machine knows it. Weights, sums
        and losses are fp32 in either, and so are the scores of the checkpoint; those that choose the epoch are not.
      dropout: dropout of encoder and head.
      seed: of the head's first weights, the order of the data and the dropout.
      patience: epochs without a better score before training stops, once there is a score above 0.
      head: linear, or crf for a conditional random field on top of it (see training.crf).
      max_tokens: most pieces in a window.
      chain_fraction: share of the text that is trained on in chains of neighbouring sentences.
      chain_words: most words in such a chain.
    """

    learning_rate: float = 5e-5
    epochs: int = 4
    batch_size: int = 32
    gradient_accumulation: int = 1
    optimizer: str = "adamw"
    schedule: str = "linear"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    crf_learning_rate: float = 1e-2
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = False
    precision: str = "fp32"
    dropout: float = 0.1
    seed: int = 0
    patience: int = 2
    head: str = "linear"
    max_tokens: int = 256
    chain_fraction: float = 0.0
    chain_words: int = 64

    def __post_init__(self) -> None:
        for name in ("learning_rate", "crf_learning_rate", "epochs", "batch_size", "gradient_accumulation"):
            self._check(name, "above 0", is_met=getattr(self, name) > 0)
        for name in ("learning_rate", "crf_learning_rate", "weight_decay", "max_grad_norm"):
            self._check(name, "that is finite", is_met=math.isfinite(getattr(self, name)))
        for name in ("patience", "chain_words"):
            self._check(name, "above 0", is_met=getattr(self, name) > 0)
        for name in ("warmup_ratio", "dropout"):
            self._check(name, "of at least 0 and below 1", is_met=0 <= getattr(self, name) < 1)
        for name in ("weight_decay", "max_grad_norm"):
            self._check(name, "of at least 0", is_met=getattr(self, name) >= 0)
        self._check("seed", f"of at least 0 and below {N_SEEDS}", is_met=0 <= self.seed < N_SEEDS)
        for name, known in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("head", HEADS),
            ("precision", PRECISIONS),
        ):
            self._check(name, f"of {known}", is_met=getattr(self, name) in known)
        self._check("chain_fraction", "between 0 and 1", is_met=0 <= self.chain_fraction <= 1)
        self._check("layer_decay", "above 0 and at most 1", is_met=0 < self.layer_decay <= 1)
        self._check("max_tokens", "of at least 8", is_met=self.max_tokens >= 8)

    def _check(self, name: str, expected: str, *, is_met: bool) -> None:
        if not is_met:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"expected {flag} {expected}, found {getattr(self, name)!r}")
