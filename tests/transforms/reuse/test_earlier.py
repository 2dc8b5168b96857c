import uuid

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transforms.reuse.conftest import digest
from transforms.reuse import earlier
from transforms.reuse.earlier import EarlierRun, Written, read_digests
from transforms.reuse.index import KeyIndex, SliceDigests, write_index
from transforms.storage.commits import COMMITS

_WRITTEN = Written(("",), has_below=False, is_routed=False)


def _open(store):
    """An earlier run, with an index of what can be read of it."""
    return _index(store)[0]


def _index(store):
    """The same with the slices of which nothing could be read."""
    slice_ids = [name for name in store.list(COMMITS) if len(name) == 20]
    damaged = []
    shards = write_index(store, uuid.uuid4().hex, read_digests(store, slice_ids, damaged.append))
    return EarlierRun(store, KeyIndex(store, shards), _WRITTEN), damaged


def _find(run, texts):
    """Texts in; those that were found, and what was found of each, out."""
    places, rows, _ = run.find([digest(text) for text in texts])
    assert rows.column("digest").to_pylist() == [digest(texts[place]) for place in places]
    assert rows.column("tokens").to_pylist() == [len(texts[place]) for place in places]
    return [texts[place] for place in places]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slices=st.lists(st.tuples(st.lists(st.text("ab", max_size=3), min_size=1, max_size=8), st.booleans()), max_size=4),
    asked=st.lists(st.text("ab", max_size=3), max_size=12),
    kept_bytes=st.sampled_from([0, 1 << 20]),
)
def test_texts_that_were_committed_are_found_in_their_order(tmp_path_factory, commit, slices, asked, kept_bytes):
    from transforms.storage.posix import PosixStore

    store = PosixStore(str(tmp_path_factory.mktemp("run")))
    for number, (texts, is_parquet) in enumerate(slices):
        commit(store, number, texts, output_format="parquet" if is_parquet else "jsonl")
    known = {text for texts, _ in slices for text in texts}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(earlier, "_KEPT_BYTES", kept_bytes)
        run = _open(store)
        for _ in range(2):
            assert _find(run, asked) == [text for text in asked if text in known]


def test_rows_have_what_the_earlier_run_found(store, commit):
    anna = {"start": 0, "end": 4, "label": "PER", "score": 0.75, "text": "Anna"}
    commit(store, 0, ["Anna", "Bob"], entities=[[anna], []])
    _, rows, _ = _open(store).find([digest("Bob"), digest("Anna")])
    assert rows.column("entities").to_pylist() == [[], [anna]]
    assert rows.schema.equals(_WRITTEN.schema)


def _truncate(content):
    return content[:-9]


def _garble(content):
    return content[:4] + bytes([content[4] ^ 1]) + content[5:]


@pytest.mark.parametrize("output_format", ["parquet", "jsonl"])
@pytest.mark.parametrize("damage", [_truncate, _garble, None])
@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_slice_whose_file_is_damaged_is_left_out(memory_store, commit, output_format, damage, is_indexed):
    store = memory_store
    receipt = commit(store, 0, ["a", "both"], output_format=output_format)
    commit(store, 1, ["both", "b"])
    indexed = _index(store) if is_indexed else None
    (file,) = receipt.files
    content = store.read(file["final"])
    store.delete(file["final"])
    if damage:
        store.put(file["final"], damage(content))
    run, damaged = indexed or _index(store)
    assert _find(run, ["b", "a", "b"]) == ["b", "b"]
    # What cannot be read is left out of the index; damage that shows only later is counted by document.
    assert set(damaged) <= {receipt.slice_id}
    n_damaged = run.find([digest(text) for text in ("b", "a", "a", "other")]).n_damaged
    assert n_damaged == (0 if damaged else 2)
    assert not (is_indexed and damaged)


def test_a_slice_whose_record_is_damaged_is_left_out(memory_store, commit):
    receipt = commit(memory_store, 0, ["a"])
    commit(memory_store, 1, ["b"])
    memory_store.put(f"{COMMITS}/{receipt.slice_id}", b"{")
    run, damaged = _index(memory_store)
    assert _find(run, ["a", "b"]) == ["b"]
    assert damaged == [receipt.slice_id]


def test_a_text_is_found_in_another_slice_where_one_is_damaged(memory_store, commit, monkeypatch):
    # A shard to a slice, so that the index knows of both.
    monkeypatch.setattr("transforms.reuse.index.SHARD_KEYS", 1)
    receipts = [commit(memory_store, number, ["both", f"{number}"]) for number in range(2)]
    run = _open(memory_store)
    memory_store.put(receipts[0].files[0]["final"], b"")
    assert _find(run, ["both", "0", "1"]) == ["both", "1"]
    assert run.find([digest(text) for text in ("both", "0", "1")]).n_damaged == 1


def test_a_file_on_its_way_to_its_name_is_read_where_it_lies(posix_store, commit):
    (file,) = commit(posix_store, 0, ["a"]).files
    posix_store.put(file["attempt"], posix_store.read(file["final"]))
    posix_store.delete(file["final"])
    assert _find(_open(posix_store), ["a"]) == ["a"]


def test_texts_whose_digests_begin_alike_are_told_apart(memory_store, commit):
    receipt = commit(memory_store, 0, ["a"])
    other = digest("a")[:16] + "0" * 48
    shards = write_index(memory_store, "x", [SliceDigests(receipt.slice_id, [digest("a")])])
    places, rows, _ = EarlierRun(memory_store, KeyIndex(memory_store, shards), _WRITTEN).find([other])
    assert (places.tolist(), rows.num_rows) == ([], 0)


def test_a_slice_that_is_not_committed_has_no_digests(memory_store):
    damaged = []
    assert list(read_digests(memory_store, ["0" * 20], damaged.append)) == damaged == []


@pytest.mark.parametrize(
    ("written", "names"),
    [
        (_WRITTEN, ["digest", "entities", "windows", "tokens"]),
        (Written(("a", "b"), has_below=False, is_routed=True), ["digest", "entities_a", "entities_b", "windows"]),
        (Written(("",), has_below=True, is_routed=False), ["digest", "entities", "below", "windows", "tokens"]),
        (Written(("",), has_below=True, is_routed=False, has_probabilities=True), ["digest", "windows", "tokens"]),
    ],
)
def test_only_what_is_copied_is_read(written, names):
    assert isinstance(written.schema, pa.Schema)
    assert written.schema.names[: len(names)] == names
    assert ("adapter" in written.schema.names) == written.is_routed
