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


def test_slice_survives_json():
    assert Slice.from_json(_SLICE.to_json()) == _SLICE


def test_slice_name_holds_nothing_of_the_file_name():
    hostile = dataclasses.replace(_SLICE, file=FileRef("../../etc/passwd", 1, "1"))
    assert "/" not in hostile.name
    assert "passwd" not in hostile.name
