import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.reuse.conftest import digest
from transforms.reuse import index
from transforms.reuse.index import KeyIndex, SliceDigests, make_keys, write_index

_TEXTS = st.lists(st.text("ab", max_size=3), max_size=12)
A, B, C = ("0" * 19 + end for end in "abc")


def _find(store, shards, texts):
    places, slices = KeyIndex(store, shards).find([digest(text) for text in texts])
    return sorted(zip(places.tolist(), slices.tolist(), strict=True))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slices=st.dictionaries(st.binary(min_size=10, max_size=10).map(bytes.hex), _TEXTS, max_size=6),
    asked=_TEXTS,
    shard_keys=st.integers(1, 20),
)
def test_an_index_knows_what_a_dictionary_of_digests_knows(memory_store, slices, asked, shard_keys):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(index, "SHARD_KEYS", shard_keys)
        digests = (SliceDigests(slice_id, [digest(text) for text in texts]) for slice_id, texts in slices.items())
        shards = write_index(memory_store, uuid.uuid4().hex, digests)
    found = _find(memory_store, shards, asked)
    owners = {text: {slice_id for slice_id, own in slices.items() if text in own} for text in asked}
    assert {place for place, _ in found} == {place for place, text in enumerate(asked) if owners[text]}
    assert all(slice_id in owners[asked[place]] for place, slice_id in found)
    assert len(set(found)) == len(found)


def test_an_index_is_read_from_every_store(store):
    shards = write_index(store, "x", [SliceDigests(A, [digest("a"), digest("b")]), SliceDigests(B, [digest("c")])])
    assert _find(store, shards, ["c", "d", "a", "b", "c"]) == [(0, B), (2, A), (3, A), (4, B)]


def test_each_shard_may_know_another_slice_of_a_text(memory_store, monkeypatch):
    monkeypatch.setattr(index, "SHARD_KEYS", 2)
    digests = [SliceDigests(slice_id, [digest("a"), digest(slice_id)]) for slice_id in (A, B, C)]
    shards = write_index(memory_store, "x", digests)
    assert len(shards) == 3
    assert _find(memory_store, shards, ["a"]) == [(0, A), (0, B), (0, C)]


def test_an_index_that_is_there_is_not_written_anew(memory_store):
    shards = write_index(memory_store, "x", [SliceDigests(A, [digest("a")])])
    assert write_index(memory_store, "x", iter(())) == shards
    assert write_index(memory_store, "y", iter(())) == ()


def test_an_index_that_was_swept_reads_as_empty(memory_store):
    shards = write_index(memory_store, "x", [SliceDigests(A, [digest("a")])])
    memory_store.delete(shards[0])
    assert _find(memory_store, shards, ["a"]) == []


def test_keys_are_the_first_eight_bytes_of_a_digest():
    assert make_keys(["f" * 64, "0" * 15 + "1" + "f" * 48]).tolist() == [2**64 - 1, 1]
