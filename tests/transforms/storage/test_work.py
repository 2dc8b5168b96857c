"""Work lists: small names for many slices, with secrets that are in no file."""

import dataclasses

import pytest

from schemas.slices import FileRef, Slice
from schemas.tables import SliceTable
from transforms.storage import shards
from transforms.storage.work import WORK, listed_work, read_work, sweep_work

GIVEN = (
    FileRef("https://host/a.txt?sig=secret", 10, "1"),
    FileRef("ftp://me:secret@host/b.txt", 10, "1"),
    FileRef("/c.txt", 10, "1"),
)


@pytest.fixture
def slices():
    return SliceTable.of(Slice(file, "text", 0, 10, 0, 1, number) for number, file in enumerate(GIVEN * 2))


def test_a_list_is_read_in_its_order_with_secrets_that_it_does_not_hold(store, slices, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)
    with listed_work(store, slices) as listed:
        read = [slice_ for name in listed.names for slice_ in read_work(store, name, listed.secrets)]
        assert len(listed.names) == 2
        assert not any(b"secret@" in store.read(name) or b"sig=" in store.read(name) for name in listed.names)
    assert [dataclasses.astuple(slice_) for slice_ in read] == [dataclasses.astuple(slice_) for slice_ in slices]


def test_a_list_is_gone_when_its_work_ends(store, slices):
    with pytest.raises(KeyboardInterrupt), listed_work(store, slices):
        raise KeyboardInterrupt
    assert store.list(WORK) == []


def test_a_list_that_was_swept_reads_as_empty(store, slices):
    with listed_work(store, slices) as listed:
        sweep_work(store, 0)
        assert [*read_work(store, listed.names[0], listed.secrets)] == []


def test_lists_of_later_plans_are_not_swept(store, slices):
    for number in (1, 2, 3):
        store.put(f"_plan{'' if number == 1 else f'.{number:04d}'}.json", b"{}")
    with listed_work(store, slices) as listed:
        sweep_work(store, 2)
        assert len([*read_work(store, listed.names[0], listed.secrets)]) == 6
        sweep_work(store, 3)
        assert store.list(WORK) == []
