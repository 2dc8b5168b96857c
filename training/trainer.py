"""Supervised training with transformers' Trainer, and what it needs around it.

AdamW or SGD, a linear schedule with warm-up, batches of windows of like length, a score on the dev files after each
epoch, the weights of the best epoch kept, and a stop when `patience` epochs in a row brought nothing better. The score
is the mean over the dev files of their entity F1, so that a large file does not drown a small one.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError
from schemas.labels import TagSet
from schemas.scores import LabelScore
from training.epochs import EpochFeatures, Feature, TrainingText
from training.examples import (
    IGNORED,
    LabelledFile,
    LabelledSentence,
    Window,
    chain_sentences,
    cut_windows,
    join_windows,
)
from training.scores import micro_f1, score_tags

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

_LOG = logging.getLogger(__name__)

OPTIMIZERS = ("adamw", "sgd")
STATE_NAME = "training.json"
_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How weights are changed.

    Attributes:
      learning_rate: highest rate of the schedule.
      epochs: passes over the training files.
      batch_size: windows in a step.
      optimizer: adamw, or sgd with a momentum of 0.9.
      warmup_ratio: share of the steps in which the rate rises from 0; it falls to 0 in the others.
      weight_decay: decay of all weights but biases and norms.
      dropout: dropout of encoder and head.
      seed: of the head's first weights, the order of the data and the dropout.
      patience: epochs without a better score before training stops.
      max_tokens: most pieces in a window.
      chain_fraction: share of the text that is trained on in chains of neighbouring sentences.
      chain_words: most words in such a chain.
    """

    learning_rate: float = 5e-5
    epochs: int = 4
    batch_size: int = 32
    optimizer: str = "adamw"
    warmup_ratio: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    seed: int = 0
    patience: int = 2
    max_tokens: int = 256
    chain_fraction: float = 0.0
    chain_words: int = 64

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs", "batch_size", "patience", "chain_words"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"expected {_flag(name)} above 0, found {getattr(self, name)}")
        for name in ("warmup_ratio", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"expected {_flag(name)} of at least 0 and below 1, found {getattr(self, name)}")
        if not 0 <= self.chain_fraction <= 1:
            raise ConfigError(f"expected --chain-fraction between 0 and 1, found {self.chain_fraction}")
        if not self.weight_decay >= 0:
            raise ConfigError(f"expected --weight-decay of at least 0, found {self.weight_decay}")
        if self.seed < 0:
            raise ConfigError(f"expected --seed of at least 0, found {self.seed}")
        if self.max_tokens < 8:
            raise ConfigError(f"expected --max-tokens of at least 8, found {self.max_tokens}")
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"expected --optimizer of {OPTIMIZERS}, found {self.optimizer!r}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What training did.

    Attributes:
      steps: optimizer steps taken.
      best_step: the step whose weights the model now has.
      best_score: mean entity F1 over the dev files at that step.
      passes: passes over the training files.
    """

    steps: int
    best_step: int
    best_score: float
    passes: int


class Scorer:
    """Scores a model on labelled files.

    Args:
      files: what to score on.
      tag_set: the model's tags.
      tokenizer: the model's tokenizer.
      max_tokens: most pieces in a window.
    """

    def __init__(
        self,
        files: Sequence[LabelledFile],
        tag_set: TagSet,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        max_tokens: int,
    ) -> None:
        self._files = files
        self.tag_set = tag_set
        self.tokenizer = tokenizer
        self._sentences = [sentence for file in files for sentence in file.sentences]
        windows = cut_windows(self._sentences, tag_set, tokenizer, max_tokens=max_tokens)
        self._windows = sorted(windows, key=lambda window: -len(window.input_ids))

    def score_model(self, model: "PreTrainedModel", *, batch_size: int) -> list[tuple[LabelScore, ...]]:
        """Scores of a model by file."""
        probabilities = predict(model, self._windows, self.tokenizer, batch_size=batch_size)
        tags = join_windows(probabilities, self._windows, self._sentences, self.tag_set)
        scores, begin = [], 0
        for file in self._files:
            end = begin + len(file.sentences)
            scores.append(score_tags([sentence.tags for sentence in file.sentences], tags[begin:end]))
            begin = end
        return scores

    def mean_f1(self, model: "PreTrainedModel", *, batch_size: int) -> float:
        """Mean over the files of a model's entity F1."""
        scores = [micro_f1(score) for score in self.score_model(model, batch_size=batch_size)]
        parts = (f"{file.name} {100 * score:.2f}" for file, score in zip(self._files, scores, strict=True))
        _LOG.info("entity F1: %s", ", ".join(parts))
        return float(np.mean(scores))


