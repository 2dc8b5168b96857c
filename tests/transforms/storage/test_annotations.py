"""Annotations read back from every store, format and layout."""

import dataclasses
import io
import itertools
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.annotations import annotation_schema
from schemas.errors import StorageError
from schemas.receipts import Tally
from transforms.storage.annotations import AnnotatedDocument, EntityFilter, copy_rows, read_annotations, read_records
from transforms.storage.commits import LAYOUTS, OUTPUT_FORMATS, SliceWriter


@pytest.fixture(params=itertools.product(OUTPUT_FORMATS, LAYOUTS), ids=lambda param: "-".join(param))
def commit(request, memory_store, make_slice):
    """Tables in, the receipt of the slice that they are the parts of out; for every format and layout."""
    output_format, layout = request.param

    def run(*tables):
        slice_ = make_slice(rows=sum(table.num_rows for table in tables))
        options = {"output_format": output_format, "layout": layout, "metadata": {}, "attempts": 1}
        writer = SliceWriter(memory_store, slice_, **options)
        for table in tables:
            writer.write(table, (), Tally(documents=table.num_rows))
        return writer.commit()

    run.is_flat = layout == "flat"
    return run


def make_entity(start, score, label="PER"):
    return {"start": start, "end": start + 4, "label": label, "score": score, "text": "Anna"}


def make_table(rows, *, has_below=True):
    fixed = {"source": "/in/0.jsonl", "digest": "0" * 64, "windows": 1, "tokens": 5, "model": "m"}
    return pa.Table.from_pylist([{**fixed, **row} for row in rows], schema=annotation_schema(has_below=has_below))


def make_rows(n_rows, *, first=0, seed=0):
    """Random documents, some without entities, scores such as float32 holds them."""
    draw = random.Random(seed)

    def entities():
        return [make_entity(10 * at, draw.randrange(1, 64) / 64) for at in range(draw.choice((0, 0, 1, 3)))]

    return [{"id": f"doc-{at}", "row": at, "entities": entities(), "below": entities()} for at in range(first, n_rows)]


def to_document(row):
    fields = {field.name: row[field.name] for field in dataclasses.fields(AnnotatedDocument) if field.name in row}
    fixed = {"source": "/in/0.jsonl", "digest": "0" * 64}
    return AnnotatedDocument(**{**fixed, **fields, "entities": tuple(row["entities"]), "below": tuple(row["below"])})


def test_read_annotations_gives_documents_as_they_were_written(commit, memory_store):
    rows = make_rows(500)
    receipt = commit(*(make_table(rows[begin : begin + 100]) for begin in range(0, 500, 100)))
    wanted = [to_document(row) for row in rows if not commit.is_flat or row["entities"] or row["below"]]
    assert list(read_annotations(memory_store, receipt)) == wanted


def test_read_annotations_without_a_column_of_those_below(commit, memory_store):
    rows = [{**row, "below": []} for row in make_rows(50)]
    receipt = commit(make_table(rows, has_below=False))
    wanted = [to_document(row) for row in rows if not commit.is_flat or row["entities"]]
    assert list(read_annotations(memory_store, receipt)) == wanted


def test_read_annotations_gives_the_documents_with_some_ids(commit, memory_store):
    rows = [{**row, "entities": [make_entity(0, 0.5)]} for row in make_rows(3000)]
    receipt = commit(make_table(rows[:2000]), make_table(rows[2000:]))
    found = read_annotations(memory_store, receipt, frozenset({"doc-2999", "doc-5", "nobody"}))
    assert list(found) == [to_document(rows[5]), to_document(rows[2999])]


def test_read_records_gives_the_rows_of_a_range(commit, memory_store):
    rows = [{**row, "entities": [make_entity(0, 0.5)]} for row in make_rows(3000)]
    receipt = commit(make_table(rows[:2000]), make_table(rows[2000:]))
    found = {record["row"] for record in read_records(memory_store, receipt, rows=range(1990, 2010))}
    assert found == set(range(1990, 2010))


def test_read_annotations_of_a_slice_without_documents_gives_none(commit, memory_store):
    assert list(read_annotations(memory_store, commit())) == []


def test_read_annotations_reads_what_is_not_published_yet(store, make_slice, make_writer):
    receipt = make_writer(store, make_slice()).commit()
    before = list(read_annotations(store, receipt))
    (file,) = receipt.files
    store.put(file["attempt"], store.read(file["final"]))
    store.delete(file["final"])
    assert [document.id for document in before] == ["id-0-0", "id-0-1"]
    assert list(read_annotations(store, receipt)) == before


def test_read_annotations_names_a_file_that_is_lost(store, make_slice, make_writer):
    receipt = make_writer(store, make_slice()).commit()
    store.delete(receipt.files[0]["final"])
    with pytest.raises(StorageError, match="lost 'data/part-00000-"):
        list(read_annotations(store, receipt))


def test_read_annotations_tells_of_a_flipped_bit(memory_store, make_slice, make_writer):
    receipt = make_writer(memory_store, make_slice()).commit()
    name = receipt.files[0]["final"]
    content = memory_store.read(name)
    at = content.index(b"id-0-1")
    memory_store.put(name, content[:at] + b"jd-0-1" + content[at + 6 :])
    with pytest.raises(StorageError, match=f"cannot read '{name}', which a run wrote"):
        list(read_annotations(memory_store, receipt))


def test_copy_rows_gives_every_column_of_the_file_that_was_committed_and_of_no_other(
    memory_store, make_slice, make_writer
):
    receipt = make_writer(memory_store, make_slice()).commit()
    name = receipt.files[0]["final"]
    content = memory_store.read(name)
    (batch,) = copy_rows(memory_store, receipt)
    assert pa.Table.from_batches([batch]).equals(pq.read_table(io.BytesIO(content)))
    for at in range(len(content)):
        memory_store.put(name, content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(StorageError, match=f"cannot read '{name}'.*expected SHA-256"):
            list(copy_rows(memory_store, receipt))


@pytest.mark.parametrize(
    ("wanted", "is_selected"),
    [
        (EntityFilter(), True),
        (EntityFilter(labels=frozenset({"LOC"})), True),
        (EntityFilter(labels=frozenset({"ORG"})), False),
        (EntityFilter(labels=frozenset({"ORG", "PER"})), True),
        (EntityFilter(below=0.5), True),
        (EntityFilter(below=0.3), True),
        (EntityFilter(below=0.25), False),
        (EntityFilter(labels=frozenset({"PER"}), below=0.9), True),
        (EntityFilter(labels=frozenset({"PER"}), below=0.5), False),
    ],
)
def test_entity_filter_wants_one_entity_that_meets_everything(wanted, is_selected):
    kept, below = make_entity(0, 0.75), make_entity(9, 0.25, "LOC")
    document = AnnotatedDocument("id", "/in/0.jsonl", 0, "", (kept,), (below,))
    assert wanted.selects(document) is is_selected


def test_entity_filter_that_leaves_nothing_out_selects_a_document_without_entities():
    document = AnnotatedDocument("id", "/in/0.jsonl", 0, "", ())
    assert EntityFilter().selects(document)
    assert not EntityFilter(below=1).selects(document)
