"""Who is champion, when many want to be and some are killed."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from schemas.errors import ConfigError, ConflictError, StorageError
from tests.training.registry.recipes import KilledError, MortalStore, WatchedStore, make_verdict
from training.registry.garbage import Keeping, collect_garbage
from training.registry.history import (
    Promotion,
    find_champion,
    find_predecessor,
    promote_checkpoint,
    read_history,
    roll_back,
)

ROOT = Path(__file__).parents[3]
RACE = """
import sys, time
from pathlib import Path
from schemas.errors import ConflictError
from training.registry.history import Promotion, promote_checkpoint
from transforms.storage.posix import PosixStore
root, champion, mine = sys.argv[1:]
store = PosixStore(root)
Path(root, "ready-" + mine).touch()
while not Path(root, "go").exists():
    time.sleep(0.0005)
try:
    promote_checkpoint(store, mine, Promotion(replaces=champion, command=mine))
    print("won")
except ConflictError as error:
    print("lost:", error)
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


def test_of_many_threads_that_promote_at_once_one_wins(store, add):
    candidates = [add(store, f"m{at}").digest for at in range(4)]
    champion = ""
    for _ in range(20):
        won, lost = [], []
        barrier = threading.Barrier(3)

        def race(digest, replaces=champion, won=won, lost=lost, barrier=barrier):
            barrier.wait()
            try:
                won.append(promote(store, digest, replaces).champion)
            except ConflictError as error:
                lost.append(str(error))

        threads = [threading.Thread(target=race, args=[one]) for one in candidates if one != champion][:3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert (len(won), len(lost)) == (1, 2)
        assert all(won[0][:16] in message for message in lost)
        champion = won[0]
        assert find_champion(read_history(store)) == champion
    assert len(read_history(store)) == 20


def test_of_many_processes_that_promote_at_once_one_wins(posix_store, add, tmp_path):
    candidates = [add(posix_store, name).digest for name in "abc"]
    root = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # Each process is a promoter for one round; what takes long is that they start.
    for _ in range(20):
        champion = find_champion(read_history(posix_store))
        racers = [one for one in candidates if one != champion][:2]
        children = [
            subprocess.Popen(
                [sys.executable, "-c", RACE, root, champion, one], stdout=subprocess.PIPE, text=True, env=environment
            )
            for one in racers
        ]
        while len(list(root.glob("ready-*"))) < len(racers):
            time.sleep(0.001)
        (root / "go").touch()
        said = sorted(child.communicate(timeout=60)[0].split(":")[0].strip() for child in children)
        for path in (root / "go", *root.glob("ready-*")):
            path.unlink()
        assert said == ["lost", "won"]
    assert len(read_history(posix_store)) == 20


@pytest.mark.parametrize("dies_after", [False, True])
def test_whoever_is_killed_at_any_step_of_a_promotion_finds_it_done_once(store, add, dies_after):
    a, b = (add(store, name).digest for name in "ab")
    champion, other, life, n_killed = "", a, 0, 0
    while life < 40:
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
        champion, other, life = other, champion or b, life + 1
    assert n_killed > 3


def test_a_promotion_goes_on_past_a_collection_and_not_past_another_champion(posix_store, add):
    a, b = (add(posix_store, name).digest for name in "ab")
    promote(posix_store, a)
    add(posix_store, "old")

    def collect():
        collect_garbage(posix_store, Keeping(days=1), command="gc", now="2099-01-01T00:00:00+00:00")
        add(posix_store, "b")

    entry = promote(WatchedStore(posix_store, "history/", before=lambda: None), b, a)
    assert entry.number == 2
    watched = WatchedStore(posix_store, "history/", before=collect)
    assert promote(watched, a, b).number == 4
    assert [entry.kind for entry in read_history(posix_store)] == ["promotion", "promotion", "collection", "promotion"]


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
