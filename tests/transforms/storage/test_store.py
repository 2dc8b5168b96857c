"""What every store promises, on a local folder, in memory and on a server that speaks S3."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.errors import ConfigError, StorageError
from transforms.storage.objects import ObjectStore
from transforms.storage.posix import PosixStore
from transforms.storage.store import open_named, open_store

ESCAPES = ("../x", "a/../../x", "/etc/passwd", "..")


def write_file(store, name, content):
    with store.create(name) as file:
        file.write(content)


def test_read_gives_what_put_wrote(store):
    store.put("a/b.json", b"one")
    assert store.read("a/b.json") == b"one"


def test_read_of_nothing_is_file_not_found(store):
    with pytest.raises(FileNotFoundError):
        store.read("a/none")


def test_put_replaces_what_was_there(store):
    store.put("a", b"one")
    store.put("a", b"second")
    assert (store.read("a"), store.size("a")) == (b"second", 6)


def test_put_writes_an_empty_file(store):
    store.put("_SUCCESS", b"")
    assert (store.size("_SUCCESS"), store.read("_SUCCESS")) == (0, b"")


def test_size_of_nothing_is_none(store):
    assert store.size("a/none") is None


def test_size_sees_what_another_client_wrote_meanwhile(store):
    assert store.size("a/b") is None
    store.put("a/b", b"1")
    assert store.size("a/b") == 1
    store.put("a/b", b"22")
    assert store.size("a/b") == 2


def test_list_gives_sorted_names_without_the_folder(store):
    for name in ("a/z", "a/b", "b/c", "ab"):
        store.put(name, b"1")
    assert store.list("a") == ["b", "z"]


def test_list_of_no_folder_is_empty(store):
    assert store.list("a") == []


def test_list_sees_what_was_written_after_an_earlier_listing(store):
    store.put("a/b", b"1")
    assert store.list("a") == ["b"]
    store.put("a/c", b"1")
    assert store.list("a") == ["b", "c"]


def test_put_if_absent_wins_once(store):
    assert store.put_if_absent("a/b", b"one") is True
    assert store.put_if_absent("a/b", b"two") is False
    assert store.read("a/b") == b"one"


def test_put_if_absent_loses_to_a_file_that_was_put(store):
    store.put("a/b", b"one")
    assert store.put_if_absent("a/b", b"two") is False


def test_put_if_absent_wins_again_after_a_delete(store):
    store.put_if_absent("a/b", b"one")
    store.delete("a/b")
    assert store.put_if_absent("a/b", b"two") is True


def test_put_if_absent_of_racing_threads_has_one_winner(store):
    barrier = threading.Barrier(8)

    def race(round_, thread):
        barrier.wait()
        return store.put_if_absent(f"a/{round_}", b"thread %d" % thread)

    with ThreadPoolExecutor(8) as pool:
        for round_ in range(4):
            won = list(pool.map(race, [round_] * 8, range(8)))
            assert won.count(True) == 1
            assert store.read(f"a/{round_}") == b"thread %d" % won.index(True)


def test_create_gives_a_file_once_it_is_closed(store):
    write_file(store, "a/b", b"x" * 100_000)
    assert store.size("a/b") == 100_000


def test_open_reads_anywhere(store):
    write_file(store, "a/b", b"0123456789")
    with store.open("a/b") as file:
        file.seek(-3, 2)
        assert file.read(2) == b"78"


def test_publish_moves_a_file(store):
    write_file(store, "_attempts/a", b"one")
    store.publish("_attempts/a", "data/a")
    assert (store.read("data/a"), store.size("_attempts/a")) == (b"one", None)


def test_publish_of_what_is_done_is_done(store):
    write_file(store, "_attempts/a", b"one")
    store.publish("_attempts/a", "data/a")
    store.publish("_attempts/a", "data/a")
    assert store.read("data/a") == b"one"


def test_publish_replaces_a_target_of_another_size(store):
    store.put("data/a", b"half")
    write_file(store, "_attempts/a", b"whole")
    store.publish("_attempts/a", "data/a")
    assert store.read("data/a") == b"whole"


def test_publish_of_what_is_lost_fails_loudly(store):
    with pytest.raises(StorageError, match="lost 'data/a': committed, but neither it nor '_attempts/a' exists"):
        store.publish("_attempts/a", "data/a")


def test_publish_of_racing_threads_loses_nothing(store):
    barrier = threading.Barrier(4)

    def race(round_):
        barrier.wait()
        store.publish(f"_attempts/{round_}", f"data/{round_}")

    with ThreadPoolExecutor(4) as pool:
        for round_ in range(4):
            write_file(store, f"_attempts/{round_}", b"one")
            list(pool.map(race, [round_] * 4))
            assert store.read(f"data/{round_}") == b"one"
    assert store.list("_attempts") == []


def test_delete_removes_a_file(store):
    store.put("a/b", b"1")
    store.delete("a/b")
    assert store.size("a/b") is None


def test_delete_of_nothing_is_no_error(store):
    store.put("a/b", b"1")
    store.delete("a/none")
    store.delete("none/none")
    assert store.list("a") == ["b"]


def test_walk_gives_every_file_under_the_root(store):
    for name in ("_SUCCESS", "data/a", "data/deep/b"):
        store.put(name, b"1")
    assert sorted(store.walk()) == ["_SUCCESS", "data/a", "data/deep/b"]


def test_walk_of_nothing_is_empty(store):
    assert list(store.walk()) == []


@pytest.mark.parametrize("name", ESCAPES)
def test_every_operation_refuses_a_name_outside_the_root(store, name):
    for operation in (
        lambda: store.read(name),
        lambda: store.size(name),
        lambda: store.list(name),
        lambda: store.put(name, b""),
        lambda: store.put_if_absent(name, b""),
        lambda: store.create(name),
        lambda: store.open(name),
        lambda: store.publish("a", name),
        lambda: store.publish(name, "a"),
        lambda: store.delete(name),
    ):
        with pytest.raises(StorageError, match="within the run folder"):
            operation()


def test_names_with_odd_characters_come_back_as_they_are(store):
    name = "a/part 1 [x]#%20ü.json"
    store.put(name, b"1")
    assert (store.read(name), store.list("a"), list(store.walk())) == (b"1", [name[2:]], [name])


def test_open_store_takes_a_path(tmp_path):
    assert isinstance(open_store(str(tmp_path)), PosixStore)


def test_open_store_takes_a_path_with_dots(tmp_path):
    store = open_store(str(tmp_path / "a" / ".." / "b"))
    store.put("x/y", b"1")
    assert (tmp_path / "b" / "x" / "y").read_bytes() == b"1"


def test_open_store_takes_memory():
    assert isinstance(open_store("memory://run"), ObjectStore)


def test_open_store_takes_s3(s3_endpoint, monkeypatch):
    for key, value in (("ENDPOINT_URL", s3_endpoint), ("ACCESS_KEY_ID", "testing"), ("SECRET_ACCESS_KEY", "testing")):
        monkeypatch.setenv(f"AWS_{key}", value)
    store = open_store("s3://bucket/opened/run")
    assert (store.put_if_absent("a", b"one"), store.put_if_absent("a", b"two")) == (True, False)


USES = {
    "read": lambda store: store.read("a"),
    "size": lambda store: store.size("a"),
    "list": lambda store: store.list("a"),
    "put": lambda store: store.put("a", b"1"),
    "put_if_absent": lambda store: store.put_if_absent("a", b"1"),
    "open": lambda store: store.open("a"),
    "publish": lambda store: store.publish("a", "b"),
    "delete": lambda store: store.delete("a"),
    "walk": lambda store: list(store.walk()),
}


@pytest.mark.parametrize("use", USES)
def test_a_server_that_does_not_answer_is_told_with_the_place(use, dead_s3):
    store = open_store("s3://bucket/run")
    with pytest.raises(StorageError, match=r"cannot reach 's3://bucket/run': .*AWS_ENDPOINT_URL") as caught:
        USES[use](store)
    assert dead_s3 in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("use", ["put", "put_if_absent"])
def test_a_bucket_that_is_not_there_is_told_with_the_place(use, live_s3):
    with pytest.raises(StorageError, match=r"cannot reach 's3://no-bucket/run': .*bucket does not exist; check the"):
        USES[use](open_store("s3://no-bucket/run"))


def test_nothing_is_found_in_a_bucket_that_is_not_there(live_s3):
    store = open_store("s3://no-bucket/run")
    assert (store.list(""), store.size("a"), list(store.walk())) == ([], None, [])


def test_a_protocol_without_a_client_is_told_with_the_option():
    with pytest.raises(ConfigError, match="cannot open --registry 'nosuch://me/run': Protocol not known: nosuch"):
        open_named("nosuch://me/run", flag="--registry")


@pytest.mark.parametrize("root", ["ftp://me:secret@localhost/run", "zip:///tmp/none.zip", "data:,x"])
def test_open_store_refuses_a_store_without_conditional_writes(root, monkeypatch):
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: (_FakePlainFs(), url))
    with pytest.raises(ConfigError, match="expected an output store with conditional writes") as caught:
        open_store(root)
    assert "secret" not in str(caught.value)


class _FakePlainFs:
    protocol = "ftp"

    def pipe_file(self, path, value):
        raise NotImplementedError
