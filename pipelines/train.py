"""`spanmill train`: fine-tune a tagger on labelled text."""

import dataclasses
import logging
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.options import option, parse_options, parse_pairs
from pipelines.signals import stopping_on_signals
from schemas.checkpoints import CheckpointCard, FileScore
from schemas.errors import ConfigError
from schemas.scores import LabelScore
from training.augmentation.augmentations import (
    AUGMENTATIONS,
    Augmenter,
    check_augmentations,
    describe_augmentations,
    render_augmentation,
)
from training.augmentation.copies import Material
from training.checkpoints import (
    DTYPES,
    check_output,
    library_versions,
    load_verified,
    publish_checkpoint,
    render_scores,
    weights_digest,
    write_model,
)
from training.encoders import check_max_tokens, digest_weights, load_model, open_encoder
from training.epochs import TrainingText
from training.examples import (
    LabelledFile,
    build_bio_tags,
    check_label_map,
    collect_labels,
    cut_windows,
    map_labels,
    read_files,
    split_words,
)
from training.methods.methods import METHODS
from training.specs import parse_spec, parse_specs, render_spec
from training.trainer import OPTIMIZERS, Outcome, Scorer, TrainConfig, prepare_work, train
from transforms.text.tokens import ColumnTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from training.encoders import Encoder

