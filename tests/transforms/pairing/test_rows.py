import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.annotations import PROBABILITIES_FIELD
from transforms.pairing.rows import read_batches


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
