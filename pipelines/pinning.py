"""`--model registry:champion`: looked up once, so that a whole run has one model, whoever is promoted meanwhile."""

import dataclasses
from typing import TYPE_CHECKING

from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.annotate_options import AnnotateOptions

_SCHEME = "registry:"


def pin_model(options: "AnnotateOptions") -> "AnnotateOptions":
    """Options with a reference to a registry to options with the checkpoint that it stands for now.

    The run keeps these, so that what does parts of it again does so with this checkpoint. Others stay as they are.

    Raises:
      ConfigError: there is no registry, no champion or no such checkpoint, or a registry nobody asks for.
      CheckpointError: the files of the checkpoint are not what they were.
    """
    if not options.model.startswith(_SCHEME):
        if options.registry:
            raise ConfigError(
                f"expected --model registry:champion or registry:DIGEST with --registry, found {options.model!r}"
            )
        return options
    if options.base:
        raise ConfigError("expected no --base with a model of a registry, which keeps the bases of its adapters")
    from training.registry.references import resolve_reference

    pinned = resolve_reference(options.model, options.registry)
    return dataclasses.replace(options, model=pinned.model, base=pinned.base, registry="")
