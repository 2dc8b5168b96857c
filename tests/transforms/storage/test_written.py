"""Files of a run that were damaged after it wrote them."""

from unittest import mock

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


def test_a_file_that_is_lost_is_told_with_a_remedy_and_one_that_is_refused_without(memory_store, monkeypatch):
    with pytest.raises(StorageError, match=r"cannot read 'gone', .*; spanmill verify --repair"):
        opened_parquet(memory_store, "gone").__enter__()
    for error in (PermissionError("no"), OSError(5, "bad disk")):
        monkeypatch.setattr(memory_store, "open", mock.Mock(side_effect=error))
        with pytest.raises(StorageError, match=r"cannot read 'mine', which a run wrote: (no|.*bad disk)$"):
            opened_parquet(memory_store, "mine").__enter__()


def test_some_columns_are_read_where_only_these_are_wanted(memory_store, make_slice, make_writer):
    (file,) = make_writer(memory_store, make_slice()).commit().files
    with opened_parquet(memory_store, file["final"]) as parquet:
        assert parquet.table(["id"]).to_pydict() == {"id": ["id-0-0", "id-0-1"]}
        assert [batch.num_rows for batch in parquet.batches(["row"], most_rows=1)] == [1, 1]
        assert "entities" in parquet.schema.names
