"""Which slice of an earlier run holds a text: keys of 18 bytes a document, sorted, read where they lie.

    digests of a slice ──> (first 8 bytes, slice) ──> shards of a million, each sorted ──> searched, mapped from disk

Nothing is held but the pages that are looked at, which the workers of a machine share, so that a run of 10^8 documents
takes 1.8 GB of disk and next to no memory. A key only says where to look: whoever reads the slice compares whole
digests. An index is a convenience and no truth, so one that is gone reads as empty.
"""

import contextlib
import hashlib
import io
import json
import mmap
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.manifest import dump_json
from transforms.storage.store import Store
from transforms.storage.work import WORK

SHARD_KEYS = 1 << 20
_DIGITS = 16
_SCHEMA = pa.schema([pa.field("key", pa.uint64()), pa.field("slice", pa.binary(10))])

KeyArray = npt.NDArray[np.uint64]


class SliceDigests(NamedTuple):
    """A slice of the earlier run: its id, and SHA-256 of each of its texts, hex."""

    slice_id: str
    digests: Sequence[str]


def make_keys(digests: Sequence[str]) -> KeyArray:
    """Digests in hex to the numbers that they begin with.

    >>> [hex(key) for key in make_keys(["00112233445566778899aabb"])]
    ['0x11223344556677']
    """
    return np.fromiter((int(digest[:_DIGITS], 16) for digest in digests), np.uint64, len(digests))


def write_index(store: Store, name: str, slices: Iterable[SliceDigests]) -> tuple[str, ...]:
    """Writes an index, unless one of that name is there, which an earlier start began with.

    Args:
      store: the new run's store.
      name: what it begins with, in the folder of work lists, which is swept once the run is complete.
      slices: what the earlier run holds.

    Returns:
      Names of its shards.
    """
    head = f"{WORK}/{name}.json"
    with contextlib.suppress(FileNotFoundError):
        return tuple(json.loads(store.read(head)))
    shards = tuple(_write_shard(store, name, *block) for block in _fill_shards(slices))
    store.put_if_absent(head, dump_json(shards))
    return shards


class KeyIndex:
    """Looks texts up.

    Args:
      store: the new run's store.
      shards: names of the shards of the index.
    """

    def __init__(self, store: Store, shards: Sequence[str]) -> None:
        mapped = (_map_shard(store, name) for name in shards)
        self._shards = [shard for shard in mapped if shard is not None]

    def find(self, digests: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]:
        """Places of digests, each as often as a slice may hold it, and the ids of these slices."""
        keys = make_keys(digests)
        places = [np.empty(0, dtype=np.int64)]
        slices: list[str] = []
        for shard in self._shards:
            at = np.minimum(np.searchsorted(shard.keys, keys), len(shard.keys) - 1)
            hits = np.flatnonzero(shard.keys[at] == keys)
            places.append(hits)
            slices += (slice_id.hex() for slice_id in shard.slices.take(pa.array(at[hits])).to_pylist())
        return np.concatenate(places), np.array(slices, dtype=object)


class _Shard(NamedTuple):
    keys: KeyArray
    slices: pa.Array


def _fill_shards(slices: Iterable[SliceDigests]) -> Iterator[tuple[KeyArray, npt.NDArray[np.void]]]:
    """Keys and slices of some slices at a time, unsorted."""
    keys: list[KeyArray] = []
    owners: list[npt.NDArray[np.void]] = []
    n_keys = 0
    for slice_ in slices:
        own = np.unique(make_keys(slice_.digests))
        keys.append(own)
        owners.append(np.full(len(own), np.void(bytes.fromhex(slice_.slice_id))))
        n_keys += len(own)
        if n_keys >= SHARD_KEYS:
            yield np.concatenate(keys), np.concatenate(owners)
            keys, owners, n_keys = [], [], 0
    if n_keys:
        yield np.concatenate(keys), np.concatenate(owners)


def _write_shard(store: Store, name: str, keys: KeyArray, owners: npt.NDArray[np.void]) -> str:
    """Writes keys in order, each with the first slice that has it, and tells under which name."""
    keys, first = np.unique(keys, return_index=True)
    slices = pa.FixedSizeBinaryArray.from_buffers(pa.binary(10), len(first), [None, pa.py_buffer(owners[first])])
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(pa.record_batch([pa.array(keys), slices], schema=_SCHEMA))
    content = sink.getvalue()
    shard = f"{WORK}/{name}-{hashlib.sha256(content).hexdigest()[:20]}.arrow"
    store.put(shard, content)
    return shard


def _map_shard(store: Store, name: str) -> _Shard | None:
    try:
        raw = store.open(name)
    except FileNotFoundError:
        return None
    with raw:
        batch = pa.ipc.open_file(_map_file(raw)).get_batch(0)
    return _Shard(batch.column("key").to_numpy(zero_copy_only=True), batch.column("slice"))


def _map_file(raw: Any) -> pa.Buffer:
    """A file as memory that is read from disk where it is looked at; one that is elsewhere is copied to disk first."""
    try:
        number = raw.fileno()
    except OSError:
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(raw, copy, 1 << 20)
            copy.flush()
            return _map_number(copy.fileno())
    return _map_number(number)


def _map_number(number: int) -> pa.Buffer:
    return pa.py_buffer(mmap.mmap(number, 0, access=mmap.ACCESS_READ))
