"""Tables that read as sequences of files and slices."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.slices import FileRef, Slice
from schemas.tables import FileTable, SliceTable

_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_NUMBERS = st.integers(0, 1 << 50)
_FILES = st.builds(FileRef, _NAMES, _NUMBERS, _NAMES)
_SLICES = st.builds(
    Slice,
    _FILES,
    st.sampled_from(["parquet", "jsonl", "text", "conll"]),
    _NUMBERS,
    _NUMBERS,
    _NUMBERS,
    _NUMBERS,
    _NUMBERS,
    _NAMES,
)


@settings(deadline=None)
@given(st.lists(_SLICES, max_size=9))
def test_slices_survive_their_table_with_the_ids_that_they_had(slices):
    table = SliceTable.of(slices)
    assert list(table) == slices
    assert table.ids.to_pylist() == [slice_.slice_id for slice_ in slices]


@settings(deadline=None)
@given(st.lists(_FILES, max_size=9), st.integers(-9, 9), st.integers(-9, 9))
def test_a_table_is_indexed_and_cut_like_a_list(files, start, stop):
    table = FileTable.of(files)
    assert (len(table), list(table[start:stop])) == (len(files), files[start:stop])
    assert [table[at] for at in range(-len(files), len(files))] == [*files, *files]
    with pytest.raises(IndexError):
        table[len(files)]


@settings(deadline=None)
@given(st.lists(_FILES, max_size=20))
def test_sorted_once_has_every_uri_once_in_the_order_of_strings(files):
    assert [file.uri for file in FileTable.of(files).sorted_once()] == sorted({file.uri for file in files})


def test_a_table_taken_as_rows_is_the_same_table():
    table = FileTable.of([FileRef("a", 1, "1")])
    assert FileTable.of(table) is table


def test_slices_of_a_file_share_what_is_known_of_it():
    file, other = FileRef("a", 1, "1"), FileRef("b", 1, "1")
    first, second, third = SliceTable.of([Slice(f, "text", 0, 1, 0, 1) for f in (file, file, other)])
    assert first.file is second.file
    assert third.file == other


@pytest.mark.parametrize("uri", ["https://me:secret@host/a.txt", "https://host/a.txt?sig=secret"])
def test_a_table_without_secrets_says_that_it_lacks_them(uri):
    slice_ = Slice(FileRef(uri, 10, "1"), "text", 0, 10, 0, 2)
    (kept,) = SliceTable.of([slice_]).without_secrets()
    assert (kept.file.uri, kept.file.lacks_secret, kept.slice_id) == ("https://host/a.txt", True, slice_.slice_id)
    (again,) = SliceTable.of([kept]).without_secrets()
    assert again.file.lacks_secret


def test_relisted_gives_secrets_back_to_what_is_listed_and_leaves_the_rest():
    given_ = FileRef("ftp://me:secret@host/a.txt", 1, "1")
    gone = FileRef("ftp://host/b.txt", 1, "1", lacks_secret=True)
    kept = FileTable.of([given_.without_secret(), gone])
    first, second = kept.relisted(FileTable.of([given_]))
    assert (first.uri, first.lacks_secret) == (given_.uri, False)
    assert (second.uri, second.lacks_secret) == (gone.uri, True)


def test_files_and_slices_take_no_dictionary_each():
    file = FileRef("a", 1, "1")
    for value in (file, Slice(file, "text", 0, 1, 0, 1)):
        assert not hasattr(value, "__dict__")
        assert dataclasses.replace(value) == value
