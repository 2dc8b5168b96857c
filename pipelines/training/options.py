"""What a person can ask of `spanmill train`."""

import dataclasses
from typing import Any

from pipelines.console.options import option
from schemas.specs import parse_spec
from training.augmentation.augmentations import AUGMENTATIONS
from training.checkpoints import DTYPES
from training.config import HEADS, OPTIMIZERS, PRECISIONS, SCHEDULES, TrainConfig
from training.continual.continual import WAYS
from training.continual.memory import KEPT
from training.methods.methods import METHODS
from training.objectives.objectives import DEFAULT, OBJECTIVES

_DEFAULTS = TrainConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `spanmill train`."""

    train: tuple[str, ...] = option("labelled files to train on, CoNLL columns whatever the suffix", metavar="FILE")
    dev: tuple[str, ...] = option(
        "labelled files to choose the best epoch on, by the mean of their F1", (), metavar="FILE"
    )
    split: str = option(
        "cut the --train files into parts instead, by documents or else sentences, the same words on one side only",
        "",
        metavar="TRAIN/DEV[/TEST]",
    )
    base: str = option("model to begin from: a directory or a hub name", metavar="MODEL")
    registry: str = option("where --base registry:champion, or registry:DIGEST, is looked up", "", metavar="DIR")
    output: str = option("new directory for the checkpoint", metavar="DIR")
    test: tuple[str, ...] = option("labelled files to score before and after, never to choose on", (), metavar="FILE")
    method: str = option(f"which weights are trained: {', '.join(METHODS)}", "full", metavar="NAME[:OPTION=VALUE,...]")
    head: str = option("crf learns which tags follow each other", _DEFAULTS.head, choices=HEADS)
    crf_learning_rate: float = option("highest rate of what crf learns", _DEFAULTS.crf_learning_rate)
    augment: tuple[str, ...] = option(
        f"train on changed copies of the sentences too: {', '.join(AUGMENTATIONS)}",
        (),
        metavar="NAME[:OPTION=VALUE,...]",
    )
    objective: tuple[str, ...] = option(
        f"what is minimised, {DEFAULT} unless told; several add up: {', '.join(OBJECTIVES)}",
        (),
        metavar="NAME[:OPTION=VALUE,...]",
    )
    map: tuple[str, ...] = option("rename a label, or drop it with O; others are kept", (), metavar="LABEL=LABEL")
    epochs: int = option("passes over the training files", _DEFAULTS.epochs)
    batch_size: int = option("windows in a batch", _DEFAULTS.batch_size)
    gradient_accumulation: int = option("batches in a step", _DEFAULTS.gradient_accumulation)
    learning_rate: float = option("highest rate of the schedule; 0 for that of the method", 0.0)
    optimizer: str = option("sgd has a momentum of 0.9", _DEFAULTS.optimizer, choices=OPTIMIZERS)
    schedule: str = option("how the rate goes on after warming up", _DEFAULTS.schedule, choices=SCHEDULES)
    warmup_ratio: float = option("share of the steps in which the rate rises", _DEFAULTS.warmup_ratio)
    weight_decay: float = option("decay of all weights but biases and norms", _DEFAULTS.weight_decay)
    layer_decay: float = option("rate of a layer by that of the one above", _DEFAULTS.layer_decay)
    max_grad_norm: float = option("longer gradients are cut to this norm; 0 for never", _DEFAULTS.max_grad_norm)
    gradient_checkpointing: bool = option("compute some things twice to save memory", default=False)
    precision: str = option("bf16 trains faster where the machine knows it", _DEFAULTS.precision, choices=PRECISIONS)
    dropout: float = option("dropout of encoder and head", _DEFAULTS.dropout)
    seed: int = option("of first weights, order and dropout", _DEFAULTS.seed)
    seeds: tuple[int, ...] = option("train once for each of these, and keep the best by the dev files", ())
    search: str = option("options to try: a table [grid] of lists, or [optuna] of ranges", "", metavar="FILE.toml")
    patience: int = option("epochs without a better score before training stops", _DEFAULTS.patience)
    max_tokens: int = option(
        f"most tokens in a window, here and in annotate; nothing is lost (default: {_DEFAULTS.max_tokens}, or less "
        "where --base reads less)",
        0,
    )
    chain_fraction: float = option("share of the text trained on in chains of sentences", _DEFAULTS.chain_fraction)
    chain_words: int = option("most words in a chain of sentences", _DEFAULTS.chain_words)
    dtype: str = option("precision of the saved weights", "float32", choices=DTYPES)
    merge: bool = option("write a whole checkpoint, with what was trained in its weights", default=False)
    resume: bool = option("go on with training that was interrupted", default=False)
    continual: tuple[str, ...] = option(
        f"do not forget what --base knew: {', '.join(WAYS)}; several add up", (), metavar="NAME[:OPTION=VALUE,...]"
    )
    old: tuple[str, ...] = option(
        "files of earlier trainings, with the labels of --base, for replay and ewc; its buffer unless told",
        (),
        metavar="FILE",
    )
    teacher: str = option("tagger for --continual distillation; --base unless told", "", metavar="MODEL")
    keep_labels: bool = option("keep labels of --base that the training files lack; so does --continual", default=False)
    remember: tuple[str, ...] = option(
        f"write beside the checkpoint what the next training needs: {', '.join(KEPT)}",
        (),
        metavar="NAME[:OPTION=VALUE,...]",
    )

    @property
    def config(self) -> TrainConfig:
        """The options of the trainer; what depends on the base is as for one that reads enough."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(TrainConfig)}
        _, method = self.parse_method()
        values["learning_rate"] = self.learning_rate or method.learning_rate
        values["max_tokens"] = self.max_tokens or _DEFAULTS.max_tokens
        return TrainConfig(**values)

    def parse_method(self) -> tuple[str, Any]:
        """The name of the method, and its options."""
        return parse_spec(self.method, {name: method.config for name, method in METHODS.items()}, flag="--method")
