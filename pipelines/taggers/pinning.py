"""`registry:champion`: looked up once, so that a job has one model all through, whoever is promoted meanwhile."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.runs.options import AnnotateOptions

_SCHEME = "registry:"


def pin_model(options: "AnnotateOptions") -> "AnnotateOptions":
    """Options with references to a registry to options with the checkpoints that they stand for now.

    The run keeps these, so that what does parts of it again does so with these checkpoints. Others stay as they are.

    Raises:
      ConfigError: there is no registry, no champion or no such checkpoint, or a registry nobody asks for.
      CheckpointError: the files of a checkpoint are not what they were.
    """
    adapters = [adapter.rpartition("=") for adapter in options.adapter]
    asked = [text for text in (options.model, *(folder for *_, folder in adapters)) if text.startswith(_SCHEME)]
    if not asked:
        if options.registry:
            raise ConfigError(
                f"expected --model registry:champion or registry:DIGEST with --registry, found {options.model!r}"
            )
        return options
    if options.base:
        raise ConfigError("expected no --base with a model of a registry, which keeps the bases of its adapters")
    from training.registry.references import resolve_reference

    pinned = {text: resolve_reference(text, options.registry) for text in asked}
    places = {text: one.model for text, one in pinned.items()}
    return dataclasses.replace(
        options,
        model=places.get(options.model, options.model),
        adapter=tuple(f"{name}{mark}{places.get(folder, folder)}" for name, mark, folder in adapters),
        # Adapters of one run have one base.
        base=next((one.base for one in pinned.values() if one.base), ""),
        registry="",
    )


class PinnedFolder(NamedTuple):
    """A checkpoint of a registry on this machine.

    Attributes:
      folder: where it is.
      digest: its digest.
    """

    folder: str
    digest: str


def pin_folders(models: Mapping[str, str], registry: str) -> dict[str, PinnedFolder]:
    """References to a registry to folders with all that training wants of a checkpoint.

    Args:
      models: models by the flag that names them; those that are no references are left alone.
      registry: folder or URL of the registry; empty for none.

    Returns:
      What references stand for now, by flag.

    Raises:
      ConfigError: as for `pin_model`.
      CheckpointError: the files of a checkpoint are not what they were.
    """
    asked = {flag: model for flag, model in models.items() if model.startswith(_SCHEME)}
    if registry and not asked:
        flags = " or ".join(models)
        raise ConfigError(f"expected registry:champion or registry:DIGEST as {flags} with --registry, found neither")
    if not asked:
        return {}
    from training.registry.references import resolve_reference

    pinned = {flag: resolve_reference(model, registry, flag=flag) for flag, model in asked.items()}
    return {flag: PinnedFolder(str(one.fetch()), one.digest) for flag, one in pinned.items()}
