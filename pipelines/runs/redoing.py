"""Slices of a run that are taken back and annotated again, as the command that made the run has it."""

import dataclasses
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import annotate
from pipelines.runs.commands import read_command
from pipelines.runs.options import AnnotateOptions
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.runs.opening import Run
    from schemas.slices import Slice


def redo(run: "Run", slices: Iterable["Slice"], replaced: Collection[str] = ()) -> int:
    """Takes slices back and runs the command of the run again, which does what is not committed.

    Args:
      run: the run.
      slices: those that are committed and have to be done again.
      replaced: sources of input files that may have changed since the run read them.

    Returns:
      The exit status of the command.

    Raises:
      ConfigError: the command is not known, its input is not there any more, and nothing was taken back; or it would
        make another run.
    """
    from transforms.storage.commits import retire_slices
    from transforms.storage.manifests import SUCCESS

    command = read_command(run)
    _check_inputs(run, replaced)
    run.store.delete(SUCCESS)
    retire_slices(run.store, slices, run.settings["output"]["format"])
    parent, _, name = (run.root if "://" in run.root else str(Path(run.root).absolute())).rpartition("/")
    # Relative paths of the command begin where it was given.
    os.chdir(command["folder"])
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in command["options"].items()
    }
    # Few slices are done again, and an earlier run is indexed whole and may be gone: nothing is reused.
    options = dataclasses.replace(AnnotateOptions(**given), output=parent, tune=False, reuse="")
    return annotate.run(options, command["beam_flags"], expected=name, replaced=replaced)


def _check_inputs(run: "Run", replaced: Collection[str]) -> None:
    """Makes sure that slices of a run can be done again, before anything of it is taken back.

    Raises:
      ConfigError: an input file is gone, or changed and not among the replaced ones.
    """
    from schemas.errors import FileError, StorageError
    from transforms.corpora.files import check_unchanged
    from transforms.workers.threads import map_ahead

    files = {slice_.file: None for slice_ in run.slices if slice_.file.source not in replaced}
    try:
        for _ in map_ahead(check_unchanged, files):
            pass
    except (FileError, StorageError) as error:
        raise ConfigError(
            f"{error}; nothing was taken back, since it could not be done again: bring the file back, or annotate "
            "into another --output"
        ) from error
