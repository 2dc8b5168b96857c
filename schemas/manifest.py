"""What a run is: its settings and their fingerprint, and the manifest that closes it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from schemas.tables import FILE_SCHEMA

MANIFEST_VERSION = 2


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


OUTPUT_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("rows", pa.int64()),
    ]
)
"""A row per output file of a run, in the order of its slices."""

INPUT_SCHEMA = FILE_SCHEMA.append(pa.field("rows", pa.int64()))
"""A row per input file of a run."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """A part of a table of a run.

    Attributes:
      name: its file.
      rows: how many it holds.
      sha256: digest of the file, hex.
    """

    name: str
    rows: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A complete run.

    Attributes:
      fingerprint: of the settings.
      settings: everything that changes output, by name.
      versions: of spanmill and the libraries that made the output.
      files: where the table of every output file is, by OUTPUT_SCHEMA.
      inputs: where that of every input file is, by INPUT_SCHEMA.
      tally: the run's counts.
      seconds: wall time of the start that completed the run.
    """

    fingerprint: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    files: tuple[Shard, ...]
    inputs: tuple[Shard, ...]
    tally: Mapping[str, Any]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON values, with how many files there are."""
        counts = {f"n_{name}": sum(shard.rows for shard in getattr(self, name)) for name in ("files", "inputs")}
        return {"version": MANIFEST_VERSION, **dataclasses.asdict(self), **counts}
