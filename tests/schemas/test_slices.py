import dataclasses

import pytest

from schemas.slices import FileRef, Slice

_SLICE = Slice(FileRef("a.txt", 10, "1"), "text", 0, 10, 0, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"file": FileRef("b.txt", 10, "1")},
        {"file": FileRef("a.txt", 11, "1")},
        {"file": FileRef("a.txt", 10, "2")},
        {"start": 1},
        {"end": 9},
        {"format": "jsonl"},
    ],
)
def test_slice_id_changes_with_content_and_cut(change):
    assert dataclasses.replace(_SLICE, **change).slice_id != _SLICE.slice_id


def test_slice_id_does_not_change_with_its_place_in_the_plan():
    assert dataclasses.replace(_SLICE, number=7).slice_id == _SLICE.slice_id


def test_slice_name_holds_nothing_of_the_file_name():
    hostile = dataclasses.replace(_SLICE, file=FileRef("../../etc/passwd", 1, "1"))
    assert "/" not in hostile.name
    assert "passwd" not in hostile.name


def test_slice_id_of_a_file_is_what_it_has_always_been():
    assert _SLICE.slice_id == "0eea46ce10abaf69d5b6"


@pytest.mark.parametrize(
    "uri", ["https://host/a.txt", "https://me:secret@host/a.txt", "https://me:other@host/a.txt?sig=secret"]
)
def test_slice_id_does_not_change_with_a_secret(uri):
    plain = dataclasses.replace(_SLICE, file=FileRef("https://host/a.txt", 10, "1"))
    assert dataclasses.replace(_SLICE, file=FileRef(uri, 10, "1")).slice_id == plain.slice_id
