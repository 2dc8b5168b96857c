"""`spanmill train`: fine-tune a tagger on labelled text."""

import dataclasses
import logging
import shlex
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.options import option, parse_options, parse_pairs, read_values
from pipelines.pinning import pin_folders
from pipelines.signals import stopping_on_signals
from schemas.checkpoints import CARD_NAME, HISTORY_NAME, CheckpointCard, Curve, FileScore, History, SeedScore
from schemas.errors import ConfigError
from schemas.specs import parse_spec, parse_specs, render_spec
from training.adapters import write_adapter
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
    is_publishing,
    library_versions,
    load_verified,
    publish_checkpoint,
    render_scores,
    render_seeds,
    weights_digest,
    write_model,
)
from training.config import HEADS, OPTIMIZERS, PRECISIONS, SCHEDULES, TrainConfig
from training.continual.continual import WAYS, Continual, Sources, check_continual, parse_continual, read_labels
from training.continual.fisher import FISHER_NAME
from training.continual.memory import (
    BUFFER_NAME,
    KEPT,
    Trained,
    digest_encoder,
    parse_remember,
    render_remember,
    write_memory,
)
from training.continual.past import Past
from training.crf import find_crf
from training.encoders import (
    build_skeleton,
    check_max_tokens,
    digest_weights,
    find_folder,
    load_model,
    open_encoder,
)
from training.epochs import TrainingText
from training.evaluations import compare_tags, read_score
from training.examples import (
    LabelledFile,
    Window,
    build_bio_tags,
    check_label_map,
    collect_labels,
    cut_windows,
    map_labels,
    read_files,
    shorten_path,
    split_sentences,
    split_words,
)
from training.heads import is_tagger, list_tags
from training.methods.methods import METHODS
from training.objectives.objectives import DEFAULT, OBJECTIVES, parse_objectives
from training.reports import build_report, list_epochs, write_report
from training.scorer import Scorer
from training.scores import micro_f1
from training.search import TRIALS_NAME, Search, Trial, find_best, read_search, run_trials, trial_folder
from training.splits import ROLES, parse_shares, split_files
from training.states import count_weights
from training.trainer import Outcome, prepare_work, train
from transforms.models.checkpoint import digest_file
from transforms.text.tokens import ColumnTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from training.encoders import Encoder