def train(
    model: "PreTrainedModel",
    text: TrainingText,
    scorer: Scorer,
    config: TrainConfig,
    work: Path,
) -> Outcome:
    """Trains a model in place and leaves it with the weights of its best epoch.

    Args:
      model: the model; what is trainable in it is trained.
      text: what to train on.
      scorer: scores it after each epoch.
      config: how to train.
      work: folder for the state after each epoch; training goes on from the last state that is in it.
    """

    def featurize(sentences: Sequence[LabelledSentence]) -> list[Feature]:
        return build_features(cut_windows(sentences, scorer.tag_set, scorer.tokenizer, max_tokens=config.max_tokens))

    chained = chain_sentences(
        text.sentences, fraction=config.chain_fraction, max_words=config.chain_words, seed=config.seed
    )
    features = EpochFeatures(featurize(chained), lambda epoch: featurize(text.augment(epoch)))
    trainer = _build_trainer(model, features, scorer, config, work)
    trainer.train(resume_from_checkpoint=_find_state(work))
    best = trainer.state.best_model_checkpoint or ""
    return Outcome(
        steps=trainer.state.global_step,
        best_step=int(best.rpartition("-")[2] or trainer.state.global_step),
        best_score=float(trainer.state.best_metric or 0.0),
        passes=round(trainer.state.epoch or 0),
    )


def predict(
    model: "PreTrainedModel",
    windows: Sequence[Window],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    batch_size: int,
) -> npt.NDArray[np.float32]:
    """Tag probabilities of the windows' words laid end to end, (n_words, n_tags)."""
    import torch

    collate = _build_collator(tokenizer)
    features = build_features(windows)
    found = [np.empty((0, len(model.config.id2label or {})), dtype=np.float32)]
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(features), batch_size):
            batch = collate(features[start : start + batch_size])
            targets = batch.pop("labels").numpy()
            inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
            logits = model(**inputs).logits.float().cpu().numpy()
            found.append(_softmax(logits[targets != IGNORED]))
    return np.concatenate(found)


def build_features(windows: Sequence[Window]) -> list[dict[str, list[int]]]:
    """Windows to what a model reads."""
    return [
        {
            "input_ids": list(window.input_ids),
            "attention_mask": [1] * len(window.input_ids),
            "labels": list(window.targets),
        }
        for window in windows
    ]


def prepare_work(work: Path, identity: dict[str, Any], *, is_resumed: bool) -> None:
    """Makes the folder for the state of training, or checks that the one there is of the same training.

    Raises:
      ConfigError: there is a state and it is not to be resumed, or something differs from what it began with.
    """
    path = work / STATE_NAME
    if path.exists():
        if not is_resumed:
            raise ConfigError(f"expected no unfinished training in {str(work)!r}, found one; add --resume or remove it")
        before = json.loads(path.read_text(encoding="utf-8"))
        now = json.loads(json.dumps(identity))
        if changed := sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
            raise ConfigError(
                f"expected to resume with what training began with, found other values of {changed}; "
                f"restore them or remove {str(work)!r}"
            )
        return
    try:
        work.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(identity, indent=2), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write to --output {str(work.parent)!r}: {error.strerror}") from error


def _find_state(work: Path) -> str | None:
    """The newest state in a folder that was written to its end."""
    # The Trainer writes this file last.
    whole = [path.parent for path in work.glob("checkpoint-*/trainer_state.json") if path.stat().st_size]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _build_trainer(
    model: "PreTrainedModel",
    features: EpochFeatures,
    scorer: Scorer,
    config: TrainConfig,
    work: Path,
) -> "Trainer":
    import torch
    from transformers import EarlyStoppingCallback, PrinterCallback, Trainer

    class ScoredTrainer(Trainer):
        """Scores with our windows and decoder; Trainer's own loop also shuffles a grouped dev set."""

        def evaluate(
            self,
            eval_dataset: object = None,  # noqa: ARG002
            ignore_keys: list[str] | None = None,  # noqa: ARG002
            metric_key_prefix: str = "eval",
        ) -> dict[str, float]:
            metrics = {f"{metric_key_prefix}_f1": scorer.mean_f1(model, batch_size=config.batch_size)}
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            return metrics

    sgd = (torch.optim.SGD, {"lr": config.learning_rate, "momentum": _MOMENTUM})
    trainer = ScoredTrainer(
        model=model,
        args=_build_arguments(config, work),
        train_dataset=features,
        # Only its presence counts.
        eval_dataset=features,
        data_collator=_build_collator(scorer.tokenizer),
        callbacks=[EarlyStoppingCallback(early_stopping_patience=config.patience)],
        optimizer_cls_and_kwargs=sgd if config.optimizer == "sgd" else None,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _build_arguments(config: TrainConfig, work: Path) -> "TrainingArguments":
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(work),
        learning_rate=config.learning_rate,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        optim="adamw_torch",
        weight_decay=config.weight_decay,
        lr_scheduler_type="linear",
        warmup_steps=config.warmup_ratio,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_f1",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        remove_unused_columns=False,
        seed=config.seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def _build_collator(tokenizer: "PreTrainedTokenizerBase") -> Any:
    from transformers import DataCollatorForTokenClassification

    return DataCollatorForTokenClassification(tokenizer, label_pad_token_id=IGNORED)


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: npt.NDArray[np.float32] = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    return shares


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
