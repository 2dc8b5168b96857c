"""From options to what annotates: one tagger, or several under their names with a column of entities each."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pipelines.taggers.prompting import PromptOptions, configure_prompting, read_labels
from pipelines.taggers.routing import BASE, configure_router
from schemas.errors import ConfigError
from schemas.specs import parse_spec
from transforms.models.gazetteer.options import GazetteerOptions
from transforms.models.gliner.options import GlinerOptions

if TYPE_CHECKING:
    from pipelines.runs.options import AnnotateOptions
    from transforms.models.backends import BackendConfig
    from transforms.models.checkpoint import Checkpoint
    from transforms.models.tagger import TaggerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """A token-classification checkpoint.

    Attributes:
      model: folder, URL or hub name.
      base: base model of an adapter, where it is not where it was at training.
    """

    model: str = ""
    base: str = ""


@dataclasses.dataclass(frozen=True)
class _Setting:
    """What a person asked for, and where taggers will run.

    Attributes:
      options: the options of the job.
      threads: threads of a model in each process, where the options leave that open.
      is_local: whether models run on this machine, whose devices can be checked.
    """

    options: "AnnotateOptions"
    threads: int
    is_local: bool


def configure(options: "AnnotateOptions", *, threads: int, is_local: bool) -> "TaggerConfig":
    """Finds the taggers that options name, and says how they are run.

    Args:
      options: what a person asked for.
      threads: threads of a model in each process, where the options leave that open.
      is_local: whether models run on this machine, whose devices can be checked.

    Raises:
      CheckpointError: a model is not there, unsafe or incomplete.
      ConfigError: options do not go together, or a device is not there.
    """
    from transforms.models.catalog import CheckpointTaggerConfig

    if not is_local and options.tune:
        raise ConfigError(
            "expected a local runner for --tune, which measures this machine; leave out --tune or --runner"
        )
    setting = _Setting(options, threads, is_local)
    if options.route and not options.adapter:
        raise ConfigError("expected --adapter with --route, which chooses among them, found none")
    tagger = _configure_adapters(setting) if options.adapter else _configure_taggers(setting)
    if isinstance(tagger, CheckpointTaggerConfig):
        return dataclasses.replace(tagger, keep_probabilities=options.keep_probabilities)
    if options.tune:
        raise ConfigError("expected a single model with --tune, found other taggers; set --batch-tokens")
    if options.keep_probabilities:
        raise ConfigError(
            "expected a single model with --keep-probabilities, found other taggers; leave --keep-probabilities out"
        )
    return tagger


def _configure_taggers(setting: _Setting) -> "TaggerConfig":
    """What --tagger says: one tagger without a name is that tagger, several are a panel."""
    from transforms.models.panel import PanelConfig, check_names

    options = setting.options
    asked = [_split_kind(text) for text in options.tagger or ("model",)]
    is_panel = len(asked) > 1 or bool(asked[0][0])
    names = [name or spec.partition(":")[0] for name, spec in asked]
    if is_panel:
        check_names(names, flag="--tagger", example="a=prompt:shots=5")
    _check_flags(options, [spec.partition(":")[0] for _, spec in asked])
    configs = {name: kind.options for name, kind in KINDS.items()}
    members = []
    for name, (_, spec) in zip(names, asked, strict=True):
        kind, chosen = parse_spec(spec, configs, flag="--tagger")
        members.append((name, KINDS[kind].configure(setting, _fill(chosen, options))))
    return PanelConfig(tuple(members)) if is_panel else members[0][1]


def _configure_adapters(setting: _Setting) -> "TaggerConfig":
    """What --adapter says: adapters of one base, side by side, or one of them for each document."""
    from transforms.models.panel import PanelConfig, check_names
    from transforms.models.routing.routed_tagger import RoutedConfig

    options = setting.options
    has_model = options.model != "default"
    if has_model and not options.route:
        raise ConfigError(
            f"expected --model or --adapter, found both; the base of {options.adapter[0]!r} is known to it"
        )
    if options.tagger:
        raise ConfigError(
            "expected --tagger or --adapter, found both; an adapter may also be --tagger NAME=model:model=DIR"
        )
    pairs = list(map(_split_folder, options.adapter))
    names = [name for name, _ in pairs]
    check_names([*([BASE] if has_model else []), *names], flag="--adapter", example="a=FOLDER")
    checkpoints = _find_adapters(options, dict(pairs), options.base or (options.model if has_model else ""))
    if has_model:
        digest = checkpoints[names[0]].base_digest
        checkpoints = {BASE: _find_whole(options, digest), **checkpoints}
    router = configure_router(options.route, checkpoints, device=options.device) if options.route else None
    members = tuple((name, _configure_checkpoint(setting, checkpoint)) for name, checkpoint in checkpoints.items())
    return RoutedConfig(members, router) if router else PanelConfig(members)


def _find_adapters(options: "AnnotateOptions", folders: Mapping[str, str], base: str) -> dict[str, "Checkpoint"]:
    """Adapters by name, all of one base."""
    from transforms.models.checkpoint import find_checkpoint

    checkpoints = {name: find_checkpoint(one, scheme=options.scheme, base=base) for name, one in folders.items()}
    bases = {name: checkpoint.base_digest for name, checkpoint in checkpoints.items()}
    if len(set(bases.values())) > 1 or not all(bases.values()):
        found = ", ".join(f"{name} {digest[:16] or 'none'}" for name, digest in bases.items())
        raise ConfigError(f"expected --adapter with adapters of one base, found bases {found}; run them one by one")
    return checkpoints


def _find_whole(options: "AnnotateOptions", digest: str) -> "Checkpoint":
    """The base of adapters, as a tagger of its own."""
    from transforms.models.checkpoint import digest_weights, find_checkpoint

    whole = find_checkpoint(options.model, scheme=options.scheme)
    if (found := digest_weights(whole.folder)) != digest:
        raise ConfigError(
            f"expected the base of the adapters, with weights {digest[:16]}, as --model with --route, found "
            f"{found[:16]}; leave --model out"
        )
    return whole


def _configure_model(setting: _Setting, chosen: ModelOptions) -> "TaggerConfig":
    from transforms.models.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(chosen.model, scheme=setting.options.scheme, base=chosen.base)
    return _configure_checkpoint(setting, checkpoint)


def _configure_checkpoint(setting: _Setting, checkpoint: "Checkpoint") -> "TaggerConfig":
    from transforms.models.backends import default_batch_tokens
    from transforms.models.catalog import configure_tagger
    from transforms.tags.entities import DecodingConfig
    from transforms.text.windows import WindowConfig

    options = setting.options
    return configure_tagger(
        checkpoint,
        backend=_choose_backend(setting, checkpoint),
        windows=WindowConfig(max_tokens=options.window_tokens, overlap_tokens=options.overlap_tokens),
        decoding=DecodingConfig(decoder=options.decoder, repair=options.repair, aggregation=options.aggregation),
        batch_tokens=options.batch_tokens or default_batch_tokens(options.device),
        dedupe=options.dedupe,
    )


def _choose_backend(setting: _Setting, checkpoint: "Checkpoint") -> "BackendConfig":
    from transforms.models.backends import BackendConfig, check_device
    from transforms.models.engines import choose_backend

    options = setting.options
    backend = BackendConfig(
        backend=choose_backend(checkpoint, device=options.device, precision=options.precision)
        if options.backend == "auto"
        else options.backend,
        device=options.device,
        precision=options.precision,
        threads=options.threads or setting.threads,
    )
    if setting.is_local:
        check_device(backend)
    return backend


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of tagger.

    Attributes:
      options: frozen dataclass of what its spec may say.
      configure: makes the config of one.
      flags: flags of the job that stand for options that a spec leaves out.
    """

    options: type[Any]
    configure: Callable[[_Setting, Any], "TaggerConfig"]
    flags: tuple[str, ...]


