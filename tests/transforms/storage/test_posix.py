"""The local store: the order of its system calls, racing processes, and refusals."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.errors import StorageError

ROOT = Path(__file__).parents[3]
RACE = """
import sys, time
from pathlib import Path
from transforms.storage.posix import PosixStore
root, me = sys.argv[1:]
store = PosixStore(root)
Path(root, "ready-" + me).touch()
while not Path(root, "go").exists():
    pass
print(*[n for n in range(100) if store.put_if_absent(f"_commits/{n}", me.encode() * 1000)])
"""


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """The calls that make writes durable, in order, with names relative to the run and temporary names cut."""
    found = []

    def name(path):
        path = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else os.fspath(path)
        parts = Path(path).relative_to(tmp_path / "run").parts
        return "/".join(".tmp" if part.startswith(".tmp-") else part for part in parts) or "."

    def record(call):
        real = getattr(os, call)

        def recorded(*paths, **options):
            size = os.fstat(paths[0]).st_size if call == "fsync" and Path(f"/proc/self/fd/{paths[0]}").is_file() else ""
            found.append(" ".join([call, *map(name, paths), *([str(size)] if size else [])]))
            return real(*paths, **options)

        monkeypatch.setattr(os, call, recorded)

    for call in ("fsync", "link", "replace"):
        record(call)
    return found


def test_put_if_absent_syncs_before_it_links_and_the_folder_after(posix_store, calls):
    posix_store.put_if_absent("_commits/a", b"12345")
    assert calls == [
        "fsync _commits/.tmp 5",
        "fsync _commits",
        "link _commits/.tmp _commits/a",
        "fsync _commits",
    ]


def test_put_syncs_before_it_renames_and_the_folder_after(posix_store, calls):
    posix_store.put("_SUCCESS", b"12345")
    assert calls == ["fsync .tmp 5", "fsync .", "replace .tmp _SUCCESS", "fsync ."]


def test_create_syncs_the_whole_file_and_its_folder_when_it_is_closed(posix_store, calls):
    file = posix_store.create("_attempts/a")
    file.write(b"123")
    file.write(b"45")
    assert calls == []
    file.close()
    file.close()
    assert calls == ["fsync _attempts/a 5", "fsync _attempts"]


def test_publish_syncs_both_folders_after_it_renames(posix_store, calls):
    posix_store.put("_attempts/a", b"1")
    calls.clear()
    posix_store.publish("_attempts/a", "data/a")
    assert calls == ["replace _attempts/a data/a", "fsync data", "fsync _attempts"]


def test_slice_is_durable_before_it_is_committed_and_committed_before_it_is_seen(
    posix_store, calls, make_slice, make_writer
):
    slice_ = make_slice()
    receipt = make_writer(posix_store, slice_).commit()
    (file,) = receipt.files
    commit = f"_commits/{slice_.slice_id}"
    size = posix_store.size(commit)
    assert calls == [
        f"fsync {file['attempt']} {file['size_bytes']}",
        "fsync _attempts",
        f"fsync _commits/.tmp {size}",
        "fsync _commits",
        f"link _commits/.tmp {commit}",
        "fsync _commits",
        f"replace {file['attempt']} {file['final']}",
        "fsync data",
        "fsync _attempts",
    ]


def test_put_if_absent_of_racing_processes_has_one_winner(posix_store, tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    command = [sys.executable, "-c", RACE, str(root)]
    racers = [subprocess.Popen([*command, str(me)], cwd=ROOT, stdout=subprocess.PIPE, text=True) for me in range(4)]
    deadline = time.monotonic() + 60
    while len(list(root.glob("ready-*"))) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (root / "go").touch()
    wins = {me: racer.communicate(timeout=60)[0].split() for me, racer in enumerate(racers)}
    assert sorted(int(name) for names in wins.values() for name in names) == list(range(100))
    for me, names in wins.items():
        assert all(posix_store.read(f"_commits/{name}") == str(me).encode() * 1000 for name in names)


def test_put_if_absent_leaves_no_temporary_file(posix_store, tmp_path):
    posix_store.put_if_absent("_commits/a", b"one")
    posix_store.put_if_absent("_commits/a", b"two")
    assert [path.name for path in (tmp_path / "run" / "_commits").iterdir()] == ["a"]


def test_put_if_absent_knows_its_own_link_when_the_answer_was_lost(posix_store, monkeypatch):
    link = os.link

    def link_twice(*paths):
        link(*paths)
        link(*paths)

    monkeypatch.setattr(os, "link", link_twice)
    assert posix_store.put_if_absent("_commits/a", b"same") is True
    assert posix_store.put_if_absent("_commits/a", b"same") is False


def test_put_if_absent_without_hard_links_says_so(posix_store, monkeypatch):
    def refuse(*paths):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match=r"cannot commit '_commits/a': Operation not permitted; .* no hard links"):
        posix_store.put_if_absent("_commits/a", b"one")


def test_publish_under_a_squatting_folder_is_a_storage_error(posix_store, tmp_path):
    posix_store.put("_attempts/a", b"one")
    (tmp_path / "run" / "data" / "a" / "squatter").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot publish 'data/a'"):
        posix_store.publish("_attempts/a", "data/a")
    assert posix_store.read("_attempts/a") == b"one"


def test_publish_of_what_only_a_folder_of_that_name_replaces_fails_loudly(posix_store, tmp_path):
    (tmp_path / "run" / "data" / "a").mkdir(parents=True)
    with pytest.raises(StorageError, match="lost 'data/a'"):
        posix_store.publish("_attempts/a", "data/a")


@pytest.mark.parametrize(
    "operation",
    [
        lambda store: store.put("data/a", b""),
        lambda store: store.put_if_absent("data/a", b""),
        lambda store: store.create("data/a"),
        lambda store: store.publish("_attempts/a", "data/a"),
    ],
    ids=["put", "put_if_absent", "create", "publish"],
)
def test_writing_where_no_folder_can_be_is_a_storage_error(posix_store, operation):
    posix_store.put("data", b"a file squats the folder")
    posix_store.put("_attempts/a", b"one")
    with pytest.raises(StorageError, match="'data"):
        operation(posix_store)


def test_put_over_a_folder_is_a_storage_error_and_leaves_no_litter(posix_store, tmp_path):
    (tmp_path / "run" / "_SUCCESS" / "x").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot write '_SUCCESS'"):
        posix_store.put("_SUCCESS", b"")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["_SUCCESS"]


def test_put_on_a_full_disk_names_the_reason_and_keeps_what_was_there(posix_store, monkeypatch):
    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    posix_store.put("a", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="No space left on device"):
        posix_store.put("a", b"new")
    assert posix_store.read("a") == b"old"


def test_create_refuses_a_name_that_is_taken(posix_store):
    posix_store.put("_attempts/a", b"one")
    with pytest.raises(StorageError, match="cannot create '_attempts/a': File exists"):
        posix_store.create("_attempts/a")


def test_list_ignores_temporary_files_of_other_writers(posix_store, tmp_path):
    posix_store.put("_commits/a", b"1")
    (tmp_path / "run" / "_commits" / ".tmp-0123").touch()
    assert posix_store.list("_commits") == ["a"]


def test_list_and_size_of_a_folder_that_is_a_file_find_nothing(posix_store):
    posix_store.put("data", b"1")
    assert (posix_store.list("data"), posix_store.size("data/a")) == ([], None)
