import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.annotations import PROBABILITIES_FIELD
from schemas.errors import StorageError
from transforms.pairing.joined import PREDICTED_SCHEMA
from transforms.pairing.rows import read_batches, read_dead_rows


@pytest.mark.parametrize(
    ("field", "is_read"), [(PROBABILITIES_FIELD, False), (pa.field("probabilities", pa.list_(pa.float32())), True)]
)
def test_probabilities_of_tokens_are_left_where_they_are_and_kept_columns_of_that_name_read(
    memory_store, field, is_read
):
    table = pa.table([["a", "b"], [[0.5], []]], schema=pa.schema([pa.field("id", pa.string()), field]))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    memory_store.put("data/x.parquet", sink.getvalue())
    (batch,) = read_batches(memory_store, "data/x.parquet")
    assert batch.equals(table if is_read else table.select(["id"]))


@pytest.mark.parametrize(
    "read", [lambda *file: list(read_batches(*file)), lambda *file: read_dead_rows(*file, PREDICTED_SCHEMA)]
)
def test_a_flipped_bit_in_a_page_is_told(memory_store, read):
    names = ["id-0", "id-1", "id-2"]
    columns = {"id": names, "source": ["a.txt"] * 3, "row": [0, 1, 2], "digest": ["0" * 64] * 3}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="none", write_page_checksum=True, write_statistics=False)
    content = sink.getvalue()
    memory_store.put("data/x.parquet", content)
    read(memory_store, "data/x.parquet")
    memory_store.put("data/x.parquet", content.replace(b"id-2", b"id-3", 1))
    with pytest.raises(StorageError, match=r"cannot read 'data/x\.parquet', which a run wrote"):
        read(memory_store, "data/x.parquet")
