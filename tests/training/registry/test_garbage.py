"""What is thrown away, and that nothing is that somebody needs."""

import contextlib
import itertools
import uuid

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError
from tests.training.registry.recipes import KilledError, MortalStore, WatchedStore, make_verdict, put_record, read_files
from training.registry.garbage import Keeping, choose_garbage, collect_garbage, read_state
from training.registry.history import Promotion, find_champion, promote_checkpoint, read_history, roll_back
from training.registry.records import CHECKPOINTS, count_copies, read_records
from training.registry.refusals import refuse_checkpoint
from transforms.storage.objects import ObjectStore

DAY = "2026-01-{:02d}T00:00:00+00:00"
FIRST, LAST = DAY.format(1), DAY.format(20)


def promote(store, digest, replaces=""):
    return promote_checkpoint(store, digest, Promotion(replaces=replaces, command="promote"))


def collect(store, *, entries=1, days=0.0, now=LAST, **more):
    return collect_garbage(store, Keeping(entries=entries, days=days), command="gc", now=now, **more)


@pytest.fixture
def chain(memory_store):
    """Five champions one after another, each trained from the one before."""
    names = ["aaaa", "bbbb", "cccc", "dddd", "eeee"]
    for before, name in zip(["", *names], names, strict=False):
        put_record(memory_store, name, parent=before)
        promote(memory_store, name, before)
    return memory_store


def test_the_latest_champions_and_what_they_were_trained_from_stay(chain):
    assert collect(chain, entries=2) == ("aaaa", "bbbb")
    assert sorted(read_records(chain, read_history(chain))) == ["cccc", "dddd", "eeee"]
    assert find_champion(read_history(chain)) == "eeee"
    assert not any(name.startswith((f"{CHECKPOINTS}/aaaa", "records/aaaa")) for name in chain.walk())


def test_a_dry_run_says_the_same_and_changes_nothing(chain):
    before = read_files(chain)

    assert collect(chain, entries=2, dry_run=True) == ("aaaa", "bbbb")
    assert read_files(chain) == before


def test_a_second_collection_finds_nothing(chain):
    collect(chain)
    before = read_files(chain)

    assert collect(chain) == ()
    assert read_files(chain) == before


def test_the_base_of_an_adapter_stays_as_long_as_the_adapter(memory_store):
    put_record(memory_store, "ba5e")
    put_record(memory_store, "aaaa", base="ba5e")
    put_record(memory_store, "bbbb", base="ba5e")
    promote(memory_store, "aaaa")

    assert collect(memory_store) == ("bbbb",)


def test_what_is_young_stays(memory_store):
    put_record(memory_store, "aaaa", at=FIRST)
    put_record(memory_store, "bbbb", at=DAY.format(15))

    assert collect(memory_store, days=10) == ("aaaa",)


def test_what_was_refused_of_late_stays_and_refusals_do_too(memory_store, monkeypatch):
    for name, day in (("aaaa", 2), ("bbbb", 15)):
        put_record(memory_store, name)
        monkeypatch.setattr("training.registry.refusals.tell_time", lambda day=day: DAY.format(day))
        refuse_checkpoint(memory_store, name, make_verdict(passed=False), command="promote")

    assert collect(memory_store, days=10) == ("aaaa",)
    assert memory_store.list("refusals") == ["aaaa-1.json", "bbbb-1.json"]


def test_a_copy_that_was_cut_off_long_ago_goes_and_one_that_is_being_made_stays(memory_store):
    for name, day in (("aaaa", 2), ("bbbb", 19)):
        memory_store.put(f"{CHECKPOINTS}/{name}/_begun.json", f'{{"at": "{DAY.format(day)}"}}'.encode())
        memory_store.put(f"{CHECKPOINTS}/{name}/config.json", b"{}")

    assert collect(memory_store, days=10) == ("aaaa",)
    assert {name.split("/")[1] for name in memory_store.walk() if name.startswith(CHECKPOINTS)} == {"bbbb"}


def test_foreign_folders_are_left_alone(memory_store):
    memory_store.put(f"{CHECKPOINTS}/my notes/_begun.json", b'{"at": "2020-01-01T00:00:00+00:00"}')

    assert collect(memory_store) == ()


def test_a_promotion_that_comes_first_saves_its_candidate(memory_store):
    for name in ("aaaa", "bbbb"):
        put_record(memory_store, name)
    promote(memory_store, "aaaa")
    watched = WatchedStore(memory_store, "history/", before=lambda: promote(memory_store, "bbbb", "aaaa"))

    assert collect(watched) == ("aaaa",)
    assert find_champion(read_history(memory_store)) == "bbbb"
    assert sorted(read_records(memory_store, read_history(memory_store))) == ["bbbb"]


