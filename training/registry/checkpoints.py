"""A checkpoint into the registry: copied, read back, and there once its record is.

    source ──> attempt ──> read back ──> publish ──> ... ──> card ──> record, put if absent
                                                                        └─ collected meanwhile? another copy

Every file has one name and one right content, so that a copy which was cut off is gone on with by whoever adds the
checkpoint next, and two who add it at once do not get into each other's way. What a checkpoint keeps for the next
training (`memory/`) comes along; it is no part of the digest, and of several for the same weights the first is kept.
"""

import dataclasses
import hashlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.checkpoints import CARD_NAME, CheckpointCard
from schemas.errors import ConfigError, StorageError
from schemas.manifest import dump_json
from schemas.registry import ADAPTER, BASE, MODEL, CheckpointRecord, name_copy
from training.registry.history import read_history
from training.registry.records import (
    ATTEMPTS,
    BEGUN,
    CHECKPOINTS,
    RECORDS,
    count_copies,
    read_json,
    read_record,
    tell_time,
    write_once,
)
from transforms.models.checkpoint import (
    digest_contents,
    digest_file,
    digest_folder,
    digest_weights,
    fetch_memory,
    find_checkpoint,
    join_digests,
    list_contents,
    list_memory,
)
from transforms.storage.store import Store

_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A folder that is to be added.

    Attributes:
      folder: the folder.
      digest: the digest of the checkpoint.
      kind: model, adapter or base.
      base: the folder of its base, where it is an adapter.
      base_digest: SHA-256 of the weights of the base, hex.
    """

    folder: Path
    digest: str
    kind: str
    base: Path | None = None
    base_digest: str = ""


def add_checkpoint(store: Store, reference: str, *, base: str = "", command: str) -> CheckpointRecord:
    """Adds a checkpoint, and with an adapter its base; one that is there already stays as it is.

    Args:
      store: the registry's store.
      reference: folder, URL or hub name of the checkpoint.
      base: the same of the base of an adapter, where it is not where the adapter says.
      command: the command, for the record.

    Raises:
      CheckpointError: there is no such checkpoint, or it is unsafe, incomplete or no tagger.
      StorageError: a file does not read back as it was written.
    """
    fetch_memory(reference)
    found = find_checkpoint(reference, base=base)
    kind = ADAPTER if found.base else MODEL
    source = Source(folder=found.folder, digest=found.digest, kind=kind, base=found.base, base_digest=found.base_digest)
    return add_source(store, source, command=command)


def add_source(store: Store, source: Source, *, command: str) -> CheckpointRecord:
    """Adds a folder that was looked at before; see `add_checkpoint`."""
    if source.base is None:
        return _add_folder(store, source, "", command)
    below = Source(folder=source.base, digest=digest_folder(source.base), kind=BASE)
    while True:
        base = _add_folder(store, below, "", command)
        record = _add_folder(store, source, base.digest, command)
        # A collection may have taken the base before it could know of the adapter.
        if count_copies(read_history(store), base.digest) == base.copy:
            return record


def _add_folder(store: Store, source: Source, base: str, command: str) -> CheckpointRecord:
    while True:
        copy = count_copies(read_history(store), source.digest)
        name = name_copy(source.digest, copy)
        memory = {name: digest_file(path) for name, path in list_memory(source.folder).items()}
        if read_record(store, name) is None:
            files, card = _copy_files(store, source, f"{CHECKPOINTS}/{name}")
            record = CheckpointRecord(
                digest=source.digest,
                copy=copy,
                kind=source.kind,
                weights_digest=digest_weights(source.folder),
                base=base,
                files={**files, **memory},
                card=card,
                at=tell_time(),
                command=command,
            )
            write_once(store, f"{RECORDS}/{name}.json", record)
        found = read_record(store, name)
        if found and (strange := [one for one, digest in memory.items() if found.files.get(one) != digest]):
            raise _describe_clash(source, strange[0])
        if found and count_copies(read_history(store), source.digest) == copy:
            for attempt in store.list(f"{CHECKPOINTS}/{name}/{ATTEMPTS}"):
                store.delete(f"{CHECKPOINTS}/{name}/{ATTEMPTS}/{attempt}")
            return found


def _copy_files(store: Store, source: Source, folder: str) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Copies what is not there yet; returns the digests of the files by name, and the card."""
    paths = list_contents(source.folder)
    digests = {path.name: digest_file(path) for path in paths}
    if join_digests(digest_contents(digests), source.base_digest) != source.digest:
        raise StorageError(f"expected model {source.folder.name!r} to stay as it is meanwhile, found it changed")
    store.put_if_absent(f"{folder}/{BEGUN}", dump_json({"at": tell_time()}))
    for path in paths:
        _copy_file(store, path, folder, digests)
    for name, path in list_memory(source.folder).items():
        # One of all who add these weights has its memory kept, for the weights alone make the digest.
        store.put_if_absent(f"{folder}/{name}", path.read_bytes())
        if digest_stored(store, f"{folder}/{name}") != digest_file(path):
            raise _describe_clash(source, name)
    card = source.folder / CARD_NAME
    if not card.is_file():
        return digests, None
    content = card.read_bytes()
    CheckpointCard.from_json(content.decode("utf-8", "replace"))
    # Of several cards for the same weights the first is kept.
    store.put_if_absent(f"{folder}/{CARD_NAME}", content)
    kept: dict[str, Any] = read_json(store, f"{folder}/{CARD_NAME}")
    return digests, kept


def _copy_file(store: Store, path: Path, folder: str, digests: Mapping[str, str]) -> None:
    target, wanted = f"{folder}/{path.name}", digests[path.name]
    if digest_stored(store, target) == wanted:
        return
    attempt = f"{folder}/{ATTEMPTS}/{uuid.uuid4().hex}"
    with path.open("rb") as content, store.create(attempt) as copy:
        while chunk := content.read(_CHUNK_BYTES):
            copy.write(chunk)
    # Nothing stands under its name before it is known to be right; another may have swept this attempt when done.
    if digest_stored(store, attempt) in (wanted, None):
        store.publish(attempt, target)
    if digest_stored(store, target) != wanted:
        raise StorageError(
            f"expected {path.name!r} of model {path.parent.name!r} in the registry as it was read, found other "
            f"content; check the disk, and that nobody writes to the model, and delete {target!r} if it is there"
        )


def _describe_clash(source: Source, name: str) -> ConfigError:
    return ConfigError(
        f"expected {name!r} of model {source.folder.name!r} as the registry has it for the same weights, found other "
        f"content or none there; checkpoint {source.digest[:16]} stays as it is: add it without {name!r}"
    )


def digest_stored(store: Store, name: str) -> str | None:
    """SHA-256 of a file of the store, hex; None where there is none."""
    digest = hashlib.sha256()
    # Some clients remember a listing; asking for the size makes them look.
    if store.size(name) is None:
        return None
    try:
        with store.open(name) as content:
            while chunk := content.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return None
    return digest.hexdigest()
