"""The commit protocol of a slice: first commit wins, publishing rolls forward.

    claim ──> write attempt ──> check ──> put commit record if absent ──> publish
                                                │ won                        ▲
                                                └ lost: delete attempt, take the winner's record

Nothing before the record counts, everything after it can be repeated by anyone, so crashes, replays, zombies and
second drivers all meet at one operation of the store. Names come from slice ids alone, never from data.
"""

import dataclasses
import hashlib
import io
import json
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.annotations import PROBABILITIES_FIELD, annotation_schema, entity_column, find_taggers, flat_schema
from schemas.dead_letters import DEAD_LETTER_SCHEMA
from schemas.errors import ConfigError, StorageError
from schemas.manifest import dump_json, explain_json
from schemas.receipts import Receipt, Tally
from schemas.slices import Slice
from transforms.storage.store import Store
from transforms.storage.written import REPAIR
from transforms.workers.threads import map_ahead

COMMITS, ATTEMPTS, CLAIMS, DATA, DEAD = "_commits", "_attempts", "_claims", "data", "dead"
OUTPUT_FORMATS = ("parquet", "jsonl")
LAYOUTS = ("document", "flat")


class DamagedRecordError(StorageError):
    """A commit record is no receipt.

    Args:
      name: where it lies.
      found: what is there.
    """

    def __init__(self, name: str, found: str) -> None:
        super().__init__(f"expected a commit record in {name!r}, found {found}; {REPAIR}")
        self.found = found


def read_receipt(store: Store, slice_id: str) -> Receipt | None:
    """The receipt of a committed slice, or None.

    Raises:
      DamagedRecordError: the commit record is no receipt.
    """
    name = f"{COMMITS}/{slice_id}"
    try:
        return Receipt.from_json(json.loads(store.read(name)))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedRecordError(name, explain_json(error)) from error


def publish_slice(store: Store, receipt: Receipt) -> None:
    """Moves a committed slice's files to their final names; harmless when it is done already."""
    for file in receipt.files:
        if store.size(file["final"]) != file["size_bytes"] or store.size(file["attempt"]) is not None:
            store.publish(file["attempt"], file["final"])


