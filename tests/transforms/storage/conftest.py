"""Slices to commit in the stores that the contract is tested on."""

import pyarrow as pa
import pytest

from schemas.annotations import annotation_schema
from schemas.dead_letters import dead_letter
from schemas.errors import ParseError
from schemas.manifest import Manifest
from schemas.receipts import Tally
from schemas.slices import FileRef, Slice
from transforms.storage.commits import SliceWriter


@pytest.fixture
def make_slice():
    """A slice of `rows` documents, another file for each number."""

    def make(rows=2, number=0, version="1"):
        file = FileRef(f"/in/{number}.jsonl", 100, version)
        return Slice(file, "jsonl", 0, 100, 0, rows, number)

    return make


@pytest.fixture
def make_annotations():
    """Ids in, a row for each out: two entities, one of them below its threshold if those are kept."""

    def make(*ids, has_below=False, source="/in/0.jsonl"):
        anna = {"start": 0, "end": 4, "label": "PER", "score": 0.75, "text": "Anna"}
        bonn = {"start": 9, "end": 13, "label": "LOC", "score": 0.25, "text": "Bonn"}
        row = {"source": source, "digest": "0" * 64, "windows": 1, "tokens": 5, "model": "m"}
        row |= {"entities": [anna], "below": [bonn]} if has_below else {"entities": [anna, bonn]}
        rows = [{**row, "id": id_, "row": at} for at, id_ in enumerate(ids)]
        return pa.Table.from_pylist(rows, schema=annotation_schema(has_below=has_below))

    return make


@pytest.fixture
def make_letter():
    """Row in, a dead letter out."""

    def make(row):
        return dead_letter("/in/0.jsonl", ParseError("bad_utf8", "expected UTF-8"), stage="read", row=row)

    return make


@pytest.fixture
def make_writer(make_annotations):
    """Store and slice in, an attempt that holds all of the slice's documents and is not committed out."""

    def make(store, slice_, *, output_format="parquet", layout="document", attempts=1, id_="id"):
        options = {"output_format": output_format, "layout": layout, "metadata": {"model": "m"}}
        writer = SliceWriter(store, slice_, attempts=attempts, **options)
        ids = [f"{id_}-{slice_.number}-{row}" for row in range(slice_.rows)]
        writer.write(make_annotations(*ids), (), Tally(documents=slice_.rows))
        return writer

    return make


@pytest.fixture
def make_manifest():
    """An empty manifest."""

    def make():
        return Manifest("f" * 16, {}, {}, (), (), {}, 0.0)

    return make
