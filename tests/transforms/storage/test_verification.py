"""Committed slices that are damaged in every way, and what is found."""

import json

import pytest

from transforms.storage.commits import CLAIMS, COMMITS, Member, claim_slice, retire_slices
from transforms.storage.manifests import OutputFiles
from transforms.storage.verification import check_files, find_receipt, find_strangers


@pytest.fixture
def committed(store, make_slice, make_writer):
    """A committed slice and its receipt."""
    slice_ = make_slice(rows=3)
    return slice_, make_writer(store, slice_).commit()


def _outputs(receipt):
    outputs = OutputFiles()
    outputs.add(receipt)
    return outputs


def _problems(store, receipt):
    return [finding.problem for finding in check_files(store, receipt)]


def test_a_slice_as_it_was_committed_has_no_findings(store, committed):
    slice_, receipt = committed
    assert find_receipt(store, slice_) == (receipt, [])
    assert check_files(store, receipt) == []
    assert find_strangers(store, _outputs(receipt)) == []


def test_a_slice_that_is_not_committed_has_neither_receipt_nor_findings(store, make_slice):
    assert find_receipt(store, make_slice(rows=3)) == (None, [])


def test_a_file_that_is_gone_is_lost(store, committed):
    _, receipt = committed
    store.delete(receipt.files[0]["final"])
    (problem,) = _problems(store, receipt)
    assert problem.startswith("lost")


def test_a_file_that_waits_for_its_final_name_is_not_lost(store, committed):
    _, receipt = committed
    (file,) = receipt.files
    store.put(file["attempt"], store.read(file["final"]))
    store.delete(file["final"])
    assert check_files(store, receipt) == []


@pytest.mark.parametrize("place", [4, -100, -9], ids=["data", "footer", "end"])
def test_a_byte_that_flipped_is_found(store, committed, place):
    _, receipt = committed
    name = receipt.files[0]["final"]
    content = bytearray(store.read(name))
    content[place] ^= 1
    store.put(name, bytes(content))
    (problem,) = _problems(store, receipt)
    assert problem.startswith(f"expected {len(content):,} bytes with SHA-256")


def test_a_file_that_was_cut_is_found(store, committed):
    _, receipt = committed
    name = receipt.files[0]["final"]
    store.put(name, store.read(name)[:-10])
    (problem,) = _problems(store, receipt)
    assert f"found {receipt.files[0]['size_bytes'] - 10:,} with" in problem


def test_a_file_of_another_slice_is_found_even_when_the_record_was_made_for_it(store, make_slice, make_writer):
    one, other = make_slice(rows=3, number=0), make_slice(rows=3, number=1)
    receipt, stranger = make_writer(store, one).commit(), make_writer(store, other).commit()
    (file,), (strange,) = receipt.files, stranger.files
    store.put(file["final"], store.read(strange["final"]))
    file |= {"sha256": strange["sha256"], "size_bytes": strange["size_bytes"]}
    (problem,) = _problems(store, receipt)
    assert problem == f"expected 3 rows of slice {one.slice_id}, found 3 of {other.slice_id}"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"slice_id": "x"}'])
def test_a_record_that_is_none_is_a_finding(store, committed, content):
    slice_, _ = committed
    store.put(f"{COMMITS}/{slice_.slice_id}", content)
    receipt, (finding,) = find_receipt(store, slice_)
    assert receipt is None
    assert finding.name == f"{COMMITS}/{slice_.slice_id}"


def test_a_record_of_other_counts_is_a_finding(store, committed):
    slice_, receipt = committed
    told = receipt.to_json()
    told["tally"]["documents"] = 2
    store.put(f"{COMMITS}/{slice_.slice_id}", json.dumps(told).encode())
    receipt, (finding,) = find_receipt(store, slice_)
    assert receipt is None
    assert "expected 3 documents" in finding.problem


def test_a_file_that_no_record_names_is_a_stranger(store, committed):
    _, receipt = committed
    store.put("data/part-9.parquet", b"")
    assert [finding.name for finding in find_strangers(store, _outputs(receipt))] == ["data/part-9.parquet"]


def test_a_retired_slice_is_as_if_it_had_never_been(store, committed, make_writer):
    slice_, receipt = committed
    retire_slices(store, [slice_], "parquet")
    assert find_receipt(store, slice_) == (None, [])
    assert store.list("data") == []
    again = make_writer(store, slice_).commit()
    assert again.files[0]["sha256"] == receipt.files[0]["sha256"]
    assert check_files(store, again) == []


def test_slices_are_retired_with_all_of_their_claims_and_none_of_others(
    memory_store, make_slice, make_writer, monkeypatch
):
    slices = [make_slice(number=number) for number in range(5)]
    for slice_ in slices:
        for _ in range(2):
            claim_slice(memory_store, slice_.slice_id, Member())
        make_writer(memory_store, slice_).commit()
    listed, list_ = [], memory_store.list
    monkeypatch.setattr(memory_store, "list", lambda folder: listed.append(folder) or list_(folder))
    retire_slices(memory_store, slices[1:], "parquet")
    assert listed == [CLAIMS]
    assert list_(CLAIMS) == [f"{slices[0].slice_id}.1", f"{slices[0].slice_id}.2"]
    assert list_(COMMITS) == [slices[0].slice_id]
    assert list_("data") == [f"{slices[0].name}.parquet"]
