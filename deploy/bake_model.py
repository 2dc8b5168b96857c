"""Puts a model into an image: `python deploy/bake_model.py MODEL DIGEST FOLDER`.

A model that is fetched has to have the digest that is named, so that an image always holds what was tested.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import CheckpointError, ConfigError
from transforms.models.checkpoint import find_checkpoint


def bake(model: str, digest: str, folder: Path) -> None:
    """Copies a model, with its engines, once it is known to be the wanted one.

    Args:
      model: folder, URL, hub name or `default`.
      digest: what its digest must begin with, 16 digits at least; empty for `default` alone.
      folder: where it is put.

    Raises:
      CheckpointError: there is none, it is another, or it needs a base beside it.
    """
    if model != "default" and len(digest) < 16:
        raise CheckpointError(f"expected MODEL_DIGEST with 16 digits or more for {model!r}, found {digest!r}")
    checkpoint = find_checkpoint(model)
    if not checkpoint.digest.startswith(digest):
        raise CheckpointError(f"expected model {model!r} with digest {digest}, found {checkpoint.digest}")
    if checkpoint.base_digest:
        raise CheckpointError(f"expected a whole model, found adapter {model!r}; train it with --merge")
    shutil.copytree(checkpoint.folder, folder)


def main(arguments: Sequence[str]) -> int:
    """Bakes and returns the exit status."""
    model, digest, folder = arguments
    try:
        bake(model, digest, Path(folder))
    except ConfigError as error:
        print(f"bake_model: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
