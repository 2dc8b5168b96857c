"""Supervised training with transformers' Trainer, and what it needs around it.

Batches of windows of like length, objectives that add up (see objectives), a score on the dev files after each epoch,
the weights of the best epoch kept, and a stop when `patience` epochs in a row brought nothing better. Epochs that come
before the first entity is found do not count: with few sentences, or against an adversary, they are several. The score
is the mean over the dev files of their entity F1, so that a large file does not drown a small one.

After each epoch the state is saved: weights, optimizer, schedule, random numbers. Training that was killed at any step
goes on from there and ends with the same weights, to the last bit.
"""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from schemas.checkpoints import Epoch
from schemas.errors import ConfigError, DivergenceError
from training.config import TrainConfig
from training.crf import build_task, find_crf
from training.epochs import EpochFeatures, TrainingText
from training.examples import LabelledSentence, Window, chain_sentences, cut_windows
from training.objectives.objectives import Objectives
from training.objectives.steps import Setting
from training.optimization import group_parameters
from training.scorer import Scorer, build_collator, build_features
from training.states import load_state, save_state

if TYPE_CHECKING:
    import torch
    from transformers import (
        EarlyStoppingCallback,
        PreTrainedModel,
        Trainer,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

STATE_NAME = "training.json"
_TRAINER_STATE = "trainer_state.json"
_STOPPING = "PatientCallback"
_MOMENTUM = 0.9
_OPTIMIZERS = {"adamw": "adamw_torch_fused", "sgd": "sgd", "adafactor": "adafactor"}
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What training did.

    Attributes:
      steps: optimizer steps taken.
      best_step: the step whose weights the model now has.
      best_score: mean entity F1 over the dev files at that step.
      epochs: how it went.
    """

    steps: int
    best_step: int
    best_score: float
    epochs: tuple[Epoch, ...]


def train(
    model: "PreTrainedModel",
    text: TrainingText,
    scorer: Scorer,
    config: TrainConfig,
    objectives: Mapping[str, Any],
    work: Path,
) -> Outcome:
    """Trains a model in place and leaves it with the weights of its best epoch.

    Args:
      model: the model; what is trainable in it is trained.
      text: what to train on.
      scorer: scores it after each epoch.
      config: how to train.
      objectives: what to minimise, as `parse_objectives` gives it.
      work: folder for the state after each epoch; training goes on from the last state that is in it.

    Raises:
      ConfigError: the model knows no gradient checkpointing.
    """
    if config.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise ConfigError(
            f"expected --gradient-checkpointing for a model that knows it, found {type(model).__name__}; leave it out"
        )

    def cut(sentences: Sequence[LabelledSentence]) -> list[Window]:
        return cut_windows(sentences, scorer.tag_set, scorer.tokenizer, max_tokens=config.max_tokens)

    windows = cut(
        chain_sentences(text.sentences, fraction=config.chain_fraction, max_words=config.chain_words, seed=config.seed)
    )
    features = EpochFeatures(build_features(windows), lambda epoch: build_features(cut(text.augment(epoch))))
    crf = find_crf(model)
    task = build_task(crf, scorer.tag_set) if crf else None
    setting = Setting(count_tags(windows, len(scorer.tag_set.tags)), task, config.precision)
    trainer = _build_trainer(model, features, scorer, config, Objectives(objectives, setting, text.terms), work)
    state = _find_state(work)
    if state and _has_stopped(state, config):
        _take_best(trainer, state)
    else:
        trainer.train(resume_from_checkpoint=state)
    best = trainer.state.best_model_checkpoint or ""
    return Outcome(
        steps=trainer.state.global_step,
        best_step=int(best.rpartition("-")[2] or trainer.state.global_step),
        best_score=float(trainer.state.best_metric or 0.0),
        epochs=_read_history(trainer.state.log_history),
    )


def count_tags(windows: Sequence[Window], n_tags: int) -> tuple[int, ...]:
    """How many words of windows carry each tag."""
    counts = Counter(target for window in windows for target in window.targets)
    return tuple(counts[tag] for tag in range(n_tags))


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
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(identity, indent=2), encoding="utf-8")
        partial.rename(path)
    except OSError as error:
        raise ConfigError(f"cannot write to --output {str(work.parent)!r}: {error.strerror}") from error


def _find_state(work: Path) -> str | None:
    """The newest state in a folder that was written to its end."""
    # The Trainer writes this file last.
    whole = [path.parent for path in work.glob(f"checkpoint-*/{_TRAINER_STATE}") if _is_whole(path)]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _has_stopped(state: str, config: TrainConfig) -> bool:
    """Whether training had stopped early at a state; the Trainer itself would go on for another epoch."""
    content = json.loads((Path(state) / _TRAINER_STATE).read_text(encoding="utf-8"))
    stopping = content["stateful_callbacks"].get(_STOPPING, {}).get("attributes", {})
    return bool(stopping.get("early_stopping_patience_counter", 0) >= config.patience)


def _take_best(trainer: "Trainer", state: str) -> None:
    """Ends training that had stopped at a state: the best weights are taken."""
    from transformers import TrainerState

    trainer.state = TrainerState.load_from_json(str(Path(state) / _TRAINER_STATE))
    trainer._load_best_model()


def _is_whole(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def _build_trainer(
    model: "PreTrainedModel",
    features: EpochFeatures,
    scorer: Scorer,
    config: TrainConfig,
    objectives: Objectives,
    work: Path,
) -> "Trainer":
    from transformers import PrinterCallback, Trainer

    class ObjectiveTrainer(Trainer):
        """Minimises our objectives, and scores with our windows and decoder; Trainer's own loop shuffles a dev set.

        Its states hold what is trained and nothing else.
        """

        began = time.monotonic()

        def training_step(
            self,
            model: "torch.nn.Module",
            inputs: dict[str, Any],
            num_items_in_batch: "torch.Tensor | int | None" = None,
        ) -> "torch.Tensor":
            model.train()
            inputs = self._prepare_inputs(inputs)
            self.loss = objectives.take_step(model, inputs, num_items_in_batch or 1, self.accelerator.backward)
            return self.loss

        def create_optimizer(self, _: "torch.nn.Module | None" = None) -> "torch.optim.Optimizer":
            groups = group_parameters(model, self.get_decay_parameter_names(model), config)
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            momentum = {"momentum": _MOMENTUM} if config.optimizer == "sgd" else {}
            self.optimizer = kind(groups, **options, **momentum)
            return self.optimizer

        def evaluate(
            self,
            eval_dataset: object = None,  # noqa: ARG002
            ignore_keys: list[str] | None = None,  # noqa: ARG002
            metric_key_prefix: str = "eval",  # noqa: ARG002
        ) -> dict[str, float]:
            if not bool(self.loss.isfinite()):
                raise DivergenceError(f"a loss of {float(self.loss)}")
            found = scorer.measure_f1(model)
            metrics = {"eval_f1": float(np.mean(found))}
            seconds, self.began = time.monotonic() - self.began, time.monotonic()
            self.log({**metrics, **{f"f1_{at}": f1 for at, f1 in enumerate(found)}, "seconds": seconds})
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
            return metrics

        def _determine_best_metric(self, metrics: dict[str, float], trial: object) -> bool:
            # As long as no entity is found the last epoch is the best: its loss is the least.
            if self.state.best_metric == 0:
                self.state.best_metric = None
            return super()._determine_best_metric(metrics, trial)  # type: ignore[arg-type]

        def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:  # noqa: ARG002
            save_state(model, Path(output_dir or work))

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: object = None) -> None:  # noqa: ARG002
            load_state(self.model, Path(resume_from_checkpoint))

        def _load_best_model(self) -> None:
            load_state(model, Path(self.state.best_model_checkpoint or ""))

    trainer = ObjectiveTrainer(
        model=model,
        args=_build_arguments(config, work),
        train_dataset=features,
        # Only its presence counts.
        eval_dataset=features,
        data_collator=build_collator(scorer.tokenizer),
        callbacks=[_build_stopping(config.patience)],
    )
    # So that it counts the words of all batches of a step.
    trainer.model_accepts_loss_kwargs = True
    trainer.remove_callback(PrinterCallback)
    return trainer


def _build_stopping(patience: int) -> "EarlyStoppingCallback":
    from transformers import EarlyStoppingCallback

    class PatientCallback(EarlyStoppingCallback):
        """Counts no epochs from before the first entity is found."""

        def check_metric_value(
            self, args: "TrainingArguments", state: "TrainerState", control: "TrainerControl", metric_value: float
        ) -> None:
            super().check_metric_value(args, state, control, metric_value)  # type: ignore[no-untyped-call]
            if metric_value == 0 and not state.best_metric:
                self.early_stopping_patience_counter = 0

    return PatientCallback(early_stopping_patience=patience)


def _read_history(history: Sequence[Mapping[str, Any]]) -> tuple[Epoch, ...]:
    """The Trainer's log, two entries per epoch, to epochs."""
    losses = {entry["step"]: entry for entry in history if "loss" in entry}
    return tuple(
        Epoch(
            epoch=round(entry["epoch"]),
            step=entry["step"],
            loss=losses[entry["step"]]["loss"],
            learning_rate=losses[entry["step"]]["learning_rate"],
            f1=tuple(f1 for name, f1 in entry.items() if name.startswith("f1_")),
            seconds=entry["seconds"],
        )
        for entry in history
        if "eval_f1" in entry
    )


def _build_arguments(config: TrainConfig, work: Path) -> "TrainingArguments":
    from transformers import TrainingArguments

    # The name that this version of transformers has for it.
    is_new = any(field.name == "activation_checkpointing" for field in dataclasses.fields(TrainingArguments))
    name = "activation_checkpointing" if is_new else "gradient_checkpointing"
    # The reentrant kind needs inputs that take gradients, which frozen embeddings do not give.
    checkpointing: dict[str, Any] = {name: True, f"{name}_kwargs": {"use_reentrant": False}}
    return TrainingArguments(
        output_dir=str(work),
        learning_rate=config.learning_rate,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        max_grad_norm=config.max_grad_norm,
        optim=_OPTIMIZERS[config.optimizer],
        weight_decay=config.weight_decay,
        lr_scheduler_type=_SCHEDULES[config.schedule],
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
        **(checkpointing if config.gradient_checkpointing else {}),
    )
