"""The command that made a run, kept beside it, so that parts of the run can be done again."""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.console.options import LOCAL_WORKER_FLAGS
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.runs.opening import Run
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


def read_command(run: "Run") -> Mapping[str, Any]:
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


def _has_secret(values: Collection[Any]) -> bool:
    """Whether a URL among options carries a password or a signature."""
    from schemas.slices import display_uri

    texts = [text for value in values for text in (value if isinstance(value, tuple) else (value,))]
    return any(isinstance(text, str) and display_uri(text) != text for text in texts)
