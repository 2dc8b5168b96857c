"""What an earlier run has written about texts, read back by their digests.

    digests ──index──> slices that may hold them ──those that hold most first──> files, checked ──> rows

A file is read whole and held against its commit record before anything is copied from it: one that is not what was
committed is left out and its documents, which meet the model, are counted. The slices that were read last are kept, for
documents that lay together mostly still do.
"""

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.annotations import ADAPTER_FIELD, PROBABILITIES_FIELD, annotation_schema, entity_column
from schemas.receipts import Receipt
from transforms.reuse.index import KeyIndex, SliceDigests
from transforms.storage.commits import DATA, DamagedRecordError, read_receipt
from transforms.storage.store import Store
from transforms.storage.written import WrittenParquet
from transforms.workers.threads import map_ahead

_KEPT_BYTES = 64 << 20


class Written(NamedTuple):
    """What the rows of a run hold.

    Attributes:
      taggers: names of its taggers, each with a column of entities; a single one has none.
      has_below: whether entities under their threshold have columns too.
      is_routed: whether a tagger was chosen for each document.
      has_probabilities: whether probabilities of tokens were kept.
    """

    taggers: tuple[str, ...]
    has_below: bool
    is_routed: bool
    has_probabilities: bool = False

    @property
    def schema(self) -> pa.Schema:
        """Of the columns that are copied."""
        others = [(ADAPTER_FIELD, self.is_routed), (PROBABILITIES_FIELD, self.has_probabilities)]
        own = [field for field, is_written in others if is_written]
        # Entities are decided from probabilities where there are any.
        taggers = () if self.has_probabilities else self.taggers
        schema = annotation_schema(own, taggers=taggers, has_below=self.has_below)
        return pa.schema([field for field in schema if field.name not in ("id", "source", "row", "model")])

    def entity_columns(self) -> Iterator[tuple[str, str]]:
        """Each tagger with each of its columns."""
        for is_below in (False, True) if self.has_below else (False,):
            yield from ((tagger, entity_column(tagger, is_below=is_below)) for tagger in self.taggers)


class Found(NamedTuple):
    """What a run has written about some texts.

    Attributes:
      places: those of the texts that it has annotated, in order, (n_found,).
      rows: a row for each of these.
      n_damaged: how many others it has annotated in files that are not as they were committed.
    """

    places: npt.NDArray[np.int64]
    rows: pa.Table
    n_damaged: int


def read_digests(
    store: Store, slice_ids: Sequence[str], tell_damage: Callable[[str], object] = lambda _: None
) -> Iterator[SliceDigests]:
    """The digests of the texts in each slice of a run that is committed and can be read; no other column is read.

    Args:
      store: the run's store.
      slice_ids: the slices.
      tell_damage: is given each whose annotations are not as they were committed.
    """
    read = map_ahead(lambda slice_id: _read_digests(store, slice_id), slice_ids)
    for slice_id, digests in zip(slice_ids, read, strict=True):
        if digests is None:
            tell_damage(slice_id)
        elif digests:
            yield SliceDigests(slice_id, digests)


class EarlierRun:
    """Rows of a run by the digests of their texts; for one thread.

    Args:
      store: the run's store.
      index: where they are.
      written: what they hold.
    """

    def __init__(self, store: Store, index: KeyIndex, written: Written) -> None:
        self._store = store
        self._index = index
        self._schema = written.schema
        self._kept: OrderedDict[str, pa.Table | None] = OrderedDict()
        self._n_bytes = 0

    def find(self, digests: Sequence[str]) -> Found:
        """Digests of texts in, what the run has of them out."""
        places, slices = self._index.find(digests)
        found, rows = [np.empty(0, dtype=np.int64)], [self._schema.empty_table()]
        damaged = [np.empty(0, dtype=np.int64)]
        while len(places):
            names, counts = np.unique(slices, return_counts=True)
            fullest = names[counts.argmax()]
            here = places[slices == fullest]
            if (table := self._open(fullest)) is not None:
                wanted = pa.array([digests[place] for place in here], pa.string())
                at = pc.index_in(wanted, value_set=table.column("digest"))
                found.append(here[np.asarray(at.is_valid())])
                rows.append(table.take(at.drop_null()))
            else:
                damaged.append(here)
            is_left = (slices != fullest) & ~np.isin(places, found[-1])
            places, slices = places[is_left], slices[is_left]
        known = np.concatenate(found)
        order = np.argsort(known)
        lost = np.setdiff1d(np.concatenate(damaged), known)
        return Found(known[order], pa.concat_tables(rows).take(pa.array(order)).combine_chunks(), len(lost))

    def _open(self, slice_id: str) -> pa.Table | None:
        """The rows of a slice; None where they are not as they were committed."""
        if slice_id in self._kept:
            self._kept.move_to_end(slice_id)
            return self._kept[slice_id]
        table = self._kept[slice_id] = _read_slice(self._store, slice_id, self._schema)
        self._n_bytes += table.nbytes if table else 0
        while self._n_bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._n_bytes -= oldest.nbytes if oldest else 0
        return table


def _read_slice(store: Store, slice_id: str, schema: pa.Schema) -> pa.Table | None:
    try:
        file = _find_file(read_receipt(store, slice_id))
        content = _read_file(store, file) if file else None
        if file is None or content is None:
            raise ValueError("no such file")  # noqa: TRY301
        if (len(content), hashlib.sha256(content).hexdigest()) != (file["size_bytes"], file["sha256"]):
            raise ValueError("not what was committed")  # noqa: TRY301
        return _parse(content, schema, is_parquet=file["final"].endswith(".parquet"))
    except (DamagedRecordError, OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _read_digests(store: Store, slice_id: str) -> list[str] | None:
    """The digests in a slice, none where it is not committed or has no annotations; None where it cannot be read."""
    try:
        file = _find_file(read_receipt(store, slice_id))
        if file is None:
            return []
        for name in (file["final"], file["attempt"]):
            if store.size(name) == file["size_bytes"]:
                with store.open(name) as raw:
                    if name.endswith(".jsonl"):
                        return [json.loads(line)["digest"] for line in raw]
                    digests: list[str] = WrittenParquet(raw).table(["digest"]).column("digest").to_pylist()
                    return digests
        raise ValueError("another size than was committed")  # noqa: TRY301
    except (DamagedRecordError, OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _find_file(receipt: Receipt | None) -> Mapping[str, Any] | None:
    files = receipt.files if receipt else ()
    return next((file for file in files if file["final"].startswith(f"{DATA}/")), None)


def _read_file(store: Store, file: Mapping[str, Any]) -> bytes | None:
    """A committed file wherever it lies: it may be on its way to its final name just now."""
    for name in (file["final"], file["attempt"], file["final"]):
        try:
            return store.read(name)
        except FileNotFoundError:
            continue
    return None


def _parse(content: bytes, schema: pa.Schema, *, is_parquet: bool) -> pa.Table:
    if is_parquet:
        return pq.read_table(io.BytesIO(content), columns=schema.names).cast(schema)
    rows = [json.loads(line) for line in content.splitlines()]
    return pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in rows], schema=schema)
