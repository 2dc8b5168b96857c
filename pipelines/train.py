"""`spanmill train`: fine-tune a tagger on labelled text."""

import dataclasses
import logging
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.options import option, parse_options, parse_pairs
from pipelines.signals import stopping_on_signals
from schemas.checkpoints import CheckpointCard, FileScore
from schemas.errors import ConfigError
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
from training.evaluations import compare_tags, read_score
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
from training.reports import build_report, write_report
from training.specs import parse_spec, render_spec
from training.splits import ROLES, parse_shares, split_files
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
    dev: tuple[str, ...] = option(
        "labelled files to choose the best epoch on, by the mean of their F1", (), metavar="FILE"
    )
    split: str = option(
        "cut the --train files into parts instead, by documents or else sentences, the same words on one side only",
        "",
        metavar="TRAIN/DEV[/TEST]",
    )
    base: str = option("model to begin from: a directory or a hub name", metavar="MODEL")
    output: str = option("new directory for the checkpoint", metavar="DIR")
    test: tuple[str, ...] = option("labelled files to score before and after, never to choose on", (), metavar="FILE")
    method: str = option(f"which weights are trained: {', '.join(METHODS)}", "full", metavar="NAME[:OPTION=VALUE,...]")
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
    split: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def roles(self) -> list[tuple[str, LabelledFile]]:
        return [(role, file) for role in ROLES for file in getattr(self, role)]


@dataclasses.dataclass(frozen=True)
class _Run:
    options: TrainOptions
    config: TrainConfig
    data: _Data
    encoder: "Encoder"
    method: str
    method_config: Any

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
    check_output(Path(options.output), work_name=_WORK_NAME)
    data = _read_data(options)
    encoder = open_encoder(options.base)
    check_max_tokens(encoder, config.max_tokens)
    run = _Run(options, config, data, encoder, method, method_config)
    prepare_work(run.work, _describe_training(run), is_resumed=options.resume)
    if data.split:
        print(_describe_split(data))
    _show_progress()
    with stopping_on_signals("the same command with --resume goes on from the last whole epoch"):
        card = _train(run)
    for score in card.scores:
        print(f"\n{score.name} ({score.role})\n{render_scores(score)}")
    print(f"\ncheckpoint: {run.output}")
    return 0


def _read_data(options: TrainOptions) -> _Data:
    label_map = parse_pairs(options.map, flag="--map")
    if bool(options.dev) == bool(options.split):
        raise ConfigError(f"expected --dev or --split, found {'both' if options.dev else 'neither'}")
    shares = parse_shares(options.split) if options.split else None
    groups = {role: read_files(getattr(options, role), flag=f"--{role}") for role in ROLES}
    check_label_map([file for files in groups.values() for file in files], label_map)
    mapped = {role: map_labels(files, label_map) for role, files in groups.items()}
    labels = collect_labels(mapped["train"], mapped["dev"] + mapped["test"])
    trained = {file.digest for file in mapped["train"]}
    if seen := [file.name for file in mapped["dev"] + mapped["test"] if file.digest in trained]:
        raise ConfigError(f"expected --dev and --test files that are not trained on, found {seen} in --train too")
    if not shares:
        return _Data(mapped["train"], mapped["dev"], mapped["test"], label_map, labels)
    split = split_files(mapped["train"], shares, seed=options.seed)
    about = {
        "given": list(shares),
        "found": list(split.shares),
        "sentences": list(split.sizes),
        "left_out": split.left_out,
    }
    return _Data(split.train, split.dev, split.test + mapped["test"], label_map, labels, about)


def _describe_split(data: _Data) -> str:
    sides = zip(ROLES, *(data.split[name] for name in ("sentences", "found", "given")), strict=True)
    parts = (
        f"{role} {n:,} ({100 * found:.1f} %, asked for {100 * given:g} %)" for role, n, found, given in sides if given
    )
    left_out = data.split["left_out"]
    rest = f"; {left_out:,} left out, whose words stand on an earlier side" if left_out else ""
    return f"sentences: {', '.join(parts)}{rest}"


def _describe_training(run: _Run) -> dict[str, Any]:
    """All that the trained weights depend on."""
    return {
        **dataclasses.asdict(run.config),
        "method": render_spec(run.method, run.method_config),
        "base": digest_weights(run.options.base),
        "map": run.data.label_map,
        "split": run.options.split,
        "train": [file.digest for file in run.data.train],
        "dev": [file.digest for file in run.data.dev],
    }


def _train(run: _Run) -> CheckpointCard:
    begun = time.perf_counter()
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
    before = shown.tag_files(model, batch_size=config.batch_size)
    sentences = [sentence for file in train_files for sentence in file.sentences]
    outcome = train(model, sentences, dev, config, run.work)

    aside = run.work / "checkpoint"
    shutil.rmtree(aside, ignore_errors=True)
    # A model is good for texts as long as those it was trained on; annotate cuts its windows by this limit.
    tokenizer.model_max_length = config.max_tokens
    write_model(model, tokenizer, aside, dtype=run.options.dtype)
    sample = [sentence for file in dev_files for sentence in file.sentences[:_N_VERIFIED]]
    windows = cut_windows(sample, tag_set, tokenizer, max_tokens=config.max_tokens)
    saved = load_verified(model, tokenizer, windows, aside, dtype=run.options.dtype)
    after = shown.tag_files(saved, batch_size=config.batch_size)
    files = _compare_files(run.data, dev_files + test_files, before, after)
    card = _build_card(run, model, outcome, tuple(map(read_score, files)), weights_digest(aside))
    command = _render_command(run.options)
    about = {"name": run.output.absolute().name, "command": command, "split": run.data.split}
    write_report(build_report(card, outcome, files, {**about, "seconds": time.perf_counter() - begun}), aside)
    publish_checkpoint(aside, run.output, card, command=command)
    shutil.rmtree(run.work)
    return card


def _build_card(
    run: _Run, model: "PreTrainedModel", outcome: Outcome, scores: tuple[FileScore, ...], digest: str
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
            **({"split": run.data.split} if run.data.split else {}),
        },
        steps=outcome.steps,
        best_step=outcome.best_step,
        trained_parameters=sum(n for n, is_trained in sizes if is_trained),
        parameters=sum(n for n, _ in sizes),
        scores=scores,
        weights_digest=digest,
        versions=library_versions(),
    )


def _compare_files(
    data: _Data, files: Sequence[LabelledFile], before: Sequence[Any], after: Sequence[Any]
) -> list[dict[str, Any]]:
    """What became of each dev and test file; `files` are those with the words that the model read."""
    roles = [role for role, _ in data.roles if role != "train"]
    rows = zip(roles, files, before, after, strict=True)
    return [{"role": role, **compare_tags(file, first, last)} for role, file, first, last in rows]


def _render_command(options: TrainOptions) -> str:
    """The command that makes this checkpoint again, without what only this machine knows."""
    words = []
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name == "resume" or value == field.default:
            continue
        values = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
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