def _configure_prompt(setting: _Setting, chosen: PromptOptions) -> "TaggerConfig":
    return configure_prompting(chosen, setting.options, _use_torch(setting, is_here=not chosen.endpoint))


def _configure_gliner(setting: _Setting, chosen: GlinerOptions) -> "TaggerConfig":
    from transforms.models.gliner.tagger import configure_gliner

    if chosen.model in ("", "default"):
        raise ConfigError("expected --model with a GLiNER checkpoint for --tagger gliner, found none")
    labels = read_labels(chosen.labels, chosen.label_file)
    return configure_gliner(chosen, labels, backend=_use_torch(setting))


def _use_torch(setting: _Setting, *, is_here: bool = True) -> "BackendConfig":
    """PyTorch on the wanted device, which is checked where the model runs on this machine."""
    from transforms.models.backends import BackendConfig, check_device

    options = setting.options
    if options.backend not in ("auto", "torch"):
        raise ConfigError(
            f"expected --backend torch with --tagger prompt and gliner, found {options.backend!r}; leave it out"
        )
    backend = BackendConfig(
        device=options.device, precision=options.precision, threads=options.threads or setting.threads
    )
    if setting.is_local and is_here:
        check_device(backend)
    return backend


def _configure_gazetteer(_: _Setting, chosen: GazetteerOptions) -> "TaggerConfig":
    from transforms.models.gazetteer.tagger import configure_gazetteer

    return configure_gazetteer(chosen)


