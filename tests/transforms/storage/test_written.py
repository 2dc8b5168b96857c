"""Files of a run that were damaged after it wrote them."""

import pyarrow as pa
import pytest

from schemas.errors import StorageError
from transforms.storage.written import opened_parquet


@pytest.mark.parametrize(
    "read", [lambda parquet: pa.Table.from_batches(parquet.batches(most_rows=2)), lambda parquet: parquet.table()]
)
def test_a_flipped_bit_before_the_footer_is_told_or_changes_nothing(memory_store, make_slice, make_writer, read):
    (file,) = make_writer(memory_store, make_slice(rows=5)).commit().files
    content = memory_store.read(file["final"])
    with opened_parquet(memory_store, file["final"]) as parquet:
        written = read(parquet)
    assert written.num_rows == 5
    n_told = 0
    for at in range(len(content) - int.from_bytes(content[-8:-4], "little") - 8):
        memory_store.put("damaged", content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        try:
            with opened_parquet(memory_store, "damaged") as parquet:
                assert read(parquet).equals(written)
        except StorageError as error:
            assert "cannot read 'damaged', which a run wrote" in str(error)
            n_told += 1
    assert n_told


def test_some_columns_are_read_where_only_these_are_wanted(memory_store, make_slice, make_writer):
    (file,) = make_writer(memory_store, make_slice()).commit().files
    with opened_parquet(memory_store, file["final"]) as parquet:
        assert parquet.table(["id"]).to_pydict() == {"id": ["id-0-0", "id-0-1"]}
        assert [batch.num_rows for batch in parquet.batches(["row"], most_rows=1)] == [1, 1]
        assert "entities" in parquet.schema.names
