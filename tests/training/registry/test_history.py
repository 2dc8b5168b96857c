"""Who is champion, when many want to be and some are killed."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from schemas.errors import ConfigError, ConflictError, StorageError
from tests.training.registry.recipes import KilledError, MortalStore, WatchedStore, make_verdict, put_record
from training.registry.garbage import Keeping, collect_garbage
from training.registry.history import (
    Promotion,
    find_champion,
    find_predecessor,
    promote_checkpoint,
    read_history,
    roll_back,
)
from training.registry.records import tell_time

ROOT = Path(__file__).parents[3]
NOW = tell_time()
RACE = """
import sys, time
from pathlib import Path
from schemas.errors import ConflictError
from training.registry.history import Promotion, promote_checkpoint
from transforms.storage.posix import PosixStore
root, mine = sys.argv[1:]
store = PosixStore(root)
for turn in range(20):
    print("ready", flush=True)
    while not (go := Path(root, f"go-{turn}")).exists():
        time.sleep(0.0005)
    champion = go.read_text()
    if champion == mine:
        print("champion", flush=True)
        continue
    try:
        promote_checkpoint(store, mine, Promotion(replaces=champion, command=mine))
        print("won", flush=True)
    except ConflictError as error:
        print("lost", flush=True)
"""


def promote(store, digest, replaces="", **more):
    return promote_checkpoint(store, digest, Promotion(replaces=replaces, command="promote", **more))


def test_the_highest_number_is_the_champion_and_nothing_before_it_changes(store, add):
    a, b = (add(store, name).digest for name in "ab")

    first = promote(store, a)
    content = store.read("history/00000001.json")
    second = promote(store, b, a, verdict=make_verdict(champion=a))

    assert store.list("history") == ["00000001.json", "00000002.json"]
    assert store.read("history/00000001.json") == content
    assert read_history(store) == (first, second)
    assert (find_champion(()), find_champion((first,)), find_champion((first, second))) == ("", a, b)


def test_a_champion_that_is_promoted_again_leaves_no_entry(store, add):
    a = add(store, "a").digest
    first = promote(store, a)

    assert promote(store, a) == first == promote(store, a, "another")
    assert read_history(store) == (first,)


def test_a_candidate_that_was_judged_against_another_champion_is_told_of_the_winner(store, add):
    a, b, c = (add(store, name).digest for name in "abc")
    promote(store, a)
    promote(store, b, a)

    with pytest.raises(
        ConflictError, match=rf"expected to replace '{a[:16]}', found '{b[:16]}', champion by .* entry 2"
    ):
        promote(store, c, a)
    with pytest.raises(ConflictError, match="expected to replace no champion"):
        promote(store, c)
    assert find_champion(read_history(store)) == b


@pytest.mark.parametrize("turn", range(20))
def test_of_many_threads_that_promote_at_once_one_wins(store, turn):
    champion, *candidates = (put_record(store, f"{turn}abc{at}") for at in range(4))
    promote(store, champion)
    won, lost = [], []
    barrier = threading.Barrier(len(candidates))

    def race(digest):
        barrier.wait()
        try:
            won.append(promote(store, digest, champion).champion)
        except ConflictError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=race, args=[one]) for one in candidates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(won), len(lost)) == (1, 2)
    assert all(f"found {won[0]!r}" in message for message in lost)
    assert [entry.champion for entry in read_history(store)] == [champion, won[0]]


def test_of_many_processes_that_promote_at_once_one_wins(posix_store, add, tmp_path):
    candidates = [add(posix_store, name).digest for name in "abc"]
    root = tmp_path / "run"
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(start_racer(root, one)) for one in candidates]
        for turn in range(20):
            assert [child.stdout.readline() for child in children] == ["ready\n"] * 3
            champion = find_champion(read_history(posix_store))
            (root / f"tmp-{turn}").write_text(champion)
            (root / f"tmp-{turn}").rename(root / f"go-{turn}")
            said = [child.stdout.readline().strip() for child in children]
            assert sorted(said) == (["champion", "lost", "won"] if turn else ["lost", "lost", "won"])
            assert candidates[said.index("won")] == find_champion(read_history(posix_store))
    assert len(read_history(posix_store)) == 20


def start_racer(root, digest):
    """A process that wants to promote a checkpoint whenever it is told to."""
    return subprocess.Popen(
        [sys.executable, "-c", RACE, root, digest],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("dies_after", [False, True])
def test_whoever_is_killed_at_any_step_of_a_promotion_finds_it_done_once(store, add, dies_after):
    a, b = (add(store, name).digest for name in "ab")
    champion, other, life, n_killed = "", a, 0, 0
    while True:
        count = len(read_history(store))
        try:
            promote(MortalStore(store, life, dies_after=dies_after), other, champion)
        except KilledError:
            n_killed += 1
        else:
            break
        # The same command again, with what it read before it was killed.
        promote(store, other, champion)
        assert len(read_history(store)) == count + 1
        # One step more, and one for the entry that has to be read now.
        champion, other, life = other, champion or b, life + 2
    assert n_killed > 3


def test_a_promotion_goes_on_past_a_collection(posix_store, add):
    a, b = (add(posix_store, name).digest for name in "ab")
    put_record(posix_store, "0abc")
    promote(posix_store, a)

    def collect():
        assert collect_garbage(posix_store, Keeping(days=1), command="gc", now=NOW) == ("0abc",)

    entry = promote(WatchedStore(posix_store, "history/", before=collect), b, a)

    assert entry.number == 3
    assert [entry.kind for entry in read_history(posix_store)] == ["promotion", "collection", "promotion"]


def test_what_is_not_there_is_not_promoted(store, add):
    record = add(store, "a")
    with pytest.raises(ConfigError, match=r"expected checkpoint 'ffff' in the registry, found none; add it again"):
        promote(store, "ffff")

    store.delete(f"records/{record.name}.json")
    with pytest.raises(ConfigError, match="found none"):
        promote(store, record.digest)


def test_an_adapter_without_its_base_is_not_promoted(posix_store, add):
    adapter = add(posix_store, "adapter", base="base")
    posix_store.delete(f"records/{adapter.base}.json")

    with pytest.raises(ConfigError, match=f"expected checkpoint '{adapter.base[:16]}'"):
        promote(posix_store, adapter.digest)


def test_a_rollback_is_an_entry_that_points_back(store, add):
    a, b = (add(store, name).digest for name in "ab")
    promote(store, a)
    promote(store, b, a)

    assert find_predecessor(read_history(store)) == a
    entry = roll_back(store, a, replaces=b, command="rollback")

    assert (entry.kind, entry.number, find_champion(read_history(store))) == ("rollback", 3, a)
    assert roll_back(store, a, replaces=b, command="rollback") == entry


def test_what_was_never_champion_is_nothing_to_roll_back_to(store, add):
    a, b = (add(store, name).digest for name in "ab")
    promote(store, a)

    with pytest.raises(ConfigError, match="expected an earlier champion to roll back to"):
        roll_back(store, b, replaces=a, command="rollback")
    with pytest.raises(ConfigError, match="expected a champion before the present one"):
        find_predecessor(read_history(store))


def test_a_rollback_from_another_champion_is_refused(store, add):
    a, b, c = (add(store, name).digest for name in "abc")
    for digest, before in ((a, ""), (b, a), (c, b)):
        promote(store, digest, before)

    with pytest.raises(ConflictError):
        roll_back(store, a, replaces=b, command="rollback")


def test_a_gap_in_the_history_is_an_error_and_not_another_champion(store, add):
    a, b = (add(store, name).digest for name in "ab")
    promote(store, a)
    promote(store, b, a)
    store.delete("history/00000001.json")

    with pytest.raises(StorageError, match=r"lost 'history/00000001\.json' of the registry"):
        read_history(store)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"number": 1}'])
def test_a_damaged_entry_is_an_error(posix_store, content):
    posix_store.put("history/00000001.json", content)

    with pytest.raises(StorageError, match="expected"):
        read_history(posix_store)


def test_other_files_in_the_folder_are_none_of_the_history(store, add):
    promote(store, add(store, "a").digest)
    store.put("history/notes.txt", b"x")
    store.put("history/3.json", b"x")

    assert len(read_history(store)) == 1