_LOG = logging.getLogger("training.search")
_WORK_NAME = ".training"
_N_VERIFIED = 64
_DEFAULTS = TrainConfig()
_NOT_SEARCHED = {"train", "dev", "test", "split", "base", "output", "map", "seeds", "search", "dtype", "resume"}
_NOT_SEARCHED |= {"old", "teacher", "keep_labels", "remember", "registry"}


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
    learning_rate: float = option("highest rate of the schedule", _DEFAULTS.learning_rate)
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
    max_tokens: int = option("most tokens in a window, here and in annotate; nothing is lost", _DEFAULTS.max_tokens)
    chain_fraction: float = option("share of the text trained on in chains of sentences", _DEFAULTS.chain_fraction)
    chain_words: int = option("most words in a chain of sentences", _DEFAULTS.chain_words)
    dtype: str = option("precision of the saved weights", "float32", choices=DTYPES)
    merge: bool = option("write a whole checkpoint, with what was trained in its weights", default=False)
    resume: bool = option("go on with training that was interrupted", default=False)
    continual: tuple[str, ...] = option(
        f"do not forget what --base knew: {', '.join(WAYS)}; several add up",
        (),
        metavar="NAME[:OPTION=VALUE,...]",
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
    teacher: dict[str, Any] = dataclasses.field(default_factory=dict)
    pinned: dict[str, str] = dataclasses.field(default_factory=dict)
    old: list[LabelledFile] = dataclasses.field(default_factory=list)
    is_kept: bool = False

    @property
    def counted(self) -> tuple[str, ...]:
        """Labels that scores count wherever they are found; empty for all."""
        return collect_labels(self.train, ()) if self.is_kept else ()

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
    objectives: dict[str, Any]
    augment: dict[str, Any]
    continual: dict[str, Any]
    remember: dict[str, Any]

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.options.seeds or (self.config.seed,)

    @property
    def command(self) -> str:
        """What makes the checkpoint again."""
        return _render_command(self)


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A checkpoint that may become the output: the best of its seeds."""

    folder: Path
    card: CheckpointCard
    history: History

    @property
    def f1(self) -> float:
        """Mean over the dev files, and over seeds."""
        return statistics.fmean(f1 for _, f1 in self.files)

    @property
    def files(self) -> tuple[tuple[str, float], ...]:
        """Names of the dev files, and F1 on each, the mean over seeds."""
        found = [seed.f1 for seed in self.card.seeds] or [tuple(micro_f1(score.after) for score in self.card.scores)]
        means = [statistics.fmean(column) for column in zip(*found, strict=True)]
        return tuple((score.name, f1) for score, f1 in zip(self.card.scores, means, strict=True) if score.role == "dev")


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        TrainOptions,
        arguments,
        prog="spanmill train",
        description="Fine-tune a tagger on labelled text.",
        has_beam=False,
    )
    return run(options)


def run(options: TrainOptions, teacher: Mapping[str, Any] | None = None) -> int:
    """Trains a tagger, writes its checkpoint and prints its scores; returns the exit status.

    Args:
      options: what a person asked for.
      teacher: who labelled the training files, where that was a tagger; the card tells.

    Raises:
      ConfigError: options or files are wrong; no weights have been loaded then.
    """
    output, work = Path(options.output), Path(options.output) / _WORK_NAME
    search = read_search(Path(options.search)) if options.search else None
    check_output(output, work_name=_WORK_NAME)
    options, pinned = pin_bases(options)
    data = dataclasses.replace(_read_data(options), teacher=dict(teacher or {}), pinned=pinned)
    run = _configure(options, data, open_encoder(options.base))
    for values in search.samples() if search else ():
        _vary(run, values)
    prepare_work(
        work, _describe_training(run) | ({"search": repr(search)} if search else {}), is_resumed=options.resume
    )
    if run.data.split:
        print(_describe_split(run.data))
    _show_progress()
    with stopping_on_signals("the same command with --resume goes on from the last whole epoch"):
        card = _search(run, search, work) if search else _publish(_train_seeds(run, work), run, work)
    for score in card.scores:
        print(f"\n{score.name} ({score.role})\n{render_scores(score)}")
    if card.seeds:
        print(f"\n{len(card.seeds)} seeds\n{render_seeds([score.name for score in card.scores], card.seeds)}")
    print(f"\ncheckpoint: {output}")
    return 0


def pin_bases(options: TrainOptions) -> tuple[TrainOptions, dict[str, str]]:
    """Options to the same with folders in place of references to a registry, and the checkpoints' digests by option.

    Raises:
      ConfigError: there is no registry, no champion or no such checkpoint, or a registry nobody asks for.
      CheckpointError: the files of a checkpoint are not what they were.
    """
    found = pin_folders({"--base": options.base, "--teacher": options.teacher}, options.registry)
    base, teacher = (
        found[flag].folder if flag in found else given
        for flag, given in (("--base", options.base), ("--teacher", options.teacher))
    )
    digests = {flag.removeprefix("--"): one.digest for flag, one in found.items()}
    return dataclasses.replace(options, base=base, teacher=teacher), digests


def check(options: TrainOptions) -> None:
    """Looks at options and files as `run` does before it loads any weights, and does nothing else.

    Raises:
      ConfigError: options or files are wrong.
    """
    pinned, _ = pin_bases(options)
    _configure(pinned, _read_data(pinned), open_encoder(pinned.base))


def is_trained(output: Path) -> bool:
    """Whether a training of before has written all of its checkpoint to a folder."""
    return (output / CARD_NAME).exists() and not is_publishing(output / _WORK_NAME)


def _configure(options: TrainOptions, data: _Data, encoder: "Encoder") -> _Run:
    """Options to a run, all of them checked."""
    config = options.config
    method, method_config = parse_spec(
        options.method, {name: method.config for name, method in METHODS.items()}, flag="--method"
    )
    if len(set(options.seeds)) != len(options.seeds) or min(options.seeds, default=0) < 0:
        raise ConfigError(f"expected different --seeds of at least 0, found {list(options.seeds)}")
    objectives = parse_objectives(options.objective, head=options.head)
    augment = parse_specs(
        options.augment, {name: augmentation.config for name, augmentation in AUGMENTATIONS.items()}, flag="--augment"
    )
    check_augmentations(augment, encoder.tokenizer)
    continual = parse_continual(options.continual)
    remember = parse_remember(options.remember, is_whole=method == "full" or options.merge)
    run = _Run(options, config, data, encoder, method, method_config, objectives, augment, continual, remember)
    _check_method(run)
    _check_past(run)
    return run


def _vary(run: _Run, values: Mapping[str, Any]) -> _Run:
    """A run with other values of some options, as a search has them."""
    found = read_values(values, TrainOptions, where=run.options.search)
    if fixed := sorted(set(found) & _NOT_SEARCHED):
        raise ConfigError(f"expected options of training in {run.options.search!r}, found {fixed}; set them by flags")
    return _configure(dataclasses.replace(run.options, **found), run.data, run.encoder)


def _search(run: _Run, search: Search, work: Path) -> CheckpointCard:
    """Trains with many options and publishes what does best."""

    def train_trial(number: int, values: dict[str, Any], folder: Path) -> Trial:
        candidate = _train_seeds(_vary(run, values), folder)
        trial = Trial(
            number=number,
            options=values,
            f1=candidate.f1,
            files=dict(candidate.files),
            steps=candidate.card.steps,
            seconds=sum(epoch.seconds for curve in candidate.history.curves for epoch in curve.epochs),
        )
        _LOG.info("trial %d, mean F1 %.2f: %s", number, 100 * trial.f1, values)
        return trial

    trials = run_trials(search, train_trial, work)
    best = find_best(trials)
    chosen = _vary(run, best.options)
    candidate = _train_seeds(chosen, trial_folder(work, best.number))
    card = dataclasses.replace(candidate.card, trials=len(trials))
    lines = {TRIALS_NAME: (work / TRIALS_NAME).read_text(encoding="utf-8")}
    return _publish(dataclasses.replace(candidate, card=card), chosen, work, lines)


def _train_seeds(run: _Run, work: Path) -> _Candidate:
    """Trains once per seed, and takes the one that does best on the dev files."""
    found = []
    for seed in run.seeds:
        config = dataclasses.replace(run.config, seed=seed)
        found.append(_train_once(dataclasses.replace(run, config=config), work / f"seed={seed}"))
    best = max(found, key=lambda candidate: candidate.f1)
    if len(found) == 1:
        return best
    seeds = tuple(
        SeedScore(seed=seed, f1=tuple(micro_f1(score.after) for score in one.card.scores))
        for seed, one in zip(run.seeds, found, strict=True)
    )
    history = dataclasses.replace(best.history, curves=tuple(one.history.curves[0] for one in found))
    return dataclasses.replace(best, card=dataclasses.replace(best.card, seeds=seeds), history=history)


def _publish(candidate: _Candidate, run: _Run, work: Path, texts: Mapping[str, str] | None = None) -> CheckpointCard:
    texts = {HISTORY_NAME: candidate.history.to_json(), **(texts or {})}
    publish_checkpoint(candidate.folder, work, candidate.card, command=run.command, texts=texts)
    return candidate.card


def _check_method(run: _Run) -> None:
    """Refuses a method that does not go with the base or the other options, before any weights are loaded."""
    method = METHODS[run.method]
    if run.options.merge and not method.is_folded:
        foldable = sorted(name for name, other in METHODS.items() if other.is_folded)
        raise ConfigError(f"expected --merge with a --method of {foldable}, found {run.method!r}, which stays beside")
    check_max_tokens(run.encoder, run.config.max_tokens, taken=run.method_config.tokens if method.has_tokens else 0)
    method.apply(build_skeleton(run.encoder), run.method_config)


def _check_past(run: _Run) -> None:
    """Refuses ways of not forgetting that lack what they need, before any weights are loaded."""
    if not run.continual:
        return
    if not run.data.is_kept:
        raise ConfigError("expected --keep-labels with --continual in a search, found it missing")
    base, teacher = run.options.base, run.options.teacher or run.options.base
    sources = Sources(find_folder(base), run.encoder, open_encoder(teacher), run.method, bool(run.data.old))
    check_continual(run.continual, sources)


def _read_old(options: TrainOptions) -> list[LabelledFile]:
    """Labelled files of earlier trainings: those given, or the buffer of the base where something asks for one."""
    if options.old:
        return read_files(options.old, flag="--old")
    asked = {spec.partition(":")[0] for spec in (*options.continual, *options.remember)} & {"replay", "buffer"}
    buffer = Path(options.base) / BUFFER_NAME
    return read_files([str(buffer)], flag="--old") if asked and buffer.is_file() else []


def _find_kept(options: TrainOptions, old: Sequence[LabelledFile]) -> set[str]:
    """Labels that the model keeps beside those of the training files."""
    if not (options.continual or options.keep_labels):
        return set()
    taggers = {"--base": options.base, **({"--teacher": options.teacher} if options.teacher else {})}
    labels = {label for flag, name in taggers.items() for label in read_labels(open_encoder(name), flag=flag)}
    for file in old:
        # Those of before stay as the base knows them; --map is for new files.
        if strange := sorted(set(file.entities) - labels):
            raise ConfigError(f"expected labels of --base, {sorted(labels)}, in --old {file.name!r}, found {strange}")
    return labels


def _read_data(options: TrainOptions) -> _Data:
    label_map = parse_pairs(options.map, flag="--map")
    if bool(options.dev) == bool(options.split):
        raise ConfigError(f"expected --dev or --split, found {'both' if options.dev else 'neither'}")
    shares = parse_shares(options.split) if options.split else None
    groups = {role: read_files(getattr(options, role), flag=f"--{role}") for role in ROLES}
    old = _read_old(options)
    check_label_map([file for files in groups.values() for file in files], label_map)
    mapped = {role: map_labels(files, label_map) for role, files in groups.items()}
    kept = _find_kept(options, old)
    labels = collect_labels(mapped["train"], mapped["dev"] + mapped["test"], kept=kept)
    past: dict[str, Any] = {"old": old, "is_kept": bool(kept)}
    trained = {file.digest for file in mapped["train"]}
    if seen := [file.name for file in mapped["dev"] + mapped["test"] if file.digest in trained]:
        raise ConfigError(f"expected --dev and --test files that are not trained on, found {seen} in --train too")
    if not shares:
        return _Data(mapped["train"], mapped["dev"], mapped["test"], label_map, labels, **past)
    split = split_files(mapped["train"], shares, seed=options.seed)
    about = {
        "given": list(shares),
        "found": list(split.shares),
        "sentences": list(split.sizes),
        "left_out": split.left_out,
    }
    return _Data(split.train, split.dev, split.test + mapped["test"], label_map, labels, about, **past)


def _describe_split(data: _Data) -> str:
    sides = zip(ROLES, *(data.split[name] for name in ("sentences", "found", "given")), strict=True)
    parts = (
        f"{role} {n:,} ({100 * found:.1f} %, asked for {100 * given:g} %)" for role, n, found, given in sides if given
    )
    left_out = data.split["left_out"]
    rest = f"; {left_out:,} left out, whose words stand on an earlier side" if left_out else ""
    return f"sentences: {', '.join(parts)}{rest}"


def _describe_training(run: _Run) -> dict[str, Any]:
    """All that the checkpoint and its scores depend on."""
    return {
        **dataclasses.asdict(run.config),
        "method": render_spec(run.method, run.method_config),
        "objective": _render_objectives(run),
        "augment": describe_augmentations(run.augment),
        "base": digest_weights(run.options.base),
        "map": run.data.label_map,
        "split": run.options.split,
        "seeds": run.options.seeds,
        "dtype": run.options.dtype,
        "train": [file.digest for file in run.data.train],
        "dev": [file.digest for file in run.data.dev],
        "test": [file.digest for file in run.data.test],
        **({"teacher": run.data.teacher} if run.data.teacher else {}),
        **_describe_past(run),
    }


def _describe_past(run: _Run) -> dict[str, Any]:
    """All that depends on earlier trainings; nothing of a training that has no past."""
    if not (run.data.is_kept or run.remember):
        return {}
    base = find_folder(run.options.base)
    fisher = base / FISHER_NAME
    has_fisher = fisher.is_file() and bool({"ewc"} & set(run.continual) or {"fisher"} & set(run.remember))
    teacher = run.options.teacher or run.options.base
    return {
        "past": {
            "continual": [render_spec(name, config) for name, config in run.continual.items()],
            "keep_labels": run.data.is_kept,
            "old": [{"name": file.name, "digest": file.digest} for file in run.data.old],
            "fisher": digest_file(fisher) if has_fisher else "",
            "teacher": digest_weights(teacher) if "distillation" in run.continual else "",
            "remember": render_remember(run.remember),
            **({"centroid": digest_encoder(run.remember["centroid"], base)} if "centroid" in run.remember else {}),
        }
    }


def _render_objectives(run: _Run) -> list[str]:
    return [render_spec(name, config) for name, config in run.objectives.items()]


def _train_once(run: _Run, work: Path) -> _Candidate:
    """Trains with one seed and writes the checkpoint within the work folder, unless it is there already."""
    aside = work / "checkpoint"
    if (aside / CARD_NAME).exists():
        return _read_candidate(aside)
    begun = time.perf_counter()
    # Opened for each training, for loading a model and naming its tags changes the config.
    config, encoder, method = run.config, open_encoder(run.options.base), METHODS[run.method]
    tokenizer, tag_set = encoder.tokenizer, build_bio_tags(run.data.labels)
    known = list_tags(encoder.config) if is_tagger(encoder.config) else ()
    plain = load_model(encoder, tag_set, dropout=config.dropout, seed=config.seed, head=config.head)
    model = method.apply(plain, run.method_config)
    if crf := find_crf(model):
        crf.requires_grad_(True)  # noqa: FBT003
    own = ColumnTokenizer(tokenizer.backend_tokenizer.to_str())
    train_files, dev_files, test_files = (
        split_words(files, own) for files in (run.data.train, run.data.dev, run.data.test)
    )
    counted = run.data.counted
    dev = Scorer(dev_files, tag_set, tokenizer, max_tokens=config.max_tokens, counted=counted)
    shown = Scorer(dev_files + test_files, tag_set, tokenizer, max_tokens=config.max_tokens, counted=counted)
    before = shown.tag_files(model, batch_size=config.batch_size)
    sentences = [sentence for file in train_files for sentence in file.sentences]
    past = Past(
        model=plain,
        known=known,
        tag_set=tag_set,
        tokenizer=tokenizer,
        max_tokens=config.max_tokens,
        sentences=sentences,
        old=[sentence for file in run.data.old for sentence in split_sentences(file.sentences, own)],
        base=find_folder(run.options.base),
        teacher=run.options.teacher or run.options.base,
        seed=config.seed,
    )
    continual = Continual(run.continual, past)
    sentences = continual.relabel(sentences)
    augmenter = Augmenter(run.augment, Material(sentences, tokenizer, own, config.seed, work))
    text = TrainingText(
        sentences, lambda epoch: [*augmenter.draw(epoch), *continual.draw(epoch)], terms=continual.terms
    )
    outcome = train(model, text, dev, config, run.objectives, work)

    # A model is good for texts as long as those it was trained on; annotate cuts its windows by this limit.
    tokenizer.model_max_length = config.max_tokens
    sample = [sentence for file in dev_files for sentence in file.sentences[:_N_VERIFIED]]
    windows = cut_windows(sample, tag_set, tokenizer, max_tokens=config.max_tokens)
    saved = _save(run, model, tokenizer, windows, aside)
    _write_memory(run, dataclasses.replace(past, model=saved, sentences=sentences), aside)
    after = shown.tag_files(saved, batch_size=config.batch_size)
    files = _compare_files(run.data, dev_files + test_files, before, after)
    added = augmenter.describe(len(outcome.epochs))
    card = _build_card(run, model, outcome, tuple(map(read_score, files)), weights_digest(aside), added)
    curve = Curve(seed=config.seed, epochs=outcome.epochs)
    history = History(files=tuple(file.name for file in dev_files), curves=(curve,))
    about = {
        "name": Path(run.options.output).absolute().name,
        "command": run.command,
        "split": run.data.split,
        "history": list_epochs(outcome.epochs, history.files),
        "seconds": time.perf_counter() - begun,
    }
    write_report(build_report(card, files, about), aside)
    _write_candidate(_Candidate(aside, card, history))
    for state in work.glob("checkpoint-*"):
        shutil.rmtree(state)
    return _Candidate(aside, card, history)


def _write_memory(run: _Run, past: Past, aside: Path) -> None:
    sentences = [sentence for file in run.data.old + run.data.train for sentence in file.sentences]
    write_memory(run.remember, Trained(past, sentences, aside))


def _write_candidate(candidate: _Candidate) -> None:
    """Writes what is known of a checkpoint beside it, the card last: where one is, all is."""
    (candidate.folder / HISTORY_NAME).write_text(candidate.history.to_json(), encoding="utf-8")
    partial = candidate.folder / f"{CARD_NAME}.partial"
    partial.write_text(candidate.card.to_json(), encoding="utf-8")
    partial.rename(candidate.folder / CARD_NAME)


def _read_candidate(folder: Path) -> _Candidate:
    card, history = ((folder / name).read_text(encoding="utf-8") for name in (CARD_NAME, HISTORY_NAME))
    return _Candidate(folder, CheckpointCard.from_json(card), History.from_json(history))


def _save(
    run: _Run,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    windows: Sequence[Window],
    aside: Path,
) -> "PreTrainedModel":
    """Writes the checkpoint aside and gives what it loads to: of an adapter, the base with what was trained."""
    dtype, small = run.options.dtype, aside.parent / "adapter"
    for folder in (aside, small):
        shutil.rmtree(folder, ignore_errors=True)
    if run.method != "full":
        # What is merged is narrowed in the end, and once.
        dtype, small = ("float32", small) if run.options.merge else (dtype, aside)
        write_adapter(model, tokenizer, small, base=run.options.base, dtype=dtype)
        model = load_verified(model, tokenizer, windows, small, dtype=dtype, base=find_folder(run.options.base))
        if not run.options.merge:
            return model
        dtype = run.options.dtype
    write_model(model, tokenizer, aside, dtype=dtype)
    return load_verified(model, tokenizer, windows, aside, dtype=dtype)


def _build_card(
    run: _Run,
    model: "PreTrainedModel",
    outcome: Outcome,
    scores: tuple[FileScore, ...],
    digest: str,
    added: dict[str, Any],
) -> CheckpointCard:
    trained, total = count_weights(model)
    return CheckpointCard(
        base=f"registry:{run.data.pinned['base']}" if "base" in run.data.pinned else run.encoder.name,
        base_digest=digest_weights(run.options.base),
        method=run.method,
        labels=run.data.labels,
        tags=build_bio_tags(run.data.labels).tags,
        label_map=run.data.label_map,
        data=tuple(file.describe(role) for role, file in run.data.roles),
        options={
            **dataclasses.asdict(run.config),
            "method": render_spec(run.method, run.method_config),
            "merge": run.options.merge,
            "objective": _render_objectives(run),
            "dtype": run.options.dtype,
            **({"split": run.data.split} if run.data.split else {}),
            **({"teacher": run.data.teacher} if run.data.teacher else {}),
            **({"registry": run.data.pinned} if run.data.pinned else {}),
            **_describe_past(run),
            **_describe_copies(run.augment, added),
        },
        steps=outcome.steps,
        best_step=outcome.best_step,
        trained_parameters=trained,
        parameters=total,
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


def _describe_copies(augment: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    if not augment:
        return {}
    return {
        "augment": [render_augmentation(name, config) for name, config in augment.items()],
        "augmentation": added,
    }


def _render_command(run: _Run) -> str:
    """The command that makes this checkpoint again, without what only this machine knows."""
    # Of a search, what it found.
    words, options = [], dataclasses.replace(run.options, search="")
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name == "resume" or value == field.default:
            continue
        values = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
        if field.name == "augment":
            values = [render_augmentation(name, config) for name, config in run.augment.items()]
        if field.name == "remember":
            values = render_remember(run.remember)
        if field.name in run.data.pinned:
            values = [f"registry:{run.data.pinned[field.name]}"]
        elif field.name in ("train", "dev", "test", "base", "output", "old", "teacher", "registry") and value:
            values = [shorten_path(item) for item in values]
        words.append(" ".join(["--" + field.name.replace("_", "-"), *map(shlex.quote, values)]))
    return "spanmill train \\\n  " + " \\\n  ".join(words)


def _show_progress() -> None:
    """One line per epoch, and no bars."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