def test_a_collection_that_comes_first_is_told_to_whoever_promotes(memory_store):
    for name in ("aaaa", "bbbb"):
        put_record(memory_store, name)
    promote(memory_store, "aaaa")
    watched = WatchedStore(memory_store, "history/", before=lambda: collect(memory_store))

    with pytest.raises(ConfigError, match=r"expected checkpoint 'bbbb' in the registry, found that .* by entry 2"):
        promote(watched, "bbbb", "aaaa")
    assert find_champion(read_history(memory_store)) == "aaaa"


@pytest.mark.parametrize("dies_after", [False, True])
def test_whoever_is_killed_while_deleting_leaves_the_rest_to_the_next(memory_store, dies_after):
    for life in itertools.count():
        store = ObjectStore(memory_store._fs, f"{memory_store._root}-{life}")
        for name in ("aaaa", "bbbb", "cccc"):
            put_record(store, name)
        promote(store, "cccc")
        try:
            collect(MortalStore(store, life, dies_after=dies_after))
        except KilledError:
            collect(store)
            assert len(read_history(store)) == 2
            assert sorted(read_records(store, read_history(store))) == ["cccc"]
            assert not any("aaaa" in name or "bbbb" in name for name in store.walk())
        else:
            break
    assert life > 10


@pytest.mark.parametrize(("values", "message"), [({"entries": 0}, "keep 1 entry"), ({"days": -1.0}, "keep 0 days")])
def test_keeping_nothing_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Keeping(**values)


NAMES = ("aaaa", "bbbb", "cccc", "dddd")
OPERATIONS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.sampled_from(("", *NAMES)), st.sampled_from(("", *NAMES))),
    st.tuples(st.just("promote"), st.sampled_from(NAMES)),
    st.tuples(st.just("rollback"), st.sampled_from(NAMES)),
    st.tuples(st.just("refuse"), st.sampled_from(NAMES)),
    st.tuples(st.just("collect"), st.integers(1, 3), st.sampled_from((0.0, 3.0)), st.booleans()),
)


def apply(store, operation, day, candidate):
    """One operation as somebody would ask for it; what is not possible is refused."""
    champion = find_champion(read_history(store))
    kind, *rest = operation
    if kind == "add":
        add_copy(store, *rest, day)
    elif kind == "promote":
        promote(store, rest[0], champion)
    elif kind == "rollback":
        roll_back(store, rest[0], replaces=champion, command="rollback")
    elif kind == "refuse":
        refuse_checkpoint(store, rest[0], make_verdict(champion=champion, passed=False), command="promote")
    else:
        entries, days, has_rival = rest
        rival = WatchedStore(store, "history/", before=lambda: try_to_promote(store, candidate, champion))
        collect(rival if has_rival else store, entries=entries, days=days, now=DAY.format(day))


def try_to_promote(store, digest, champion):
    """A promotion that comes in between, if there is such a checkpoint."""
    with contextlib.suppress(ConfigError):
        promote(store, digest, champion)


def add_copy(store, name, base, parent, day):
    """As adding does: a copy that was not collected, with its base."""
    entries = read_history(store)
    copy = count_copies(entries, name)
    records = read_records(store, entries)
    if name in records or (base and base not in records) or base == name:
        return
    put_record(store, name, at=DAY.format(day), base=base, parent=parent, copy=copy)


@settings(deadline=None, max_examples=60)
@given(operations=st.lists(OPERATIONS, max_size=14), candidate=st.sampled_from(NAMES))
def test_whatever_happens_nothing_is_removed_that_somebody_needs(operations, candidate):
    fs = fsspec.filesystem("memory")
    store = ObjectStore(fs, f"/registry-{uuid.uuid4().hex}/r")
    for day, operation in enumerate(operations, start=1):
        before = read_state(store)
        with contextlib.suppress(ConfigError):
            apply(store, operation, day, candidate)
        check_whole(store)
        if operation[0] == "collect":
            check_needed(store, before, keep=operation[1], days=operation[2], day=day)


def check_whole(store):
    """Every checkpoint that counts has its files; the champion does, and so has its base."""
    state = read_state(store)
    files = set(store.walk())
    for record in state.records.values():
        assert f"{CHECKPOINTS}/{record.name}/model.safetensors" in files
    if champion := find_champion(state.entries):
        assert champion in state.records
        base = state.records[champion].base
        assert not base or base in state.records
    assert state.garbage == ()


def check_needed(store, before, *, keep, days, day):
    """What was there and had to stay is there."""
    after = read_state(store)
    ascents = [entry.champion for entry in after.entries if entry.kind != "collection"][-keep:]
    young = {digest for digest, record in before.records.items() if day - int(record.at[8:10]) < days}
    kept = {digest for digest in {*ascents, *young} if digest in before.records}
    kept |= {before.records[digest].base for digest in kept} - {""}
    parents = {before.records[digest].parent_weights.removeprefix("weights-") for digest in kept}
    kept |= {digest for digest in parents if digest in before.records}
    assert kept <= after.records.keys()
    # And what is left is what a second look would leave.
    assert choose_garbage(after, Keeping(entries=keep, days=days), DAY.format(day)) == ()
