"""Slices of an earlier run, whose rows are known by the numbers of their tokens."""

import hashlib

import pyarrow as pa
import pytest

from schemas.annotations import PROBABILITIES_FIELD, annotation_schema
from schemas.receipts import Tally
from schemas.slices import FileRef, Slice
from transforms.storage.commits import SliceWriter


def digest(text):
    """Of a text, as its row has it."""
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def commit():
    """Store, number of a slice and texts in, its receipt out; entities are given by column for each text."""

    def run(store, number, texts, *, output_format="parquet", has_below=False, **columns):
        slice_ = Slice(FileRef(f"/in/{number}.txt", 100, "1"), "txt", 0, 100, 0, len(texts), number)
        own = [PROBABILITIES_FIELD] if "probabilities" in columns else []
        columns = {name: columns.get(name, [[] for _ in texts]) for name in ("entities", "below", "probabilities")}
        rows = [
            {
                "id": "",
                "source": "f",
                "row": at,
                "digest": digest(text),
                "windows": 1,
                "tokens": len(text),
                "model": "m",
            }
            | {name: column[at] for name, column in columns.items()}
            for at, text in enumerate(texts)
        ]
        writer = SliceWriter(store, slice_, output_format=output_format, layout="document", metadata={}, attempts=1)
        table = pa.Table.from_pylist(rows, schema=annotation_schema(own, has_below=has_below))
        writer.write(table, (), Tally(documents=len(texts)))
        return writer.commit()

    return run