_WORK_NAME = ".training"
_N_VERIFIED = 64
_DEFAULTS = TrainConfig()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of `spanmill train`."""

    train: tuple[str, ...] = option("labelled files to train on, CoNLL columns whatever the suffix", metavar="FILE")
    dev: tuple[str, ...] = option("labelled files to choose the best epoch on, by the mean of their F1", metavar="FILE")
    base: str = option("model to begin from: a directory or a hub name", metavar="MODEL")
    output: str = option("new directory for the checkpoint", metavar="DIR")
    test: tuple[str, ...] = option("labelled files to score before and after, never to choose on", (), metavar="FILE")
    method: str = option(f"which weights are trained: {', '.join(METHODS)}", "full", metavar="NAME[:OPTION=VALUE,...]")
    augment: tuple[str, ...] = option(
        f"train on changed copies of the sentences too: {', '.join(AUGMENTATIONS)}",
        (),
        metavar="NAME[:OPTION=VALUE,...]",
    )
    map: tuple[str, ...] = option("rename a label, or drop it with O; others are kept", (), metavar="LABEL=LABEL")
    epochs: int = option("passes over the training files", _DEFAULTS.epochs)
    batch_size: int = option("windows in a step", _DEFAULTS.batch_size)
    learning_rate: float = option("highest rate of the linear schedule", _DEFAULTS.learning_rate)
    optimizer: str = option("sgd has a momentum of 0.9", _DEFAULTS.optimizer, choices=OPTIMIZERS)
    warmup_ratio: float = option("share of the steps in which the rate rises", _DEFAULTS.warmup_ratio)
    weight_decay: float = option("decay of all weights but biases and norms", _DEFAULTS.weight_decay)
    dropout: float = option("dropout of encoder and head", _DEFAULTS.dropout)
    seed: int = option("of first weights, order and dropout", _DEFAULTS.seed)
    patience: int = option("epochs without a better score before training stops", _DEFAULTS.patience)
    max_tokens: int = option("most tokens in a window, here and in annotate; nothing is lost", _DEFAULTS.max_tokens)
    chain_fraction: float = option("share of the text trained on in chains of sentences", _DEFAULTS.chain_fraction)
    chain_words: int = option("most words in a chain of sentences", _DEFAULTS.chain_words)
    dtype: str = option("precision of the saved weights", "float32", choices=DTYPES)
    resume: bool = option("go on with training that was interrupted", default=False)

    @property
    def config(self) -> TrainConfig:
        """The options of the trainer."""
        return TrainConfig(**{f.name: getattr(self, f.name) for f in dataclasses.fields(TrainConfig)})


@dataclasses.dataclass(frozen=True)
class _Data:
    train: list[LabelledFile]
    dev: list[LabelledFile]
    test: list[LabelledFile]
    label_map: dict[str, str]
    labels: tuple[str, ...]

    @property
    def roles(self) -> list[tuple[str, LabelledFile]]:
        return [(role, file) for role in ("train", "dev", "test") for file in getattr(self, role)]


@dataclasses.dataclass(frozen=True)
class _Run:
    options: TrainOptions
    config: TrainConfig
    data: _Data
    encoder: "Encoder"
    method: str
    method_config: Any
    augment: dict[str, Any]

    @property
    def output(self) -> Path:
        return Path(self.options.output)

    @property
    def work(self) -> Path:
        return self.output / _WORK_NAME


def main(arguments: Sequence[str]) -> int:
    """Trains a tagger, writes its checkpoint and prints its scores.

    Raises:
      ConfigError: options or files are wrong; no weights have been loaded then.
    """
    options, _ = parse_options(
        TrainOptions,
        arguments,
        prog="spanmill train",
        description="Fine-tune a tagger on labelled text.",
        has_beam=False,
    )
    config = options.config
    method, method_config = parse_spec(
        options.method, {name: method.config for name, method in METHODS.items()}, flag="--method"
    )
    augment = parse_specs(
        options.augment, {name: augmentation.config for name, augmentation in AUGMENTATIONS.items()}, flag="--augment"
    )
    check_output(Path(options.output), work_name=_WORK_NAME)
    data = _read_data(options)
    encoder = open_encoder(options.base)
    check_max_tokens(encoder, config.max_tokens)
    check_augmentations(augment, encoder.tokenizer)
    run = _Run(options, config, data, encoder, method, method_config, augment)
    prepare_work(run.work, _describe_training(run), is_resumed=options.resume)
    _show_progress()
    with stopping_on_signals("the same command with --resume goes on from the last whole epoch"):
        card = _train(run)
    for score in card.scores:
        print(f"\n{score.name} ({score.role})\n{render_scores(score)}")
    print(f"\ncheckpoint: {run.output}")
    return 0


def _read_data(options: TrainOptions) -> _Data:
    label_map = parse_pairs(options.map, flag="--map")
    groups = {role: read_files(getattr(options, role), flag=f"--{role}") for role in ("train", "dev", "test")}
    check_label_map([file for files in groups.values() for file in files], label_map)
    mapped = {role: map_labels(files, label_map) for role, files in groups.items()}
    labels = collect_labels(mapped["train"], mapped["dev"] + mapped["test"])
    trained = {file.digest for file in mapped["train"]}
    if seen := [file.name for file in mapped["dev"] + mapped["test"] if file.digest in trained]:
        raise ConfigError(f"expected --dev and --test files that are not trained on, found {seen} in --train too")
    return _Data(mapped["train"], mapped["dev"], mapped["test"], label_map, labels)


def _describe_training(run: _Run) -> dict[str, Any]:
    """All that the trained weights depend on."""
    return {
        **dataclasses.asdict(run.config),
        "method": render_spec(run.method, run.method_config),
        "augment": describe_augmentations(run.augment),
        "base": digest_weights(run.options.base),
        "map": run.data.label_map,
        "train": [file.digest for file in run.data.train],
        "dev": [file.digest for file in run.data.dev],
    }


def _train(run: _Run) -> CheckpointCard:
    config, tokenizer, method = run.config, run.encoder.tokenizer, METHODS[run.method]
    tag_set = build_bio_tags(run.data.labels)
    model = load_model(run.encoder, tag_set, dropout=config.dropout, seed=config.seed)
    model = method.apply(model, run.method_config)
    own = ColumnTokenizer(tokenizer.backend_tokenizer.to_str())
    train_files, dev_files, test_files = (
        split_words(files, own) for files in (run.data.train, run.data.dev, run.data.test)
    )
    dev = Scorer(dev_files, tag_set, tokenizer, max_tokens=config.max_tokens)
    shown = Scorer(dev_files + test_files, tag_set, tokenizer, max_tokens=config.max_tokens)
    before = shown.score_model(model, batch_size=config.batch_size)
    sentences = [sentence for file in train_files for sentence in file.sentences]
    augmenter = Augmenter(run.augment, Material(sentences, tokenizer, own, config.seed, run.work))
    outcome = train(model, TrainingText(sentences, augmenter.draw), dev, config, run.work)

    aside = run.work / "checkpoint"
    shutil.rmtree(aside, ignore_errors=True)
    # A model is good for texts as long as those it was trained on; annotate cuts its windows by this limit.
    tokenizer.model_max_length = config.max_tokens
    write_model(model, tokenizer, aside, dtype=run.options.dtype)
    sample = [sentence for file in dev_files for sentence in file.sentences[:_N_VERIFIED]]
    windows = cut_windows(sample, tag_set, tokenizer, max_tokens=config.max_tokens)
    saved = load_verified(model, tokenizer, windows, aside, dtype=run.options.dtype)
    after = shown.score_model(saved, batch_size=config.batch_size)
    scores = _pair_scores(run.data, before, after)
    card = _build_card(run, model, outcome, scores, weights_digest(aside), augmenter.describe(outcome.passes))
    publish_checkpoint(aside, run.output, card, command=_render_command(run.options, run.augment))
    shutil.rmtree(run.work)
    return card


def _build_card(
    run: _Run,
    model: "PreTrainedModel",
    outcome: Outcome,
    scores: tuple[FileScore, ...],
    digest: str,
    added: dict[str, Any],
) -> CheckpointCard:
    sizes = [(weights.numel(), weights.requires_grad) for weights in model.parameters()]
    return CheckpointCard(
        base=run.encoder.name,
        base_digest=digest_weights(run.options.base),
        method=run.method,
        labels=run.data.labels,
        tags=build_bio_tags(run.data.labels).tags,
        label_map=run.data.label_map,
        data=tuple(file.describe(role) for role, file in run.data.roles),
        options={
            **dataclasses.asdict(run.config),
            **dataclasses.asdict(run.method_config),
            "dtype": run.options.dtype,
            **_describe_copies(run.augment, added),
        },
        steps=outcome.steps,
        best_step=outcome.best_step,
        trained_parameters=sum(n for n, is_trained in sizes if is_trained),
        parameters=sum(n for n, _ in sizes),
        scores=scores,
        weights_digest=digest,
        versions=library_versions(),
    )


def _describe_copies(augment: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    if not augment:
        return {}
    return {
        "augment": [render_augmentation(name, config) for name, config in augment.items()],
        "augmentation": added,
    }


def _pair_scores(
    data: _Data, before: Sequence[tuple[LabelScore, ...]], after: Sequence[tuple[LabelScore, ...]]
) -> tuple[FileScore, ...]:
    shown = [(role, file) for role, file in data.roles if role != "train"]
    return tuple(
        FileScore(role=role, name=file.name, before=first, after=last)
        for (role, file), first, last in zip(shown, before, after, strict=True)
    )


def _render_command(options: TrainOptions, augment: dict[str, Any]) -> str:
    """The command that makes this checkpoint again, without what only this machine knows."""
    words = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name == "resume" or value == field.default:
            continue
        values = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
        if field.name == "augment":
            values = [render_augmentation(name, config) for name, config in augment.items()]
        if field.name in ("train", "dev", "test", "base", "output"):
            values = [_relative(item) for item in values]
        words.append(" ".join(["--" + field.name.replace("_", "-"), *map(shlex.quote, values)]))
    return "spanmill train \\\n  " + " \\\n  ".join(words)


def _relative(path: str) -> str:
    """A path as given, or its last parts where it is absolute."""
    return "/".join(Path(path).parts[-2:]) if Path(path).is_absolute() else path


def _show_progress() -> None:
    """One line per epoch, and no bars."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