_DECODING = ("scheme", "decoder", "repair", "aggregation", "window_tokens", "overlap_tokens", "dedupe")
_ASKING = ("labels", "label_file")
_COMPUTING = ("backend", "device", "precision", "threads", "batch_tokens")

KINDS = {
    "model": _Kind(ModelOptions, _configure_model, ("model", "base", *_DECODING, *_COMPUTING)),
    "prompt": _Kind(PromptOptions, _configure_prompt, ("model", *_ASKING, "shots", "examples", *_COMPUTING)),
    "gliner": _Kind(GlinerOptions, _configure_gliner, ("model", *_ASKING, *_COMPUTING)),
    "gazetteer": _Kind(GazetteerOptions, _configure_gazetteer, ()),
}


def _check_flags(options: "AnnotateOptions", kinds: Sequence[str]) -> None:
    """Refuses flags that no tagger of the run has a use for."""
    used = {flag for kind in kinds if kind in KINDS for flag in KINDS[kind].flags}
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    for flag in sorted({flag for kind in KINDS.values() for flag in kind.flags} - used):
        if getattr(options, flag) != defaults[flag]:
            takers = " or ".join(sorted(name for name, kind in KINDS.items() if flag in kind.flags))
            raise ConfigError(
                f"expected --{flag.replace('_', '-')} with --tagger {takers}, found it with {', '.join(kinds)}"
            )


def _fill(chosen: Any, options: "AnnotateOptions") -> Any:
    """The options of a spec, with flags of the job for what it leaves out."""
    left = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(chosen)
        if getattr(chosen, field.name) == field.default and hasattr(options, field.name)
    }
    return dataclasses.replace(chosen, **left)


def _split_kind(text: str) -> tuple[str, str]:
    """`NAME=KIND:OPTION=VALUE` to name and spec; the name may be left out.

    >>> _split_kind("llm=prompt:shots=5"), _split_kind("gazetteer:file=names.csv")
    (('llm', 'prompt:shots=5'), ('', 'gazetteer:file=names.csv'))
    """
    kind, colon, rest = text.partition(":")
    name, mark, kind_only = kind.partition("=")
    return (name, kind_only + colon + rest) if mark else ("", text)


def _split_folder(adapter: str) -> tuple[str, str]:
    """`NAME=FOLDER` to both; a folder alone is named by its last part.

    >>> _split_folder("legal=models/l-2"), _split_folder("models/medical/")
    (('legal', 'models/l-2'), ('medical', 'models/medical/'))
    """
    name, mark, folder = adapter.partition("=")
    return (name, folder) if mark else (PurePosixPath(adapter).name, adapter)
