"""Long tables of a run: Parquet in shards of bounded size, each named by its content.

Equal rows give equal names, so that whoever writes a table again, after a crash or beside another driver, writes the
same files. A small file elsewhere says which shards are a table, and is written last.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import StorageError
from schemas.manifest import Shard
from transforms.storage.store import Store

SHARD_ROWS = 1 << 17


class ShardWriter:
    """Writes a table as it comes.

    Args:
      store: the run's store.
      prefix: how the names of the shards begin, folder and all.
      schema: of the table.
    """

    def __init__(self, store: Store, prefix: str, schema: pa.Schema) -> None:
        self._store = store
        self._prefix = prefix
        self._schema = schema
        self._pending: list[pa.Table] = []
        self._n_pending = 0
        self._shards: list[Shard] = []

    def add(self, table: pa.Table) -> None:
        """Adds rows."""
        while self._n_pending + table.num_rows >= SHARD_ROWS:
            n_taken = SHARD_ROWS - self._n_pending
            self._pending.append(table.slice(0, n_taken))
            self._flush()
            table = table.slice(n_taken)
        self._pending.append(table)
        self._n_pending += table.num_rows

    def close(self) -> tuple[Shard, ...]:
        """Writes what is left and tells of all shards, in order; a table without rows has none."""
        if self._n_pending:
            self._flush()
        return tuple(self._shards)

    def _flush(self) -> None:
        sink = io.BytesIO()
        table = pa.concat_tables([self._schema.empty_table(), *self._pending])
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        content = sink.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        name = f"{self._prefix}{digest[:20]}.parquet"
        self._store.put(name, content)
        self._shards.append(Shard(name, table.num_rows, digest))
        self._pending, self._n_pending = [], 0


def write_shards(store: Store, prefix: str, table: pa.Table) -> tuple[Shard, ...]:
    """Writes a whole table; arguments as of `ShardWriter`."""
    writer = ShardWriter(store, prefix, table.schema)
    writer.add(table)
    return writer.close()


def read_shards(store: Store, shards: Sequence[Shard], schema: pa.Schema) -> pa.Table:
    """A table read back.

    Raises:
      StorageError: a shard is gone, or is not what was written.
    """
    return pa.concat_tables([schema.empty_table(), *(_read_shard(store, shard, schema) for shard in shards)])


def parse_shards(value: Sequence[Mapping[str, Any]]) -> tuple[Shard, ...]:
    """Shards from the JSON values of their fields."""
    return tuple(Shard(**item) for item in value)


def _read_shard(store: Store, shard: Shard, schema: pa.Schema) -> pa.Table:
    try:
        content = store.read(shard.name)
    except FileNotFoundError as error:
        raise StorageError(f"expected {shard.rows:,} rows in {shard.name!r}, found no such file") from error
    if (digest := hashlib.sha256(content).hexdigest()) != shard.sha256:
        raise StorageError(f"expected {shard.name!r} with SHA-256 {shard.sha256[:16]}, found {digest[:16]}")
    table = pq.read_table(io.BytesIO(content), schema=schema)
    if table.num_rows != shard.rows:
        raise StorageError(f"expected {shard.rows:,} rows in {shard.name!r}, found {table.num_rows:,}")
    return table
