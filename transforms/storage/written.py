"""Parquet that a run wrote, read back: pages are held against their checksums, and rows against their number.

The checksum of a page does not cover its header, in which a flipped bit can make rows disappear; the footer has their
number. What else a footer says is covered by the SHA-256 in the commit record alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import StorageError
from transforms.storage.store import Store

REPAIR = "spanmill verify --repair annotates it anew"
"""What to do about a slice whose files or record are not what was committed."""

_REFUSALS = (ConnectionError, PermissionError, TimeoutError)
"""Which some stores raise without a number; they say nothing about the file."""


class WrittenParquet:
    """An open Parquet file that a run wrote.

    Args:
      raw: the file, open for random access.

    Raises:
      OSError, ValueError, pa.ArrowException: it is not what was written; so do all that read from it.
    """

    def __init__(self, raw: Any) -> None:
        self._parquet = pq.ParquetFile(raw, page_checksum_verification=True)

    @property
    def schema(self) -> pa.Schema:
        """Of all of its columns."""
        return self._parquet.schema_arrow

    def batches(self, columns: Sequence[str] | None = None, *, most_rows: int) -> Iterator[pa.RecordBatch]:
        """Its rows, all columns or some, in batches of bounded size."""
        n_rows = 0
        for batch in self._parquet.iter_batches(batch_size=most_rows, columns=columns):
            n_rows += batch.num_rows
            yield batch
        self._check(n_rows)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Its rows at once."""
        table = self._parquet.read(columns)
        self._check(table.num_rows)
        return table

    def _check(self, n_rows: int) -> None:
        if n_rows != (expected := self._parquet.metadata.num_rows):
            raise ValueError(f"expected {expected:,} rows, found {n_rows:,}")


@contextmanager
def opened_parquet(store: Store, name: str) -> Iterator[WrittenParquet]:
    """Opens a Parquet file of a run.

    Raises:
      StorageError: it is not what was written, also as it is read.
    """
    with explaining_damage(name), store.open(name) as raw:
        yield WrittenParquet(raw)


@contextmanager
def explaining_damage(name: str) -> Iterator[None]:
    """Names the file of a run in what is raised where it is not what was written.

    Raises:
      StorageError: it is not.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        # The system's errors have a number, those of decoders have none; a file that is lost is damage too.
        is_refused = isinstance(error, _REFUSALS) or getattr(error, "errno", None) is not None
        is_damaged = isinstance(error, FileNotFoundError) or not is_refused
        remedy = f"; {REPAIR}" if is_damaged else ""
        raise StorageError(f"cannot read {name!r}, which a run wrote: {error}{remedy}") from error
