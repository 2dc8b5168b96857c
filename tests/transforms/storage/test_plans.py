"""Plans in shards: what a head names counts, and nothing else does."""

import json

import pytest

from schemas.errors import ConfigError
from schemas.slices import FileRef, Slice
from schemas.tables import FileTable
from transforms.storage import shards
from transforms.storage.plans import (
    PLANS,
    count_plans,
    current_files,
    current_slices,
    draft_plan,
    put_plan,
    read_plans,
    sweep_plans,
)

FILES = [FileRef(f"/in/{number}.jsonl", 100, "1") for number in range(5)]


def cut(files):
    return [Slice(file, "jsonl", start, start + 50, start, 2) for file in files for start in (0, 50)]


def write(store, files, number=1):
    draft = draft_plan(store, number, cut(files), first=0)
    return put_plan(store, draft, {"model": "m"}, 50, FileTable.of(files))


def test_a_plan_is_read_as_it_was_written(store):
    assert write(store, FILES)
    (plan,) = read_plans(store)
    assert (plan.settings, plan.slice_bytes, list(plan.files)) == ({"model": "m"}, 50, FILES)
    assert [(slice_.number, slice_.file) for slice_ in plan.slices] == [(at, FILES[at // 2]) for at in range(10)]


def test_a_plan_is_cut_into_shards_and_is_one_again(memory_store, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 3)
    write(memory_store, FILES)
    head = json.loads(memory_store.read("_plan.json"))
    assert [shard["rows"] for shard in head["slices"]] == [3, 3, 3, 1]
    (plan,) = read_plans(memory_store)
    assert [slice_.number for slice_ in plan.slices] == list(range(10))


def test_the_head_of_a_plan_is_small_whatever_the_corpus(memory_store):
    write(memory_store, [FileRef(f"/in/{number}.jsonl", 100, "1") for number in range(5000)])
    assert memory_store.size("_plan.json") < 1000


def test_the_same_plan_written_again_is_the_same_files(store):
    assert write(store, FILES)
    before = {name: store.read(name) for name in store.walk()}
    write(store, FILES)
    assert {name: store.read(name) for name in store.walk()} == before


def test_another_plan_of_the_same_number_is_none(store):
    assert write(store, FILES)
    assert not write(store, FILES[:2])
    assert list(read_plans(store)[0].files) == FILES


def test_a_later_plan_takes_a_file_over(memory_store):
    write(memory_store, FILES[:3])
    changed = FileRef(FILES[1].uri, 100, "2")
    write(memory_store, [changed], number=2)
    plans = read_plans(memory_store)
    assert {(file.uri, file.version) for file in current_files(plans)} == {
        (FILES[0].uri, "1"),
        (FILES[2].uri, "1"),
        (changed.uri, "2"),
    }
    assert [slice_.file for slice_ in current_slices(plans)] == [FILES[0]] * 2 + [FILES[2]] * 2 + [changed] * 2
    assert count_plans(memory_store) == 2


@pytest.mark.parametrize("damage", [None, b"", b"other"])
def test_a_shard_that_is_damaged_or_gone_is_named(store, damage):
    write(store, FILES)
    name = next(name for name in store.list(PLANS) if "slices" in name)
    store.delete(f"{PLANS}/{name}")
    if damage is not None:
        store.put(f"{PLANS}/{name}", damage)
    with pytest.raises(ConfigError, match=f"{name}.*which _plan.json names; a run cannot go on without its plans"):
        read_plans(store)


def test_shards_of_a_plan_that_was_not_made_count_for_nothing_and_are_swept_once_another_is(store):
    draft_plan(store, 1, cut(FILES[:1]), first=0)
    lost = set(store.list(PLANS))
    assert read_plans(store) == []
    sweep_plans(store)
    assert set(store.list(PLANS)) == lost, "whoever writes them may be at work"
    write(store, FILES)
    draft_plan(store, 2, cut(FILES[:2]), first=10)
    sweep_plans(store)
    left = store.list(PLANS)
    assert not lost & set(left)
    assert sum(name.startswith("0002-") for name in left) == 1
    assert list(read_plans(store)[0].files) == FILES
