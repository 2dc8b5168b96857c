"""The command that made a run, kept beside it, so that parts of the run can be done again."""

import dataclasses
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.options import LOCAL_WORKER_FLAGS
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.runs import Run
    from schemas.slices import Slice
    from transforms.storage.store import Store

COMMAND = "_command.json"
_HARMLESS_FLAGS = ("--runner", *LOCAL_WORKER_FLAGS)


def record_command(store: "Store", options: Any, beam_flags: Sequence[str]) -> None:
    """Keeps the options of a run, and where relative paths in them begin; none where one may hold a secret.

    Args:
      store: the run's store.
      options: a dataclass of options.
      beam_flags: Beam's own flags, of which a run with others than those of local runners is not kept.
    """
    from schemas.manifest import dump_json

    values = dataclasses.asdict(options)
    is_kept = not _has_secret(values.values()) and all(
        flag.partition("=")[0] in _HARMLESS_FLAGS for flag in beam_flags if flag.startswith("-")
    )
    command = {"options": values if is_kept else None, "beam_flags": list(beam_flags) if is_kept else []}
    store.put(COMMAND, dump_json({**command, "folder": str(Path.cwd())}))


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
    from pipelines import annotate
    from transforms.storage.commits import retire_slice
    from transforms.storage.runs import SUCCESS

    command = _read_command(run)
    _check_inputs(run, replaced)
    run.store.delete(SUCCESS)
    for slice_ in slices:
        retire_slice(run.store, slice_, run.settings["output"]["format"])
    parent, _, name = (run.root if "://" in run.root else str(Path(run.root).absolute())).rpartition("/")
    # Relative paths of the command begin where it was given.
    os.chdir(command["folder"])
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in command["options"].items()
    }
    options = dataclasses.replace(annotate.AnnotateOptions(**given), output=parent, tune=False)
    return annotate.run(options, command["beam_flags"], expected=name, replaced=replaced)


def _read_command(run: "Run") -> Mapping[str, Any]:
    """The command that made a run: `options`, `beam_flags` and the `folder` where it was given.

    Raises:
      ConfigError: it is not known, or the folder is gone.
    """
    from schemas.slices import display_uri

    remedy = "give the spanmill annotate command again yourself"
    try:
        command: Mapping[str, Any] | None = json.loads(run.store.read(COMMAND))
    except (FileNotFoundError, ValueError):
        command = None
    is_command = isinstance(command, dict) and {"options", "beam_flags", "folder"} <= command.keys()
    if not command or not is_command or not isinstance(command["options"], dict):
        raise ConfigError(
            f"expected the command that made {display_uri(run.root)!r} in {COMMAND}, found none that can be read "
            f"(one with a password or flags of a runner is not kept); {remedy}"
        )
    if not Path(command["folder"]).is_dir():
        raise ConfigError(f"expected the folder {command['folder']!r}, where the run began, found none; {remedy}")
    return command


def _check_inputs(run: "Run", replaced: Collection[str]) -> None:
    """Makes sure that slices of a run can be done again, before anything of it is taken back.

    Raises:
      ConfigError: an input file is gone, or changed and not among the replaced ones.
    """
    from schemas.errors import FileError, StorageError
    from transforms.corpora.files import check_unchanged

    for file in {slice_.file: None for slice_ in run.slices if slice_.file.source not in replaced}:
        try:
            check_unchanged(file)
        except (FileError, StorageError) as error:
            raise ConfigError(
                f"{error}; nothing was taken back, since it could not be done again: bring the file back, or annotate "
                "into another --output"
            ) from error


def _has_secret(values: Collection[Any]) -> bool:
    """Whether a URL among options carries a password or a signature."""
    from schemas.slices import display_uri

    texts = [text for value in values for text in (value if isinstance(value, tuple) else (value,))]
    return any(isinstance(text, str) and display_uri(text) != text for text in texts)
