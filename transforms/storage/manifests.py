"""The manifest of a complete run: a small file, and the tables that it names.

_MANIFEST.json                        settings, versions, counts, and which shards hold the rest
_manifest/files-<digest>.parquet      every output file
_manifest/inputs-<digest>.parquet     every input file
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.manifest import INPUT_SCHEMA, OUTPUT_SCHEMA, Manifest, Shard, dump_json
from schemas.receipts import Receipt
from schemas.tables import FileTable, SliceTable, name_array
from transforms.storage.shards import parse_shards, read_shards, write_shards
from transforms.storage.store import Store

SUCCESS, MANIFEST, MANIFESTS = "_SUCCESS", "_MANIFEST.json", "_manifest"
_BLOCK_FILES = 8192


class OutputFiles:
    """What receipts say that a run has written, a row per file."""

    def __init__(self) -> None:
        self._blocks: list[pa.Table] = []
        self._pending: list[dict[str, Any]] = []

    def add(self, receipt: Receipt) -> None:
        """Adds the files of a slice."""
        self._pending += ({**file, "name": file["final"]} for file in receipt.files)
        if len(self._pending) >= _BLOCK_FILES:
            self._flush()

    @property
    def table(self) -> pa.Table:
        """All of them, by OUTPUT_SCHEMA."""
        self._flush()
        return pa.concat_tables([OUTPUT_SCHEMA.empty_table(), *self._blocks])

    def find_foreign(self, folder: str, names: Sequence[str]) -> list[str]:
        """Those names in a folder that are not among the files."""
        found = name_array([f"{folder}/{name}" for name in names])
        foreign = pc.filter(found, pc.invert(pc.is_in(found, value_set=self.table.column("name"))))
        return [name.removeprefix(f"{folder}/") for name in foreign.to_pylist()]

    def _flush(self) -> None:
        rows = [{name: file[name] for name in OUTPUT_SCHEMA.names} for file in self._pending]
        self._blocks.append(pa.Table.from_pylist(rows, schema=OUTPUT_SCHEMA))
        self._pending = []


def count_inputs(files: FileTable, slices: SliceTable) -> pa.Table:
    """Input files with the rows that their slices hold, by INPUT_SCHEMA and without passwords."""
    shown = files.without_secrets()
    counts = (
        pa.table({"uri": slices.sources(), "rows": slices.column("rows")}).group_by("uri").aggregate([("rows", "sum")])
    )
    at = pc.index_in(shown.column("uri"), value_set=counts.column("uri"))
    rows = pc.fill_null(counts.column("rows_sum").take(at), 0)
    return shown.table.append_column(INPUT_SCHEMA.field("rows"), rows)


def write_outputs(store: Store, outputs: OutputFiles) -> tuple[Shard, ...]:
    """Writes the table of output files for a manifest to name."""
    return write_shards(store, f"{MANIFESTS}/files-", outputs.table)


def write_inputs(store: Store, inputs: pa.Table) -> tuple[Shard, ...]:
    """The same of input files."""
    return write_shards(store, f"{MANIFESTS}/inputs-", inputs)


def put_manifest(store: Store, manifest: Manifest) -> None:
    """Writes the manifest in place of an earlier one, whose tables go if it does not name them too."""
    before = _list_shards(store)
    store.put(MANIFEST, dump_json(manifest.to_json()))
    for name in before - {shard.name for shard in (*manifest.files, *manifest.inputs)}:
        store.delete(name)


def read_outputs(store: Store) -> pa.Table:
    """The table of output files that the manifest names.

    Raises:
      FileNotFoundError: there is no manifest.
      StorageError: the table is not what was written.
      ValueError, KeyError, TypeError: the manifest is none.
    """
    return read_shards(store, parse_shards(json.loads(store.read(MANIFEST))["files"]), OUTPUT_SCHEMA)


def read_inputs(store: Store) -> pa.Table:
    """The same of input files."""
    return read_shards(store, parse_shards(json.loads(store.read(MANIFEST))["inputs"]), INPUT_SCHEMA)


def _list_shards(store: Store) -> set[str]:
    """Names of the tables of the manifest that is there; none where there is none that can be read."""
    try:
        manifest = json.loads(store.read(MANIFEST))
        named = {shard.name for name in ("files", "inputs") for shard in parse_shards(manifest[name])}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return set()
    return {name for name in named if name.startswith(f"{MANIFESTS}/")}
