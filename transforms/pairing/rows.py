"""Documents and rows of a run as the tables that are joined, and their way through a shuffle.

Ids are spread over buckets by their hash; a bucket's share of a table travels as one compressed Arrow message, so that
grouping by bucket groups by id without an object per document.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.annotations import ENTITY_TYPE, PROBABILITIES_FIELD, entity_column, find_taggers
from schemas.documents import kept_column
from schemas.errors import ConfigError
from schemas.slices import Slice
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.formats import read_parts
from transforms.pairing.joined import GOLD_SCHEMA, PREDICTED_SCHEMA, SCORED_TYPE
from transforms.scoring.intervals import document_keys
from transforms.storage.annotations import gather_entities
from transforms.storage.store import Store
from transforms.storage.written import opened_parquet

_BATCH_ROWS = 4096


def read_gold_rows(slice_: Slice, corpus: CorpusConfig, groups: Sequence[str]) -> Iterator[pa.Table]:
    """A slice of a gold corpus to tables of GOLD_SCHEMA.

    Args:
      slice_: the slice.
      corpus: how documents are found in files; it keeps the columns of `groups`.
      groups: kept columns whose values scores are broken down by.

    Raises:
      ConfigError: a document cannot be read; an evaluation leaves none out.
    """
    source = slice_.file.source
    for part in read_parts(slice_, corpus):
        for reject in part.rejects:
            raise ConfigError(f"cannot read gold document in {source!r} row {reject['row']}: {reject['message']}")
        documents = part.documents
        n_rows = documents.num_rows
        columns = {
            "id": documents.column("id"),
            "source": pa.repeat(source, n_rows),
            "row": documents.column("row"),
            "text": documents.column("text").fill_null(""),
            "gold": documents.column("gold") if "gold" in documents.column_names else pa.nulls(n_rows),
            "tags": documents.column("tags"),
            "groups": _gather_groups(documents, list(map(kept_column, groups))),
        }
        yield conform(columns, GOLD_SCHEMA)


def read_run_rows(store: Store, name: str, *, unit: str, groups: Sequence[str], tagger: str = "") -> Iterator[pa.Table]:
    """An output file of a run, with a row per document, to tables of PREDICTED_SCHEMA without texts.

    Args:
      store: the run's store.
      name: the file in it.
      unit: unit of the run's offsets.
      groups: kept columns whose values scores are broken down by.
      tagger: the tagger whose entities are read, where there are several; all of them where it is empty.
    """
    for batch in read_batches(store, name):
        rows = _keep_tagger(batch, tagger) if tagger else batch
        n_rows = rows.num_rows
        columns = {
            "id": rows.column("id"),
            "source": rows.column("source"),
            "row": rows.column("row"),
            "digest": rows.column("digest"),
            "unit": pa.repeat(unit, n_rows),
            "text": pa.nulls(n_rows),
            "entities": _scored(gather_column(rows, is_below=False)),
            "below": _scored(gather_column(rows, is_below=True)) if _has_below(rows) else pa.nulls(n_rows),
            "groups": _gather_groups(rows, groups),
        }
        yield conform(columns, PREDICTED_SCHEMA)


def read_dead_rows(store: Store, name: str, schema: pa.Schema) -> pa.Table:
    """A file of dead letters to a table of the schema of a run's rows; letters about whole files name no document."""
    with opened_parquet(store, name) as parquet:
        letters = parquet.table(["id", "source", "row", "digest"])
    letters = letters.filter(letters.column("id").is_valid())
    nothing = pa.nulls(letters.num_rows)
    columns = {
        field.name: letters.column(field.name) if field.name in letters.column_names else nothing for field in schema
    }
    return conform(columns, schema)


def attach_texts(rows: Iterable[pa.Table], slice_: Slice, corpus: CorpusConfig) -> Iterator[pa.Table]:
    """Puts the texts that a run read beside its rows, which are in the order of its input.

    Raises:
      ConfigError: the input no longer holds a document that the run read.
    """
    texts = (
        (id_, text or "")
        for part in read_parts(slice_, corpus)
        for id_, text in zip(*(part.documents.column(name).to_pylist() for name in ("id", "text")), strict=True)
    )
    for table in rows:
        found = []
        for id_ in table.column("id").to_pylist():
            # What became a dead letter stands in the input and not among the rows.
            text = next((text for other, text in texts if other == id_), None)
            if text is None:
                raise ConfigError(f"expected document {id_!r} in {slice_.file.source!r} as the run read it, found none")
            found.append(text)
        at = table.schema.get_field_index("text")
        yield table.set_column(at, table.schema.field(at), pa.array(found, pa.large_string()))


