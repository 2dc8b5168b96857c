"""What a run is: its settings and their fingerprint, its plan, and the manifest that closes it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from schemas.slices import FileRef, Slice


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Sixteen hex digits of everything that changes output."""
    return hashlib.sha256(dump_json(settings)).hexdigest()[:16]


def explain_json(error: Exception) -> str:
    """What was found in place of the JSON that was looked for, from the error that parsing or reading it gave.

    >>> try:
    ...     json.loads("{")
    ... except ValueError as error:
    ...     print(explain_json(error))
    no JSON from character 1 on
    """
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON from character {error.pos} on"
    return "no UTF-8" if isinstance(error, UnicodeDecodeError) else "other JSON"


def dump_json(value: Any) -> bytes:
    """JSON with sorted keys, so that equal values give equal bytes."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


@dataclasses.dataclass(frozen=True)
class Plan:
    """The slices of a run as one start of it planned them.

    Attributes:
      settings: everything that changes output, by name.
      slice_bytes: wanted size of a slice; later plans of the run keep it.
      files: input files that are new in this plan.
      slices: what they were cut into; an empty file gives none.
    """

    settings: Mapping[str, Any]
    slice_bytes: int
    files: tuple[FileRef, ...]
    slices: tuple[Slice, ...]

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values, without passwords and queries of URLs."""
        return {
            "settings": dict(self.settings),
            "slice_bytes": self.slice_bytes,
            "files": [file.to_json() for file in self.files],
            "slices": [slice_.to_json() for slice_ in self.slices],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Plan":
        """The inverse of `to_json`."""
        files = tuple(FileRef.from_json(item) for item in value["files"])
        slices = tuple(Slice.from_json(item) for item in value["slices"])
        return cls(value["settings"], value["slice_bytes"], files, slices)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A complete run.

    Attributes:
      fingerprint: of the settings.
      settings: everything that changes output, by name.
      versions: of spanmill and the libraries that made the output.
      files: name, sha256, size_bytes and rows of every output file.
      inputs: uri, size_bytes, version and rows of every input file.
      tally: the run's counts.
      seconds: wall time of the start that completed the run.
    """

    fingerprint: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    files: tuple[Mapping[str, Any], ...]
    inputs: tuple[Mapping[str, Any], ...]
    tally: Mapping[str, Any]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        return dataclasses.asdict(self)
