"""Work lists: small names for many slices, with secrets that are in no file."""

import dataclasses

import pytest

from schemas.slices import FileRef, Slice
from schemas.tables import SliceTable
from transforms.combining.documents import SharedSlice, SharedTable
from transforms.join import RunFiles, RunFileTable
from transforms.pairing.tagged import TaggedFiles, TaggedTable
from transforms.storage import shards
from transforms.storage.work import WORK, listed_work, read_work, sweep_work

GIVEN = (
    FileRef("https://host/a.txt?sig=secret", 10, "1"),
    FileRef("ftp://me:secret@host/b.txt", 10, "1"),
    FileRef("/c.txt", 10, "1"),
)


@pytest.fixture
def store(store):
    """Each store in turn, with a run of one plan."""
    store.put("_plan.json", b"{}")
    return store


@pytest.fixture
def slices():
    return SliceTable.of(Slice(file, "text", 0, 10, 0, 1, number) for number, file in enumerate(GIVEN * 2))


def test_a_list_is_read_in_its_order_with_secrets_that_it_does_not_hold(store, slices, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)
    with listed_work(store, slices) as listed:
        read = [slice_ for name in listed.names for slice_ in read_work(store, listed, name)]
        assert len(listed.names) == 2
        assert not any(b"secret@" in store.read(name) or b"sig=" in store.read(name) for name in listed.names)
    assert [dataclasses.astuple(slice_) for slice_ in read] == [dataclasses.astuple(slice_) for slice_ in slices]


def test_a_list_is_gone_when_its_work_ends(store, slices):
    with pytest.raises(KeyboardInterrupt), listed_work(store, slices):
        raise KeyboardInterrupt
    assert store.list(WORK) == []


def test_a_list_that_was_swept_reads_as_empty(store, slices):
    with listed_work(store, slices) as listed:
        sweep_work(store, 1)
        assert [*read_work(store, listed, listed.names[0])] == []


def test_lists_of_later_plans_are_not_swept(store, slices):
    for number in (2, 3):
        store.put(f"_plan.{number:04d}.json", b"{}")
    with listed_work(store, slices) as listed:
        sweep_work(store, 2)
        assert len([*read_work(store, listed, listed.names[0])]) == 6
        sweep_work(store, 3)
        assert store.list(WORK) == []


def test_what_is_no_run_has_its_lists_beside_its_results_for_as_long(store, slices):
    store.delete("_plan.json")
    with listed_work(store, slices) as listed:
        assert store.list("") == sorted(listed.names)
        assert [*read_work(store, listed, listed.names[0])] == [*slices]
    assert store.list("") == []


_CUT = [Slice(file, "text", 0, 10, 0, 1, number) for number, file in enumerate(GIVEN)]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (RunFileTable, [RunFiles(_CUT[0], "data/a.parquet", ""), RunFiles(_CUT[2], "", "dead/b.parquet")]),
        (SharedTable, [SharedSlice(_CUT[1], (("a", "b"), ())), SharedSlice(_CUT[2], ((), ("c",)))]),
        (TaggedTable, [TaggedFiles(GIVEN[0], GIVEN[1]), TaggedFiles(GIVEN[2], None, "0,3")]),
        (TaggedTable, [TaggedFiles(GIVEN[2], GIVEN[0])]),
    ],
)
def test_other_rows_than_slices_come_back_as_what_they_are(store, kind, rows):
    with listed_work(store, kind.of(rows)) as listed:
        (name,) = listed.names
        assert not any(secret in store.read(name) for secret in (b"secret@", b"sig="))
        assert list(read_work(store, listed, name)) == rows
