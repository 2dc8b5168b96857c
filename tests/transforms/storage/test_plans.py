"""Plans in shards: what a head names counts, and nothing else does."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.slices import FileRef, Slice
from schemas.tables import FileTable, SliceTable
from transforms.storage import shards
from transforms.storage.plans import (
    PLANS,
    Plan,
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


@given(st.lists(st.lists(st.integers(0, 4), unique=True), max_size=6))
def test_a_file_is_as_the_last_plan_that_holds_it_has_it(numbers):
    """Each list is a plan: the numbers of its files."""
    listed = [[FileRef(FILES[number].uri, number, str(at)) for number in plan] for at, plan in enumerate(numbers)]
    plans = [Plan({}, 50, FileTable.of(files), SliceTable.of(cut(files))) for files in listed]
    latest = {file.uri: at for at, files in enumerate(listed) for file in files}
    wanted = [file for at, files in enumerate(listed) for file in files if latest[file.uri] == at]
    assert list(current_files(plans)) == wanted
    assert list(current_slices(plans)) == cut(wanted)


def test_many_small_plans_take_no_more_work_than_a_few_large_ones():
    files = [FileRef(f"s3://bucket/news/part-{number:06d}.parquet", 100, "1") for number in range(90_000)]

    def measure(n_plans):
        size = len(files) // n_plans
        cuts = [files[at : at + size] for at in range(0, len(files), size)]
        plans = [Plan({}, 50, FileTable.of(some), SliceTable.of(())) for some in cuts]
        begin = time.process_time()
        assert len(current_files(plans)) == len(files)
        return time.process_time() - begin

    assert measure(360) < 10 * min(measure(4) for _ in range(3))


def test_plans_are_asked_for_many_at_once_and_few_in_vain(memory_store, monkeypatch):
    n_plans = 40
    for number in range(1, n_plans + 1):
        write(memory_store, [FileRef(f"/in/{number}.jsonl", 100, "1")], number)
    names, answered, n_waiting = [], [], []
    read = memory_store.read

    def wait(name):
        names.append(name)
        n_waiting.append(len(names) - len(answered))
        time.sleep(0.02)
        answered.append(name)
        return read(name)

    monkeypatch.setattr(memory_store, "read", wait)
    assert [plan.files[0].uri for plan in read_plans(memory_store)] == [f"/in/{at}.jsonl" for at in range(1, 41)]
    assert sum(name.startswith("_plan.") for name in names) <= 2 * n_plans + 1
    assert sorted(n_waiting)[len(n_waiting) // 2] > 4


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
