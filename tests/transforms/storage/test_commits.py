"""The commit protocol of a slice, step by step and under crashes, on every store."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.annotations import PROBABILITIES_FIELD
from schemas.errors import ConfigError, StorageError
from schemas.receipts import Tally
from transforms.storage import commits
from transforms.storage.commits import Member, SliceWriter, claim_slice, flatten_entities, publish_slice, read_receipt
from transforms.storage.runs import complete_run


def read_table(store, name):
    with store.open(name) as file:
        return pq.read_table(file)


def make_empty_writer(store, slice_, **options):
    options = {"output_format": "parquet", "layout": "document", "metadata": {}, "attempts": 1, **options}
    return SliceWriter(store, slice_, **options)


def test_commit_publishes_what_was_written(store, make_slice, make_writer, make_annotations):
    slice_ = make_slice(rows=3)
    make_writer(store, slice_).commit()
    assert store.list("data") == [f"{slice_.name}.parquet"]
    assert read_table(store, f"data/{slice_.name}.parquet").equals(make_annotations("id-0-0", "id-0-1", "id-0-2"))
    assert store.list("_attempts") == []


def test_probabilities_are_packed_byte_by_byte_and_read_back_as_they_were(memory_store, make_slice, make_annotations):
    slice_ = make_slice(rows=3)
    writer = make_empty_writer(memory_store, slice_)
    numbers = np.random.default_rng(0).dirichlet(np.full(9, 0.01), 3000).astype(np.float32)
    own = pa.array([part.ravel() for part in np.split(numbers, 3)], PROBABILITIES_FIELD.type)
    table = make_annotations("a", "b", "c").append_column(PROBABILITIES_FIELD, own)
    writer.write(table, (), Tally(documents=3))
    (file,) = writer.commit().files
    assert read_table(memory_store, file["final"]).equals(table)
    with memory_store.open(file["final"]) as raw:
        group = pq.ParquetFile(raw).metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    encodings = {column.path_in_schema.partition(".")[0]: column.encodings for column in columns}
    assert "BYTE_STREAM_SPLIT" in encodings["probabilities"]
    assert "RLE_DICTIONARY" in encodings["digest"], "others are as they were"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff"])
def test_a_record_that_is_no_receipt_is_named_with_a_remedy(store, content):
    store.put("_commits/abc", content)
    with pytest.raises(StorageError, match=r"expected a commit record in '_commits/abc', found .*; spanmill verify"):
        read_receipt(store, "abc")


def test_commit_returns_the_receipt_that_is_stored(store, make_slice, make_writer):
    slice_ = make_slice(rows=3)
    receipt = make_writer(store, slice_, attempts=4).commit()
    assert read_receipt(store, slice_.slice_id) == receipt
    assert (receipt.rows, receipt.attempts, receipt.tally.documents) == (3, 4, 3)


def test_commit_describes_its_files(store, make_slice, make_writer):
    slice_ = make_slice(rows=3)
    (file,) = make_writer(store, slice_).commit().files
    content = store.read(file["final"])
    assert (file["final"], file["rows"]) == (f"data/{slice_.name}.parquet", 3)
    assert (file["size_bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_commit_joins_the_parts_in_order(store, make_slice, make_annotations):
    slice_ = make_slice(rows=3)
    writer = make_empty_writer(store, slice_)
    writer.write(make_annotations("a", "b"), (), Tally(documents=2, entities={"PER": 2}))
    writer.write(make_annotations("c"), (), Tally(documents=1, entities={"PER": 1, "LOC": 1}))
    receipt = writer.commit()
    assert read_table(store, receipt.files[0]["final"]).column("id").to_pylist() == ["a", "b", "c"]
    assert receipt.tally.entities == {"LOC": 1, "PER": 3}


def test_commit_of_a_second_writer_gives_the_receipt_of_the_first(store, make_slice, make_writer):
    slice_ = make_slice()
    first, second = make_writer(store, slice_, id_="first"), make_writer(store, slice_, id_="second")
    won = first.commit()
    before = store.read(won.files[0]["final"])
    assert second.commit() == won
    assert store.read(won.files[0]["final"]) == before
    assert (store.list("data"), store.list("_attempts")) == ([f"{slice_.name}.parquet"], [])


def test_commit_that_is_overtaken_at_the_record_drops_its_attempt(store, make_slice, make_writer, monkeypatch):
    slice_ = make_slice()
    first, second = make_writer(store, slice_, id_="first"), make_writer(store, slice_, id_="second")
    put_if_absent, won = store.put_if_absent, []

    def put_late(name, content):
        monkeypatch.setattr(store, "put_if_absent", put_if_absent)
        won.append(first.commit())
        return put_if_absent(name, content)

    monkeypatch.setattr(store, "put_if_absent", put_late)
    assert [second.commit()] == won
    assert store.list("_attempts") == []
    assert read_table(store, won[0].files[0]["final"]).column("id").to_pylist() == ["first-0-0", "first-0-1"]


def test_commit_of_a_late_writer_whose_attempt_was_swept_gives_the_winners_receipt(
    store, make_slice, make_writer, make_manifest
):
    slice_ = make_slice()
    late = make_writer(store, slice_, id_="late")
    won = make_writer(store, slice_).commit()
    complete_run(store, make_manifest())
    assert late.commit() == won
    assert store.list("_attempts") == []


def test_crash_before_the_commit_leaves_no_data(store, make_slice, make_writer, monkeypatch):
    slice_ = make_slice()

    def crash(name, content):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "put_if_absent", crash)
        with pytest.raises(KeyboardInterrupt):
            make_writer(store, slice_).commit()
    assert (store.list("data"), read_receipt(store, slice_.slice_id)) == ([], None)
    assert len(store.list("_attempts")) == 1
    make_writer(store, slice_).commit()
    assert store.list("data") == [f"{slice_.name}.parquet"]


def test_crash_before_publishing_is_rolled_forward_by_anyone(store, make_slice, make_writer, monkeypatch):
    slice_ = make_slice()

    def crash(store, receipt):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(commits, "publish_slice", crash)
        with pytest.raises(KeyboardInterrupt):
            make_writer(store, slice_).commit()
    assert store.list("data") == []
    receipt = read_receipt(store, slice_.slice_id)
    publish_slice(store, receipt)
    publish_slice(store, receipt)
    assert read_table(store, f"data/{slice_.name}.parquet").num_rows == 2
    assert store.list("_attempts") == []


def test_publish_slice_of_a_lost_file_fails_loudly(store, make_slice, make_writer):
    receipt = make_writer(store, make_slice()).commit()
    store.delete(receipt.files[0]["final"])
    with pytest.raises(StorageError, match="lost 'data/part-00000-"):
        publish_slice(store, receipt)


def test_publish_slice_of_a_damaged_file_without_attempt_does_not_touch_it(store, make_slice, make_writer):
    receipt = make_writer(store, make_slice()).commit()
    store.put(receipt.files[0]["final"], b"short")
    publish_slice(store, receipt)
    assert store.read(receipt.files[0]["final"]) == b"short"


def test_abandon_leaves_nothing(store, make_slice, make_writer):
    make_writer(store, make_slice()).abandon()
    assert list(store.walk()) == []


@pytest.mark.parametrize(("documents", "dead"), [(1, 0), (3, 0), (2, 1), (0, 0)])
def test_commit_refuses_counts_that_do_not_add_up(memory_store, make_slice, make_annotations, documents, dead):
    slice_ = make_slice(rows=2)
    writer = make_empty_writer(memory_store, slice_)
    writer.write(make_annotations("a"), (), Tally(documents=documents, dead_rows=dead))
    with pytest.raises(StorageError, match=f"expected 2 documents in slice {slice_.slice_id}, found {documents} annot"):
        writer.commit()
    assert read_receipt(memory_store, slice_.slice_id) is None
    writer.abandon()


def test_commit_refuses_a_file_of_another_size(posix_store, make_slice, make_writer, tmp_path):
    slice_ = make_slice()
    writer = make_writer(posix_store, slice_)
    (attempt,) = (tmp_path / "run" / "_attempts").iterdir()
    with attempt.open("ab") as file:
        file.write(b"zombie" * 9999)
    with pytest.raises(StorageError, match=r"expected \d+ bytes in '_attempts/.*', found \d+"):
        writer.commit()
    assert posix_store.list("data") == []


def test_commit_writes_dead_letters_only_when_there_are_any(store, make_slice, make_annotations, make_letter):
    slice_ = make_slice(rows=2)
    writer = make_empty_writer(store, slice_)
    writer.write(make_annotations("a"), (make_letter(1),), Tally(documents=1, dead={"bad_utf8": 1}, dead_rows=1))
    data, dead = writer.commit().files
    assert (data["final"], dead["final"]) == (f"data/{slice_.name}.parquet", f"dead/{slice_.name}.parquet")
    assert read_table(store, dead["final"]).column("row").to_pylist() == [1]
    make_writer_files = make_empty_writer(store, make_slice(rows=0, number=1)).commit().files
    assert (make_writer_files, store.list("dead")) == ((), [f"{slice_.name}.parquet"])


def test_commit_of_dead_letters_alone_writes_no_data(memory_store, make_slice, make_letter):
    slice_ = make_slice(rows=5)
    writer = make_empty_writer(memory_store, slice_)
    writer.write(None, (make_letter(None),), Tally(dead={"file_unreadable": 1}, dead_rows=5))
    (file,) = writer.commit().files
    assert (file["final"], memory_store.list("data")) == (f"dead/{slice_.name}.parquet", [])


def test_commit_writes_dead_letters_as_parquet_beside_json_lines(memory_store, make_slice, make_letter):
    slice_ = make_slice(rows=1)
    writer = make_empty_writer(memory_store, slice_, output_format="jsonl")
    writer.write(None, (make_letter(0),), Tally(dead={"bad_utf8": 1}, dead_rows=1))
    assert writer.commit().files[0]["final"] == f"dead/{slice_.name}.parquet"


def test_commit_writes_page_checksums(posix_store, make_slice, make_writer, tmp_path):
    (file,) = make_writer(posix_store, make_slice()).commit().files
    path = tmp_path / "run" / file["final"]
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    begin = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(path.read_bytes())
    content[begin + column.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(path, page_checksum_verification=True).read()


def test_commit_names_the_slice_in_the_footer(memory_store, make_slice, make_writer):
    slice_ = make_slice()
    (file,) = make_writer(memory_store, slice_).commit().files
    metadata = read_table(memory_store, file["final"]).schema.metadata
    assert (metadata[b"spanmill.slice"], metadata[b"spanmill.model"]) == (slice_.slice_id.encode(), b"m")


def test_commit_writes_a_row_per_entity_in_the_flat_layout(memory_store, make_slice, make_writer):
    (file,) = make_writer(memory_store, make_slice(), layout="flat").commit().files
    rows = read_table(memory_store, file["final"]).to_pylist()
    assert [(row["id"], row["start"], row["label"]) for row in rows] == [
        ("id-0-0", 0, "PER"),
        ("id-0-0", 9, "LOC"),
        ("id-0-1", 0, "PER"),
        ("id-0-1", 9, "LOC"),
    ]


def test_commit_writes_a_line_per_document_as_json(memory_store, make_slice, make_writer, make_annotations):
    slice_ = make_slice()
    (file,) = make_writer(memory_store, slice_, output_format="jsonl", id_="é\n").commit().files
    assert file["final"] == f"data/{slice_.name}.jsonl"
    lines = memory_store.read(file["final"]).decode().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == make_annotations("é\n-0-0", "é\n-0-1").to_pylist()
    assert lines[-1] == ""


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x"]).dictionary_encode(),
        pa.array([[1, 2]], pa.list_(pa.field("element", pa.int32()))),
        pa.array([1_001], pa.timestamp("ns")),
        pa.array([{"a": b"\xff"}]),
    ],
    ids=lambda column: str(column.type),
)
def test_commit_keeps_the_types_of_kept_columns(memory_store, make_slice, make_annotations, column):
    writer = make_empty_writer(memory_store, make_slice(rows=1))
    table = make_annotations("a").append_column("kept", column)
    writer.write(table, (), Tally(documents=1))
    (file,) = writer.commit().files
    assert read_table(memory_store, file["final"]).column("kept").combine_chunks().equals(column)


@pytest.mark.parametrize("id_", ["../../x", "/etc/passwd", "x" * 10_000, "<script>"])
def test_commit_never_takes_a_name_from_an_id(store, make_slice, make_writer, id_):
    slice_ = make_slice(rows=1)
    make_writer(store, slice_, id_=id_).commit()
    assert sorted(store.walk()) == [f"_commits/{slice_.slice_id}", f"data/{slice_.name}.parquet"]


@pytest.mark.parametrize("options", [{"output_format": "csv"}, {"layout": "wide"}])
def test_slice_writer_refuses_unknown_forms(memory_store, make_slice, options):
    with pytest.raises(ConfigError, match="expected a format of"):
        make_empty_writer(memory_store, make_slice(), **options)


def test_claim_slice_counts_how_often_it_began(store, make_slice):
    assert [claim_slice(store, make_slice().slice_id, Member()) for _ in range(3)] == [(1, 0), (2, 0), (3, 0)]


def test_claim_slice_counts_each_slice_by_itself(memory_store, make_slice):
    claim_slice(memory_store, make_slice().slice_id, Member())
    assert claim_slice(memory_store, make_slice(number=1).slice_id, Member()) == (1, 0)


def test_claim_slice_leaves_to_a_living_member_of_the_crew_what_that_one_has_begun(store, make_slice):
    slice_id = make_slice().slice_id
    assert claim_slice(store, slice_id, Member("crew", "first")) == (1, 0)
    assert claim_slice(store, slice_id, Member("crew", "second")) is None
    assert claim_slice(store, slice_id, Member("crew", "first")) == (2, 0), "its own"
    assert claim_slice(store, slice_id, Member("crew", "third", dead=frozenset({"first"}))) == (3, 2)
    assert claim_slice(store, slice_id, Member("crew", "second", dead=frozenset({"first"}))) is None
    assert claim_slice(store, slice_id, Member("another crew", "fourth")) == (4, 0)


def test_claim_slice_takes_a_claim_that_it_cannot_read_for_a_stranger_s(store, make_slice):
    slice_id = make_slice().slice_id
    store.put(f"_claims/{slice_id}.1", b"\xff not JSON")
    assert claim_slice(store, slice_id, Member("crew", "first")) == (2, 0)


def test_read_receipt_of_no_commit_is_none(store):
    assert read_receipt(store, "0" * 20) is None


def test_flatten_entities_marks_those_below(make_annotations):
    flat = flatten_entities(make_annotations("a", "b", has_below=True)).to_pylist()
    assert [(row["id"], row["label"], row["is_below"]) for row in flat] == [
        ("a", "PER", False),
        ("b", "PER", False),
        ("a", "LOC", True),
        ("b", "LOC", True),
    ]


def test_flatten_entities_of_documents_without_any_is_empty(make_annotations):
    table = make_annotations("a")
    empty = table.set_column(4, table.schema.field(4), pa.array([[]], table.schema.field(4).type))
    flat = flatten_entities(empty)
    assert (flat.num_rows, "entities" in flat.column_names) == (0, False)


def test_flatten_entities_of_a_sliced_table_takes_its_own_rows(make_annotations):
    flat = flatten_entities(make_annotations("a", "b", "c").slice(1, 1))
    assert flat.column("id").to_pylist() == ["b", "b"]
