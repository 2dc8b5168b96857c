"""The object store: unclear answers to conditional writes, and publishing at the same time as another."""

import uuid

import fsspec
import pytest

from schemas.errors import StorageError
from transforms.storage.commits import read_receipt
from transforms.storage.objects import ObjectStore, supports_put_if_absent


class FakeAmbiguousFs:
    """A memory file system whose next writes go as scripted.

    Steps: `ok`; `refused` (503, nothing written); `applied` (written, then the answer is lost); `exists` (written, and
    a retry within the client finds it); `raced` (another's content is written, then 412); `conflict` (another's content
    is written, then 409).
    """

    protocol = "memory"

    def __init__(self, *script):
        self._fs = fsspec.filesystem("memory")
        self._script = list(script)

    def __getattr__(self, name):
        return getattr(self._fs, name)

    def pipe_file(self, path, value, mode="overwrite"):
        step = self._script.pop(0) if mode == "create" and self._script else "ok"
        if step == "refused":
            raise OSError(5, "503 Slow Down")
        if step in ("raced", "conflict"):
            self._fs.pipe_file(path, b'{"another": 1}')
        if step in ("ok", "applied", "exists"):
            self._fs.pipe_file(path, value, mode=mode)
        if step == "applied":
            raise TimeoutError
        if step in ("exists", "raced"):
            raise FileExistsError(path)
        if step == "conflict":
            raise OSError(16, "409 ConditionalRequestConflict")


@pytest.fixture
def make_store():
    """A script in, a store on a memory file system that follows it out."""
    root = f"/ambiguous-{uuid.uuid4().hex}"

    def make(*script):
        return ObjectStore(FakeAmbiguousFs(*script), root)

    yield make
    fs = fsspec.filesystem("memory")
    if fs.exists(root):
        fs.rm(root, recursive=True)


@pytest.mark.parametrize(
    ("step", "is_won", "content"),
    [
        ("ok", True, b"ours"),
        ("applied", True, b"ours"),
        ("exists", True, b"ours"),
        ("raced", False, b'{"another": 1}'),
        ("conflict", False, b'{"another": 1}'),
    ],
)
def test_put_if_absent_reads_an_unclear_answer_from_the_object(make_store, step, is_won, content):
    store = make_store(step)
    assert store.put_if_absent("_commits/a", b"ours") is is_won
    assert store.read("_commits/a") == content


def test_put_if_absent_that_was_refused_is_an_error_and_writes_nothing(make_store):
    store = make_store("refused")
    with pytest.raises(StorageError, match="cannot commit '_commits/a': OSError"):
        store.put_if_absent("_commits/a", b"ours")
    assert store.list("_commits") == []


def test_put_if_absent_wins_after_it_was_refused(make_store):
    store = make_store("refused", "applied")
    with pytest.raises(StorageError):
        store.put_if_absent("_commits/a", b"ours")
    assert store.put_if_absent("_commits/a", b"ours") is True


@pytest.mark.parametrize("step", ["ok", "applied", "exists"])
def test_commit_under_an_unclear_answer_commits_once(make_store, make_slice, make_writer, step):
    store, slice_ = make_store(step), make_slice()
    receipt = make_writer(store, slice_).commit()
    assert read_receipt(store, slice_.slice_id) == receipt
    assert store.list("data") == [f"{slice_.name}.parquet"]
    assert store.list("_attempts") == []


def test_commit_that_was_refused_can_be_done_again(make_store, make_slice, make_writer):
    store, slice_ = make_store("refused"), make_slice()
    writer = make_writer(store, slice_)
    with pytest.raises(StorageError):
        writer.commit()
    assert store.list("data") == []
    assert make_writer(store, slice_).commit() == read_receipt(store, slice_.slice_id)


def test_publish_while_another_publishes_is_done(memory_store, monkeypatch):
    memory_store.put("_attempts/a", b"one")
    fs = fsspec.filesystem("memory")
    copy = fs.cp_file

    def copy_late(source, target):
        copy(source, target)
        fs.rm_file(source)
        copy(source, target)

    monkeypatch.setattr(fs, "cp_file", copy_late)
    memory_store.publish("_attempts/a", "data/a")
    assert memory_store.read("data/a") == b"one"


def test_publish_of_what_vanishes_meanwhile_fails_loudly(memory_store, monkeypatch):
    memory_store.put("_attempts/a", b"one")
    fs = fsspec.filesystem("memory")
    copy = fs.cp_file

    def lose(source, target):
        fs.rm_file(source)
        copy(source, target)

    monkeypatch.setattr(fs, "cp_file", lose)
    with pytest.raises(StorageError, match="lost 'data/a'"):
        memory_store.publish("_attempts/a", "data/a")


def test_publish_finishes_what_a_crash_left_half_done(memory_store):
    memory_store.put("_attempts/a", b"one")
    memory_store.put("data/a", b"one")
    memory_store.publish("_attempts/a", "data/a")
    assert (memory_store.list("_attempts"), memory_store.read("data/a")) == ([], b"one")


def test_supports_put_if_absent_tells_the_known_stores(s3_store):
    assert supports_put_if_absent(fsspec.filesystem("memory"))
    assert supports_put_if_absent(s3_store._fs)
    assert not supports_put_if_absent(fsspec.filesystem("file"))
