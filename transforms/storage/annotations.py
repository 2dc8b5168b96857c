"""What a run has written, read back: documents with their entities, in the order of its input.

    receipt ──> data file ──> records of a document each, or of an entity each ──> annotated documents

Formats and layouts end here: whoever reads annotations sees documents. Files are read as streams, so that memory is
that of a batch of rows, or of a slice in the flat layout with entities under their threshold.
"""

import dataclasses
import itertools
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.annotations import ENTITY_TYPE, entity_column, find_taggers, join_label
from schemas.errors import StorageError
from schemas.receipts import Receipt
from transforms.storage.commits import DATA, DEAD
from transforms.storage.store import Store
from transforms.storage.verification import digest_file
from transforms.storage.written import REPAIR, WrittenParquet, explaining_damage

_BATCH_ROWS, _COPIED_ROWS = 1024, 8192
_COLUMNS = ("id", "source", "row", "digest", "is_below", "tagger", "windows", "tokens")
_COLUMNS += tuple(field.name for field in ENTITY_TYPE)


@dataclasses.dataclass(frozen=True)
class AnnotatedDocument:
    """A document as a run annotated it.

    Attributes:
      id: its id.
      source: the file that it came from.
      row: its position there, from 0.
      digest: SHA-256 of its text in UTF-8, hex.
      entities: `start`, `end`, `label`, `score` and `text` of each, offsets in the unit of the run.
      below: the same of entities under their threshold, where the run kept them.
    """

    id: str
    source: str
    row: int
    digest: str
    entities: tuple[Mapping[str, Any], ...]
    below: tuple[Mapping[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class EntityFilter:
    """Which entities, and so which documents, are looked for.

    Attributes:
      labels: labels to look for; none for all.
      below: look for scores under this; 0 for all.
    """

    labels: frozenset[str] = frozenset()
    below: float = 0.0

    @property
    def is_active(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.labels or self.below)

    def matches(self, label: str, score: float | None) -> bool:
        """Whether an entity is looked for; one without a score is not under any."""
        is_low = score is not None and score < self.below
        return (not self.labels or label in self.labels) and (not self.below or is_low)

    def selects(self, document: AnnotatedDocument) -> bool:
        """Whether a document has such an entity, also under its threshold; all have, when nothing is left out."""
        entities = (*document.entities, *document.below)
        return not self.is_active or any(self.matches(entity["label"], entity["score"]) for entity in entities)


def read_annotations(store: Store, receipt: Receipt, ids: Collection[str] = ()) -> Iterator[AnnotatedDocument]:
    """The documents of a committed slice, in order of row; in the flat layout those with entities only.

    Args:
      store: the run's store.
      receipt: the slice's receipt.
      ids: the ids that are wanted; none for all.

    Raises:
      StorageError: the slice's file is lost, or is not what was written.
    """
    for record in (records := read_records(store, receipt, ids=ids)):
        if not find_taggers(record):
            yield from _group_entities(itertools.chain([record], records))
            return
        yield _to_document(record, gather_entities(record), gather_entities(record, is_below=True))


def read_records(
    store: Store, receipt: Receipt, *, ids: Collection[str] = (), rows: range | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a committed slice as they were written, without kept columns.

    Args:
      store: the run's store.
      receipt: the slice's receipt.
      ids: the ids that are wanted; none for all.
      rows: the rows of the input that are wanted; None for all.

    Raises:
      StorageError: the slice's file is lost, or is not what was written.
    """
    if file := _find_file(receipt, DATA):
        yield from _read_records(store, file, ids, rows)


def read_letters(store: Store, receipt: Receipt) -> list[dict[str, Any]]:
    """The dead letters of a committed slice, as DEAD_LETTER_SCHEMA has them.

    Raises:
      StorageError: the slice's file is lost, or is not what was written.
    """
    file = _find_file(receipt, DEAD)
    if file is None:
        return []
    with _open_data(store, file) as raw:
        letters: list[dict[str, Any]] = WrittenParquet(raw).table().to_pylist()
    return letters


def copy_rows(store: Store, receipt: Receipt) -> Iterator[pa.RecordBatch]:
    """The rows of a committed slice in Parquet, every column, once the whole file is known to be what was committed.

    Raises:
      StorageError: the slice's file is lost, or is not what was written.
    """
    file = _find_file(receipt, DATA)
    if file is None:
        return
    with _open_data(store, file) as raw:
        if (digest := digest_file(raw)) != file["sha256"]:
            raise ValueError(f"expected SHA-256 {file['sha256'][:16]}, found {digest[:16]}")
        raw.seek(0)
        yield from WrittenParquet(raw).batches(most_rows=_COPIED_ROWS)


def gather_entities(record: Mapping[str, Any], *, is_below: bool = False) -> list[Mapping[str, Any]]:
    """The entities of a row, or those under their threshold, of all taggers, by position.

    >>> entity = {"start": 0, "end": 4, "label": "PER"}
    >>> gather_entities({"entities_a": [], "entities_b": [entity]})
    [{'start': 0, 'end': 4, 'label': 'b/PER'}]
    """
    taggers = find_taggers(record)
    found = [(tagger, record.get(entity_column(tagger, is_below=is_below)) or ()) for tagger in taggers]
    if taggers == ("",):
        return list(found[0][1])
    entities = [{**entity, "label": join_label(tagger, entity["label"])} for tagger, own in found for entity in own]
    return sorted(entities, key=lambda entity: (entity["start"], entity["end"]))


def _find_file(receipt: Receipt, folder: str) -> dict[str, Any] | None:
    return next((file for file in receipt.files if file["final"].startswith(f"{folder}/")), None)


def _group_entities(records: Iterable[dict[str, Any]]) -> Iterator[AnnotatedDocument]:
    """Records of an entity each to documents.

    The writer puts the entities of a part of the slice first and those under their threshold after them, so that a
    document is whole when the next part begins.
    """
    pending: dict[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
    was_below = False
    for record in records:
        is_below = record.get("is_below")
        is_next = record["row"] not in pending if is_below is None else was_below and not is_below
        if is_next:
            yield from _build_documents(pending)
            pending = {}
        entity = {**record, "label": join_label(record.get("tagger", ""), record["label"])}
        pending.setdefault(record["row"], ([], []))[bool(is_below)].append(entity)
        was_below = bool(is_below)
    yield from _build_documents(pending)


def _build_documents(
    pending: Mapping[int, tuple[list[dict[str, Any]], list[dict[str, Any]]]],
) -> Iterator[AnnotatedDocument]:
    for _, (entities, below) in sorted(pending.items()):
        yield _to_document((entities or below)[0], entities, below)


def _to_document(
    record: Mapping[str, Any], entities: Iterable[Mapping[str, Any]], below: Iterable[Mapping[str, Any]]
) -> AnnotatedDocument:
    kept, rest = (
        tuple({field.name: entity[field.name] for field in ENTITY_TYPE} for entity in some)
        for some in (entities, below)
    )
    return AnnotatedDocument(record["id"], record["source"], record["row"], record["digest"], kept, rest)


def _read_records(
    store: Store, file: Mapping[str, Any], ids: Collection[str], rows: range | None
) -> Iterator[dict[str, Any]]:
    with _open_data(store, file) as raw:
        if file["final"].endswith(".jsonl"):
            for line in raw:
                record = json.loads(line)
                if (not ids or record["id"] in ids) and (rows is None or record["row"] in rows):
                    yield record
            return
        parquet = WrittenParquet(raw)
        names = parquet.schema.names
        taggers = find_taggers(names)
        own = {entity_column(tagger, is_below=is_below) for tagger in taggers for is_below in (False, True)}
        columns = [name for name in names if name in own or name in _COLUMNS]
        wanted = pa.array(list(ids), pa.string())
        for batch in parquet.batches(columns, most_rows=_BATCH_ROWS):
            if ids:
                batch = batch.filter(pc.is_in(batch.column("id"), wanted))
            if rows is not None:
                row = batch.column("row")
                batch = batch.filter(pc.and_(pc.greater_equal(row, rows.start), pc.less(row, rows.stop)))
            yield from batch.to_pylist()


@contextmanager
def _open_data(store: Store, file: Mapping[str, Any]) -> Iterator[Any]:
    """Opens a committed file wherever it lies: it may be on its way to its final name just now."""
    for name in (file["final"], file["attempt"], file["final"]):
        try:
            raw = store.open(name)
        except FileNotFoundError:
            continue
        with raw, explaining_damage(name):
            if (size := raw.seek(0, os.SEEK_END)) != file["size_bytes"]:
                raise ValueError(f"expected {file['size_bytes']} bytes, found {size}")
            raw.seek(0)
            yield raw
        return
    raise StorageError(f"lost {file['final']!r}: committed, but neither it nor {file['attempt']!r} exists; {REPAIR}")
