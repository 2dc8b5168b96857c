"""From options to what annotates: one model, or several adapters of one base under their names."""

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from pipelines.tuning import DEFAULT_BATCH_TOKENS
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.annotate import AnnotateOptions
    from transforms.models.backends import BackendConfig
    from transforms.models.catalog import CheckpointTaggerConfig
    from transforms.models.checkpoint import Checkpoint
    from transforms.models.tagger import TaggerConfig


def configure(options: "AnnotateOptions", *, threads: int, is_local: bool) -> "TaggerConfig":
    """Finds the models that options name, and says how they are run.

    Args:
      options: what a person asked for.
      threads: threads of the model in each process, where the options leave that open.
      is_local: whether the models run on this machine, whose devices can be checked.

    Raises:
      CheckpointError: a model is not there, unsafe or incomplete.
      ConfigError: options do not go together, or a device is not there.
    """
    from transforms.models.checkpoint import find_checkpoint
    from transforms.models.panel import PanelConfig, check_names

    if not is_local and options.tune:
        raise ConfigError(
            "expected a local runner for --tune, which measures this machine; leave out --tune or --runner"
        )
    if not options.adapter:
        checkpoint = find_checkpoint(options.model, scheme=options.scheme, base=options.base)
        return _configure_one(options, checkpoint, _choose_backend(options, checkpoint, threads, is_local=is_local))
    if options.model != "default":
        raise ConfigError(
            f"expected --model or --adapter, found both; the base of {options.adapter[0]!r} is known to it"
        )
    if options.tune:
        raise ConfigError("expected --model with --tune, found --adapter; set --batch-tokens")
    folders = dict(map(_split_name, options.adapter))
    check_names([name for name, _ in map(_split_name, options.adapter)], flag="--adapter")
    checkpoints = {
        name: find_checkpoint(folder, scheme=options.scheme, base=options.base) for name, folder in folders.items()
    }
    bases = {name: checkpoint.base_digest for name, checkpoint in checkpoints.items()}
    if len(set(bases.values())) > 1 or not all(bases.values()):
        found = ", ".join(f"{name} {digest[:16] or 'none'}" for name, digest in bases.items())
        raise ConfigError(f"expected --adapter with adapters of one base, found bases {found}; run them one by one")
    members = tuple(
        (name, _configure_one(options, checkpoint, _choose_backend(options, checkpoint, threads, is_local=is_local)))
        for name, checkpoint in checkpoints.items()
    )
    return PanelConfig(members)


def _configure_one(
    options: "AnnotateOptions", checkpoint: "Checkpoint", backend: "BackendConfig"
) -> "CheckpointTaggerConfig":
    from transforms.models.catalog import configure_tagger
    from transforms.models.window_tagger import DecodingConfig
    from transforms.text.windows import WindowConfig

    return configure_tagger(
        checkpoint,
        backend=backend,
        windows=WindowConfig(max_tokens=options.window_tokens, overlap_tokens=options.overlap_tokens),
        decoding=DecodingConfig(decoder=options.decoder, repair=options.repair, aggregation=options.aggregation),
        batch_tokens=options.batch_tokens or DEFAULT_BATCH_TOKENS[options.device.partition(":")[0]],
        dedupe=options.dedupe,
    )


def _choose_backend(
    options: "AnnotateOptions", checkpoint: "Checkpoint", threads: int, *, is_local: bool
) -> "BackendConfig":
    from transforms.models.backends import BackendConfig, check_device
    from transforms.models.engines import choose_backend

    backend = BackendConfig(
        backend=choose_backend(checkpoint, device=options.device, precision=options.precision)
        if options.backend == "auto"
        else options.backend,
        device=options.device,
        precision=options.precision,
        threads=options.threads or threads,
    )
    if is_local:
        check_device(backend)
    return backend


def _split_name(adapter: str) -> tuple[str, str]:
    """`NAME=FOLDER` to both; a folder alone is named by its last part.

    >>> _split_name("legal=models/l-2"), _split_name("models/medical/")
    (('legal', 'models/l-2'), ('medical', 'models/medical/'))
    """
    name, mark, folder = adapter.partition("=")
    return (name, folder) if mark else (PurePosixPath(adapter).name, adapter)