def retire_slices(store: Store, slices: Iterable[Slice], output_format: str) -> None:
    """Takes the commits of slices back, so that they are done again; not while another driver is at work on the run.

    Files of a slice go first: whoever dies in between leaves a record without files, which is seen and retired again.

    Args:
      store: the run's store.
      slices: the slices.
      output_format: of the run.
    """
    claims = defaultdict(list)
    for name in store.list(CLAIMS):
        claims[name.partition(".")[0]].append(f"{CLAIMS}/{name}")

    def retire(slice_: Slice) -> None:
        for folder in (DATA, DEAD):
            store.delete(_final_name(slice_, folder, output_format))
        store.delete(f"{COMMITS}/{slice_.slice_id}")
        for name in claims.get(slice_.slice_id, ()):
            store.delete(name)

    for _ in map_ahead(retire, slices):
        pass


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the workers that share the slices of a run.

    Attributes:
      crew: what they have in common; workers without a crew take no notice of each other.
      name: this one.
      dead: names of those that have died, whose slices are free again.
    """

    crew: str = ""
    name: str = ""
    dead: frozenset[str] = frozenset()

    def leaves_to(self, claim: Mapping[str, str]) -> bool:
        """Whether whoever made a claim is a living member of the same crew."""
        name = claim["name"]
        return bool(self.crew) and claim["crew"] == self.crew and name != self.name and name not in self.dead


class Claim(NamedTuple):
    """A slice that is somebody's.

    Attributes:
      attempt: how many times it has begun, this one included.
      n_dead: how many members of the crew have died since they began it.
    """

    attempt: int
    n_dead: int


def claim_slice(store: Store, slice_id: str, member: Member) -> Claim | None:
    """Notes that work on a slice begins; None where another member of the crew is at it."""
    attempt, n_dead = 1, 0
    mine = json.dumps({"crew": member.crew, "name": member.name, "token": uuid.uuid4().hex}).encode()
    while True:
        name = f"{CLAIMS}/{slice_id}.{attempt}"
        claim = _read_claim(store, name)
        if claim is None and store.put_if_absent(name, mine):
            return Claim(attempt, n_dead)
        if claim is None:
            continue
        if member.leaves_to(claim):
            return None
        n_dead += claim["crew"] == member.crew and claim["name"] in member.dead
        attempt += 1


def _read_claim(store: Store, name: str) -> dict[str, str] | None:
    try:
        content = store.read(name)
    except FileNotFoundError:
        return None
    try:
        return {"crew": "", "name": "", **json.loads(content)}
    except (ValueError, TypeError):
        return {"crew": "", "name": ""}


class SliceWriter:
    """Writes one attempt at a slice and commits it.

    Args:
      store: the run's store.
      slice_: the slice.
      output_format: parquet or jsonl.
      layout: document (a row per document) or flat (a row per entity).
      metadata: strings for the footer of Parquet files.
      attempts: how many times the slice has begun.
    """

    def __init__(
        self,
        store: Store,
        slice_: Slice,
        *,
        output_format: str,
        layout: str,
        metadata: Mapping[str, str],
        attempts: int,
    ) -> None:
        if output_format not in OUTPUT_FORMATS or layout not in LAYOUTS:
            raise ConfigError(f"expected a format of {OUTPUT_FORMATS} and a layout of {LAYOUTS}")
        self._store = store
        self._slice = slice_
        self._format = output_format
        self._is_flat = layout == "flat"
        self._metadata = {**metadata, "slice": slice_.slice_id}
        self._attempts = attempts
        self._token = uuid.uuid4().hex
        self._files: dict[str, _FileWriter] = {}
        self._tally = Tally()

    def write(self, annotations: pa.Table | None, rejects: tuple[dict[str, object], ...], tally: Tally) -> None:
        """Adds a part: its annotations, its dead letters and its counts."""
        if annotations is not None:
            table = flatten_entities(annotations) if self._is_flat else annotations
            self._file(DATA, table.schema, self._format).write(table)
        if rejects:
            letters = pa.Table.from_pylist(list(rejects), schema=DEAD_LETTER_SCHEMA)
            self._file(DEAD, letters.schema, "parquet").write(letters)
        self._tally += tally

    def commit(self) -> Receipt:
        """Closes, checks and commits the attempt; returns the receipt of whoever won.

        Raises:
          StorageError: a file does not read back as it was written, or the counts do not add up.
        """
        tally = self._tally
        if tally.documents + tally.dead_rows != self._slice.rows:
            raise StorageError(
                f"expected {self._slice.rows} documents in slice {self._slice.slice_id}, "
                f"found {tally.documents} annotated and {tally.dead_rows} dead"
            )
        if winner := read_receipt(self._store, self._slice.slice_id):
            # Whoever finished the run may have swept this attempt, so it is not looked at.
            self.abandon()
            publish_slice(self._store, winner)
            return winner
        files = tuple(file.finish(self._store) for file in self._files.values())
        receipt = Receipt(self._slice.slice_id, self._slice.rows, self._attempts, files, tally)
        if not self._store.put_if_absent(f"{COMMITS}/{self._slice.slice_id}", dump_json(receipt.to_json())):
            self.abandon()
            winner = read_receipt(self._store, self._slice.slice_id)
            if winner is None:
                raise StorageError(f"lost the commit record of slice {self._slice.slice_id}")
            receipt = winner
        publish_slice(self._store, receipt)
        return receipt

    def close(self) -> None:
        """Closes the attempt's files and leaves them where they are, for a commit that failed may have been applied."""
        for file in self._files.values():
            file.close()

    def abandon(self) -> None:
        """Drops an attempt that is known to have lost; nothing of it is seen by anyone."""
        self.close()
        for file in self._files.values():
            self._store.delete(file.attempt)

    def _file(self, folder: str, schema: pa.Schema, format_: str) -> "_FileWriter":
        if folder not in self._files:
            suffix = ".dead.parquet" if folder == DEAD else f".{format_}"
            attempt = f"{ATTEMPTS}/{self._slice.slice_id}-{self._token}{suffix}"
            final = _final_name(self._slice, folder, self._format)
            metadata = {f"spanmill.{key}": value for key, value in self._metadata.items()}
            self._files[folder] = _FileWriter(self._store, attempt, final, schema.with_metadata(metadata), format_)
        return self._files[folder]


