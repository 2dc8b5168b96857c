"""A catalog in a folder, and made-up runs to publish."""

import pyarrow as pa
import pytest

from schemas.annotations import annotation_schema


@pytest.fixture
def catalog_properties(tmp_path):
    """Where a catalog in SQLite and its warehouse lie."""
    (tmp_path / "lake").mkdir()
    return {"uri": f"sqlite:///{tmp_path}/lake/catalog.db", "warehouse": f"file://{tmp_path}/lake"}


@pytest.fixture
def catalog(catalog_properties):
    pytest.importorskip("pyiceberg")
    from transforms.lake.iceberg import open_catalog

    opened = open_catalog("test", catalog_properties)
    yield opened
    opened.close()


def make_publication(run="a" * 16, corpus="c" * 16, *, digest="1", n_rows=5, kept=(), before_end=None):
    """A run of some documents, each with an entity; `before_end` is called when its rows have been read."""
    from transforms.lake.iceberg import Publication

    schema = annotation_schema([pa.field(name, type_) for name, type_ in kept])
    entity = {"start": 0, "end": 4, "label": "PER", "score": 0.5, "text": "Anna"}
    rows = [
        {
            "id": f"{run}-{at}",
            "source": "a.txt",
            "row": at,
            "digest": digest,
            "entities": [entity] * (at % 3),
            "windows": 1,
            "tokens": 4,
            "model": "m",
            **{name: at for name, _ in kept},
        }
        for at in range(n_rows)
    ]

    def read():
        yield from pa.Table.from_pylist(rows, schema=schema).to_batches(max_chunksize=2)
        if before_end:
            before_end()

    return Publication(run=run, corpus=corpus, digest=digest, schema=schema, rows=n_rows, read=read)