def spread_rows(table: pa.Table, n_buckets: int) -> Iterator[tuple[int, bytes]]:
    """A table to its share for each bucket, as (bucket, Arrow message)."""
    bucket = (document_keys(table.column("id").to_pylist()) % np.uint64(n_buckets)).astype(np.int64)
    for number in np.unique(bucket).tolist():
        share = table.filter(pa.array(bucket == number)).combine_chunks()
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
            writer.write_table(share)
        yield number, sink.getvalue().to_pybytes()


def gather_rows(messages: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """The shares of one bucket to one table."""
    tables = [pa.ipc.open_stream(message).read_all() for message in messages]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def read_batches(store: Store, name: str) -> Iterator[pa.Table]:
    """An output file of a run to tables of some thousands of its rows; probabilities of tokens stay where they are."""
    if name.endswith(".jsonl"):
        lines = store.read(name).splitlines()
        for begin in range(0, len(lines), _BATCH_ROWS):
            yield pa.Table.from_pylist([json.loads(line) for line in lines[begin : begin + _BATCH_ROWS]])
        return
    with opened_parquet(store, name) as parquet:
        schema = parquet.schema
        others = [field.name for field in schema if field != PROBABILITIES_FIELD]
        columns = others if PROBABILITIES_FIELD in schema else None
        for batch in parquet.batches(columns, most_rows=_BATCH_ROWS):
            yield pa.Table.from_batches([batch])


def _keep_tagger(rows: pa.Table, tagger: str) -> pa.Table:
    """Rows of several taggers to those of one of them."""
    own = {entity_column(tagger, is_below=is_below): entity_column(is_below=is_below) for is_below in (False, True)}
    others = {
        entity_column(other, is_below=is_below)
        for other in find_taggers(rows.column_names)
        for is_below in (False, True)
        if other != tagger
    }
    kept = rows.select([name for name in rows.column_names if name not in others])
    return kept.rename_columns([own.get(name, name) for name in kept.column_names])


def _has_below(rows: pa.Table) -> bool:
    return any(entity_column(tagger, is_below=True) in rows.column_names for tagger in find_taggers(rows.column_names))


def gather_column(rows: pa.Table, *, is_below: bool) -> pa.ChunkedArray:
    """The column of entities, or of those under their threshold; where several taggers have one each, all together."""
    taggers = find_taggers(rows.column_names)
    names = [entity_column(tagger, is_below=is_below) for tagger in taggers]
    if taggers == ("",):
        return rows.column(names[0])
    records = rows.select([entity_column(tagger) for tagger in taggers] + (names if is_below else [])).to_pylist()
    return pa.chunked_array(
        [pa.array([gather_entities(record, is_below=is_below) for record in records], pa.list_(ENTITY_TYPE))]
    )


def _scored(column: pa.ChunkedArray) -> pa.Array:
    """Entities without their text."""
    entities = column.combine_chunks()
    if pa.types.is_null(entities.type.value_type) or pa.types.is_null(entities.type):
        return pa.array([[]] * len(entities), SCORED_TYPE)
    flat = entities.flatten()
    children = [flat.field(field.name).cast(field.type) for field in SCORED_TYPE.value_type]
    values = pa.StructArray.from_arrays(children, fields=list(SCORED_TYPE.value_type))
    lengths = np.asarray(entities.value_lengths().fill_null(0))
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), values)


def _gather_groups(table: pa.Table, names: Sequence[str]) -> pa.Array:
    columns = [table.column(name).to_pylist() for name in names]
    rows: list[list[Any]] = [
        ["–" if value is None else str(value) for value in row] for row in zip(*columns, strict=True)
    ]
    return pa.array(rows or [[]] * table.num_rows, pa.list_(pa.string()))


def conform(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """Columns by name to a table of a schema, cast to its types."""
    return pa.table(
        [
            pa.chunked_array(column.chunks if isinstance(column, pa.ChunkedArray) else [column]).cast(field.type)
            for field, column in ((field, columns[field.name]) for field in schema)
        ],
        schema=schema,
    )
