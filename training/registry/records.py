"""The files of a registry, and how they are read.

    checkpoints/<digest>/...          the files of a checkpoint; `_begun.json` tells when copying them began
    records/<digest>.json             what is known of it; written last, so that what has one is complete
    history/00000001.json             promotions, rollbacks and collections
    refusals/<digest>-<n>.json        candidates that were not promoted, and why

Everything is written once, with `put_if_absent`, and nothing is ever changed: there is no pointer that could be torn or
point to what is not there. A checkpoint that was collected and is added again is another copy, `<digest>.1`, so that
whoever still removes the first cannot hit it.
"""

import dataclasses
import datetime
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from schemas.errors import ConfigError, StorageError
from schemas.manifest import dump_json, explain_json
from schemas.registry import CheckpointRecord, HistoryEntry, Refusal, read_checkpoint_record, read_refusal
from transforms.storage.store import Store

CHECKPOINTS, RECORDS, HISTORY, REFUSALS = "checkpoints", "records", "history", "refusals"
BEGUN, ATTEMPTS = "_begun.json", "_attempts"
_LEAST_PREFIX = 4
_COPY = re.compile(r"([0-9a-f]+)(?:\.(\d+))?")
_REFUSAL = re.compile(r"([0-9a-f]+)-(\d+)\.json")


def tell_time() -> str:
    """The time as records have it: UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def days_since(at: str, now: str) -> float:
    """How many days lie between two times as records have them."""
    begin, end = (datetime.datetime.fromisoformat(time) for time in (at, now))
    return (end - begin) / datetime.timedelta(days=1)


def read_json(store: Store, name: str) -> Any:
    """The JSON values in a file; None where there is no such file.

    Raises:
      StorageError: the file holds something else.
    """
    try:
        return json.loads(store.read(name))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StorageError(f"expected JSON in {name!r} of the registry, found {explain_json(error)}") from error


def write_once(store: Store, name: str, record: Any) -> bool:
    """Writes a dataclass as JSON unless the file exists; True for one of all callers whose records differ."""
    return store.put_if_absent(name, dump_json(dataclasses.asdict(record)))


def read_record(store: Store, name: str) -> CheckpointRecord | None:
    """The record of a copy of a checkpoint, or None where it is not complete."""
    value = read_json(store, f"{RECORDS}/{name}.json")
    return None if value is None else read_checkpoint_record(value)


def count_copies(entries: Iterable[HistoryEntry], digest: str) -> int:
    """How often a checkpoint was collected, which is the number of its copy that counts."""
    return sum(split_name(name)[0] == digest for entry in entries for name in entry.removed)


def split_name(name: str) -> tuple[str, int]:
    """The name of a folder to the digest and the number of the copy.

    >>> split_name("0a1b.2"), split_name("0a1b")
    (('0a1b', 2), ('0a1b', 0))
    """
    match = _COPY.fullmatch(name)
    return (match[1], int(match[2] or 0)) if match else ("", 0)


def read_records(store: Store, entries: Collection[HistoryEntry]) -> dict[str, CheckpointRecord]:
    """The complete checkpoints that were not collected, by digest."""
    found = {}
    removed = {name for entry in entries for name in entry.removed}
    for file in store.list(RECORDS):
        name = file.removesuffix(".json")
        record = read_record(store, name) if split_name(name)[0] and name not in removed else None
        if record:
            found[record.digest] = record
    return found


def read_refusals(store: Store) -> list[Refusal]:
    """The refusals, by checkpoint and number."""
    names = [match[0] for match in map(_REFUSAL.fullmatch, store.list(REFUSALS)) if match]
    found = [read_refusal(read_json(store, f"{REFUSALS}/{name}")) for name in names]
    return sorted(found, key=lambda refusal: (refusal.digest, refusal.number))


def find_record(records: Mapping[str, CheckpointRecord], text: str) -> CheckpointRecord:
    """The checkpoint whose digest begins with a text.

    Raises:
      ConfigError: there is none, or several.
    """
    found = [digest for digest in sorted(records) if digest.startswith(text)] if len(text) >= _LEAST_PREFIX else []
    if len(found) == 1:
        return records[found[0]]
    if len(text) < _LEAST_PREFIX:
        raise ConfigError(f"expected at least {_LEAST_PREFIX} digits of a checkpoint's digest, found {text!r}")
    what = f"{len(found)} of them; give more digits" if found else "none; spanmill registry list shows what is there"
    raise ConfigError(f"expected one checkpoint of the registry whose digest begins with {text!r}, found {what}")