def _final_name(slice_: Slice, folder: str, output_format: str) -> str:
    """Where a slice's annotations or dead letters end up."""
    return f"{folder}/{slice_.name}.{'parquet' if folder == DEAD else output_format}"


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """How a run writes Parquet: options of pyarrow's writer for files of a schema."""
    options = {"compression": "zstd", "write_page_checksum": True}
    if PROBABILITIES_FIELD not in schema:
        return options
    # Hardly two of them are the same, so that a dictionary makes them longer; byte by byte they pack best.
    empty = io.BytesIO()
    pq.write_table(schema.empty_table(), empty)
    paths = [column.path for column in pq.ParquetFile(empty).schema]
    numbers = [path for path in paths if path.partition(".")[0] == PROBABILITIES_FIELD.name]
    others = [path for path in paths if path not in numbers]
    return {**options, "use_dictionary": others, "use_byte_stream_split": numbers}


class _FileWriter:
    """One output file of an attempt, hashed as it is written."""

    def __init__(self, store: Store, attempt: str, final: str, schema: pa.Schema, format_: str) -> None:
        self.attempt = attempt
        self._final = final
        self._schema = schema
        self._raw = _HashedFile(store.create(attempt))
        self._rows = 0
        self._parquet: pq.ParquetWriter | None = None
        if format_ == "parquet":
            self._parquet = pq.ParquetWriter(pa.PythonFile(self._raw, mode="w"), schema, **parquet_options(schema))

    def write(self, table: pa.Table) -> None:
        self._rows += table.num_rows
        if self._parquet is not None:
            self._parquet.write_table(table.cast(self._schema))
            return
        lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in table.to_pylist())
        self._raw.write("".join(lines).encode())

    def close(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
            self._parquet = None
        self._raw.close()

    def finish(self, store: Store) -> dict[str, Any]:
        """Closes the file, reads back what it became, and describes it."""
        is_parquet = self._parquet is not None
        self.close()
        size = store.size(self.attempt)
        if size != self._raw.size_bytes:
            raise StorageError(f"expected {self._raw.size_bytes} bytes in {self.attempt!r}, found {size}")
        if is_parquet:
            with store.open(self.attempt) as raw:
                footer = pq.ParquetFile(raw)
                if footer.metadata.num_rows != self._rows or not footer.schema_arrow.equals(self._schema):
                    raise StorageError(f"expected {self._rows} rows in {self.attempt!r}, found another footer")
        return {
            "attempt": self.attempt,
            "final": self._final,
            "sha256": self._raw.digest.hexdigest(),
            "size_bytes": size,
            "rows": self._rows,
        }


class _HashedFile:
    """A binary file to write to, hashed and counted on the way."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    @property
    def closed(self) -> bool:
        return bool(self._raw.closed)

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.digest.update(view)
        self.size_bytes += view.nbytes
        self._raw.write(bytes(view))
        return view.nbytes

    def flush(self) -> None:
        self._raw.flush()

    def tell(self) -> int:
        return self.size_bytes

    def close(self) -> None:
        self._raw.close()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def flatten_entities(annotations: pa.Table) -> pa.Table:
    """A row per document to a row per entity, those below their threshold marked so and last."""
    names = annotations.column_names
    taggers = find_taggers(names)
    has_below = entity_column(taggers[0], is_below=True) in names
    own = annotation_schema(taggers=taggers, has_below=has_below).names
    schema = flat_schema([f for f in annotations.schema if f.name not in own], taggers=taggers, has_below=has_below)
    pieces = []
    for is_below in (False, True) if has_below else (False,):
        tables, parents = zip(
            *(_flatten(annotations, tagger, schema, is_below=is_below) for tagger in taggers), strict=True
        )
        # Entities of a document stay together, whoever found them.
        order = pa.array(np.argsort(np.concatenate(parents), kind="stable"))
        pieces.append(pa.concat_tables(tables).take(order) if len(taggers) > 1 else tables[0])
    return pa.concat_tables(pieces)


def _flatten(
    annotations: pa.Table, tagger: str, schema: pa.Schema, *, is_below: bool
) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Entities of one column to a row each, and the row of the document that each is of."""
    column = annotations.column(entity_column(tagger, is_below=is_below)).combine_chunks()
    parents = pc.list_parent_indices(column)
    entities = pc.list_flatten(column)
    owners = annotations.take(parents)
    arrays = {field.name: pc.struct_field(entities, field.name) for field in entities.type}
    arrays["is_below"] = pa.repeat(is_below, len(entities))
    arrays["tagger"] = pa.repeat(tagger, len(entities))
    columns = [arrays[f.name] if f.name in arrays else owners.column(f.name) for f in schema]
    return pa.table(columns, schema=schema), np.asarray(parents, dtype=np.int64)
