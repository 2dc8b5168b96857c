"""One training with all of its options checked, before any weights are loaded; what it depends on, and its command."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.console.options import read_values
from pipelines.training.data import TrainData
from pipelines.training.options import TrainOptions
from schemas.errors import ConfigError
from schemas.specs import parse_specs, render_spec
from training.augmentation.augmentations import (
    AUGMENTATIONS,
    check_augmentations,
    describe_augmentations,
    render_augmentation,
)
from training.config import N_SEEDS, TrainConfig
from training.continual.continual import Sources, check_continual, parse_continual
from training.continual.fisher import FISHER_NAME
from training.continual.memory import digest_encoder, parse_remember, render_remember
from training.encoders import (
    build_skeleton,
    check_max_tokens,
    choose_max_tokens,
    digest_weights,
    find_folder,
    open_encoder,
)
from training.examples import shorten_path
from training.methods.methods import METHODS
from training.objectives.objectives import parse_objectives
from transforms.models.checkpoint import digest_file

if TYPE_CHECKING:
    from training.encoders import Encoder


_NOT_SEARCHED = {"train", "dev", "test", "split", "base", "output", "map", "seeds", "search", "dtype", "resume"}
_NOT_SEARCHED |= {"old", "teacher", "keep_labels", "remember", "registry"}


@dataclasses.dataclass(frozen=True)
class TrainRun:
    """A training with all of its options checked.

    Attributes:
      options: what a person asked for.
      config: how to train.
      data: the labelled files.
      encoder: the model to begin from.
      method: which weights are trained.
      method_config: options of the method.
      objectives: what is minimised, by name.
      augment: how sentences are changed, by name.
      continual: ways of not forgetting, by name.
      remember: what is kept for the next training, by name.
    """

    options: TrainOptions
    config: TrainConfig
    data: TrainData
    encoder: "Encoder"
    method: str
    method_config: Any
    objectives: dict[str, Any]
    augment: dict[str, Any]
    continual: dict[str, Any]
    remember: dict[str, Any]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that are trained with."""
        return self.options.seeds or (self.config.seed,)

    @property
    def command(self) -> str:
        """What makes the checkpoint again."""
        return _render_command(self)


def configure(options: TrainOptions, data: TrainData, encoder: "Encoder") -> TrainRun:
    """Options to a run, all of them checked."""
    method, method_config = options.parse_method()
    if len(set(options.seeds)) != len(options.seeds) or not all(0 <= seed < N_SEEDS for seed in options.seeds):
        raise ConfigError(f"expected different --seeds of at least 0 and below {N_SEEDS}, found {list(options.seeds)}")
    _check_unused(options)
    config = options.config
    if not options.max_tokens:
        most = choose_max_tokens(encoder, taken=_count_taken(method, method_config))
        config = dataclasses.replace(config, max_tokens=most)
    objectives = parse_objectives(options.objective, head=options.head)
    augment = parse_specs(
        options.augment, {name: augmentation.config for name, augmentation in AUGMENTATIONS.items()}, flag="--augment"
    )
    check_augmentations(augment, encoder.tokenizer)
    continual = parse_continual(options.continual)
    remember = parse_remember(options.remember, is_whole=method == "full" or options.merge)
    run = TrainRun(options, config, data, encoder, method, method_config, objectives, augment, continual, remember)
    _check_method(run)
    _check_past(run)
    return run


def vary(run: TrainRun, values: Mapping[str, Any]) -> TrainRun:
    """A run with other values of some options, as a search has them."""
    found = read_values(values, TrainOptions, where=run.options.search)
    if fixed := sorted(set(found) & _NOT_SEARCHED):
        raise ConfigError(f"expected options of training in {run.options.search!r}, found {fixed}; set them by flags")
    return configure(dataclasses.replace(run.options, **found), run.data, run.encoder)


def _check_unused(options: TrainOptions) -> None:
    """Refuses options that would do nothing beside the others."""
    if options.seeds and not options.split and options.seed != TrainConfig.seed:
        raise ConfigError(f"expected --seed or --seeds, found both; add {options.seed} to --seeds or leave it out")
    if options.search:
        return
    if options.head != "crf" and options.crf_learning_rate != TrainConfig.crf_learning_rate:
        raise ConfigError("expected --head crf with --crf-learning-rate, found linear; set it or leave the rate out")
    ways = {spec.partition(":")[0] for spec in options.continual}
    if options.old and not (ways or options.remember):
        raise ConfigError("expected --continual or --remember with --old, found neither; add one or leave --old out")
    if options.teacher and "distillation" not in ways:
        raise ConfigError("expected --continual distillation with --teacher, found none; add it or leave --teacher out")


def _check_method(run: TrainRun) -> None:
    """Refuses a method that does not go with the base or the other options, before any weights are loaded."""
    method = METHODS[run.method]
    if run.options.merge and not method.is_folded:
        foldable = sorted(name for name, other in METHODS.items() if other.is_folded)
        raise ConfigError(f"expected --merge with a --method of {foldable}, found {run.method!r}, which stays beside")
    check_max_tokens(run.encoder, run.config.max_tokens, taken=_count_taken(run.method, run.method_config))
    method.apply(build_skeleton(run.encoder), run.method_config)


def _count_taken(method: str, config: Any) -> int:
    """How many places of a window a method needs for itself."""
    return int(config.tokens) if METHODS[method].has_tokens else 0


def _check_past(run: TrainRun) -> None:
    """Refuses ways of not forgetting that lack what they need, before any weights are loaded."""
    if not run.continual:
        return
    if not run.data.is_kept:
        raise ConfigError("expected --keep-labels with --continual in a search, found it missing")
    base, teacher = run.options.base, run.options.teacher or run.options.base
    sources = Sources(find_folder(base), run.encoder, open_encoder(teacher), run.method, bool(run.data.old))
    check_continual(run.continual, sources)


def describe_training(run: TrainRun) -> dict[str, Any]:
    """All that the checkpoint and its scores depend on."""
    return {
        **dataclasses.asdict(run.config),
        "method": render_spec(run.method, run.method_config),
        "objective": render_objectives(run),
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
        **describe_past(run),
    }


def describe_past(run: TrainRun) -> dict[str, Any]:
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


def render_objectives(run: TrainRun) -> list[str]:
    """What is minimised, as it would be asked for."""
    return [render_spec(name, config) for name, config in run.objectives.items()]


def _render_command(run: TrainRun) -> str:
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
