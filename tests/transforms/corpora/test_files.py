"""Listing and opening: odd names, secrets, compressions that must never read short."""

import bz2
import dataclasses
import gzip
import hashlib
import io
import lzma
import os
import re
import socket
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest
import zstandard
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from fsspec.utils import infer_storage_options

from schemas.errors import ConfigError, FileError, StorageError
from schemas.slices import FileRef
from transforms.corpora.files import (
    check_unchanged,
    digest_file,
    display_uri,
    list_files,
    open_file,
    open_stream,
    stat_file,
)

LINES = b"".join(b"line %d of the text\n" % number for number in range(3000))
COMPRESS = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
ODD_NAMES = (
    "with space.txt",
    "q[1].txt",
    "star*.txt",
    "what?.txt",
    "tag#1.txt",
    "50%20off.txt",
    "new\nline.txt",
    "smile 😀.txt",
    "-rf.txt",
    "{a,b}.txt",
    "back\\slash.txt",
    "a@b:c.txt",
)
PASSWORD = "hunter2"
each_compression = pytest.mark.parametrize("suffix", COMPRESS)


@pytest.fixture
def memory_folder():
    fs = fsspec.filesystem("memory")
    fs.pipe({"/corpora/a.txt": b"a", "/corpora/deep/b.txt": b"bb", "/corpora/_c.txt": b"c"})
    yield "memory://corpora"
    fs.rm("/corpora", recursive=True)


def read_all(file, **options):
    with open_stream(file, **options) as stream:
        return stream.read()


def test_list_files_finds_nothing_where_that_is_right_too(make_file, tmp_path):
    make_file("a.txt", b"a")
    patterns = [str(tmp_path / name) for name in ("*.txt", "nowhere/*.txt")]
    assert [file.uri for file in list_files(patterns, allow_none=True)] == [str(tmp_path / "a.txt")]
    with pytest.raises(ConfigError, match="expected input files at"):
        list_files(patterns)


@each_compression
def test_digest_file_is_that_of_the_decompressed_bytes(make_file, suffix):
    file = make_file(f"a.txt.{suffix}", COMPRESS[suffix](LINES))
    assert digest_file(file) == hashlib.sha256(LINES).hexdigest()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_list_files_takes_an_odd_name_literally(make_file, tmp_path, name):
    make_file(name, b"odd")
    make_file("q1.txt", b"not this one")
    assert [file.uri for file in list_files([str(tmp_path / name)])] == [str(tmp_path / name)]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_list_files_finds_an_odd_name_in_a_folder(make_file, tmp_path, name):
    file = make_file(name, b"odd")
    assert list_files([str(tmp_path)]) == [file]
    assert read_all(file) == b"odd"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_list_files_finds_an_odd_name_by_a_pattern(make_file, tmp_path, name):
    file = make_file(name, b"odd")
    assert list_files([str(tmp_path / "*.txt")]) == [file]


def test_list_files_expands_a_pattern(make_file, tmp_path):
    made = [make_file(name, b"") for name in ("b.txt", "a.txt")]
    make_file("a.jsonl", b"")
    assert list_files([str(tmp_path / "?.txt")]) == made[::-1]


def test_list_files_skips_hidden_and_underscored_names_in_a_folder(make_file, tmp_path):
    (tmp_path / "_attempts").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "sub").mkdir()
    kept = [make_file("sub/a.txt", b""), make_file("z_.txt", b"")]
    for name in ("_SUCCESS", ".a.txt.crc", "_attempts/a.txt", ".git/a.txt", "sub/_a.txt"):
        make_file(name, b"")
    assert list_files([f"{tmp_path}/"]) == kept


def test_list_files_reads_a_folder_whose_own_name_has_an_underscore(make_file, tmp_path):
    (tmp_path / "_in").mkdir()
    file = make_file("_in/a.txt", b"")
    assert list_files([str(tmp_path / "_in")]) == [file]


def test_list_files_names_a_file_once(make_file, tmp_path):
    file = make_file("a.txt", b"")
    assert list_files([str(tmp_path), file.uri, str(tmp_path / "*.txt")]) == [file]


def test_list_files_does_not_follow_a_folder_into_itself(make_file, tmp_path):
    make_file("a.txt", b"")
    (tmp_path / "self").symlink_to(".", target_is_directory=True)
    assert [file.uri for file in list_files([str(tmp_path)]) if file.uri.endswith(".txt")] == [str(tmp_path / "a.txt")]


def test_list_files_does_not_leave_the_folder_by_a_link(make_file, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside").mkdir()
    make_file("outside/secret.txt", b"")
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
    assert not list_files([str(tmp_path / "inside" / "*")], allow_none=True)


def test_a_link_that_cannot_be_followed_does_not_hide_what_lies_beside_it(make_file, tmp_path):
    file = make_file("a.txt", b"x")
    (tmp_path / "round").symlink_to("round")
    assert list_files([str(tmp_path / "*.txt")]) == [file]


def test_list_files_refuses_a_link_to_a_file_that_lies_elsewhere(make_file, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "inside").mkdir()
    make_file("outside/secret.txt", b"")
    link = tmp_path / "inside" / "link.txt"
    link.symlink_to(tmp_path / "outside" / "secret.txt")
    with pytest.raises(ConfigError, match=r"expected links within the input folder only, found .*link\.txt"):
        list_files([str(tmp_path / "inside")])
    assert [file.uri for file in list_files([str(link)])] == [str(link)], "whoever names it means it"


def test_list_files_follows_a_link_within_the_folder(make_file, tmp_path):
    make_file("a.txt", b"")
    (tmp_path / "link.txt").symlink_to("a.txt")
    assert [file.uri for file in list_files([str(tmp_path)])] == [
        str(tmp_path / name) for name in ("a.txt", "link.txt")
    ]


@pytest.mark.parametrize("pattern", ["none.txt", "*.parquet", "empty"])
def test_list_files_of_nothing_names_the_pattern_in_one_line(tmp_path, pattern):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        list_files([str(tmp_path / pattern)])
    assert str(tmp_path / pattern) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_list_files_of_an_unknown_protocol_is_a_config_error():
    with pytest.raises(ConfigError, match="cannot list input 'gopher://host/a'"):
        list_files(["gopher://me:secret@host/a"])


def test_list_files_of_a_store_with_an_error_of_its_own_is_a_config_error(monkeypatch):
    class NoCredentials(Exception):
        pass

    def refuse(path):
        raise NoCredentials("no credentials for ftp://me:secret@host")

    monkeypatch.setattr(fsspec.filesystem("memory"), "info", refuse)
    with pytest.raises(ConfigError, match="cannot list input 'memory://a': no credentials for ftp://host"):
        list_files(["memory://a"])


class _Status(BaseHTTPRequestHandler):
    """Answers with the status that a name begins with."""

    def do_HEAD(self):
        self.send_response(int(self.path[1:4]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    """The address of a server of `_Status`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Status) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("name", ["403.txt", "503.txt", f"403.txt?sig={PASSWORD}"])
def test_list_files_tells_what_a_web_server_answers(web, name):
    shown = f"{web}/{name[:7]}"
    with pytest.raises(ConfigError, match=re.escape(f"cannot list input '{shown}': {name[:3]}, message=")) as caught:
        list_files([f"{web}/{name}"], allow_none=True)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", f"a.txt?sig={PASSWORD}"])
def test_list_files_tells_why_a_web_server_is_not_reached(name):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ConfigError, match=f"cannot list input '{address}/a.txt': Connect call failed"):
        list_files([f"{address}/{name}"])


@pytest.mark.parametrize("name", ["404.txt", "410.txt", f"404.txt?sig={PASSWORD}"])
def test_list_files_finds_nothing_where_a_web_server_knows_of_none(web, name):
    assert list_files([f"{web}/{name}"], allow_none=True) == []


@pytest.mark.parametrize("name", ["200.txt", "200.txt?sig=a"])
def test_list_files_finds_a_file_on_the_web(web, name):
    assert [file.uri for file in list_files([f"{web}/{name}"])] == [f"{web}/{name}"]


def test_list_files_reads_a_memory_folder(memory_folder):
    assert [(file.uri, file.size_bytes) for file in list_files([memory_folder])] == [
        ("memory:///corpora/a.txt", 1),
        ("memory:///corpora/deep/b.txt", 2),
    ]


def test_list_files_reads_a_memory_pattern(memory_folder):
    (file,) = list_files([f"{memory_folder}/a*.txt"])
    assert read_all(file) == b"a"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("ftp://me:secret@host/a@b.txt", "ftp://host/a@b.txt"),
        ("zip://inner.txt::ftp://me:secret@host/a.zip", "zip://inner.txt::ftp://host/a.zip"),
        ("https://host/a.txt?sig=secret", "https://host/a.txt"),
        ("https://me:secret@host/a.txt?sig=secret#x", "https://host/a.txt"),
        ("s3://bucket/what?.txt", "s3://bucket/what?.txt"),
        ("/data/me:x@host/what?.txt", "/data/me:x@host/what?.txt"),
    ],
)
def test_display_uri_hides_secrets_only(uri, shown):
    assert display_uri(uri) == shown


@each_compression
def test_open_stream_reads_a_whole_file(make_file, suffix):
    assert read_all(make_file(f"a.txt.{suffix}", COMPRESS[suffix](LINES))) == LINES


@each_compression
def test_open_stream_reads_concatenated_members(make_file, suffix):
    content = COMPRESS[suffix](b"one\n") + COMPRESS[suffix](LINES) + COMPRESS[suffix](b"three\n")
    assert read_all(make_file(f"a.txt.{suffix}", content)) == b"one\n" + LINES + b"three\n"


@each_compression
def test_open_stream_reads_an_empty_member(make_file, suffix):
    assert read_all(make_file(f"a.txt.{suffix}", COMPRESS[suffix](b""))) == b""


@each_compression
def test_open_stream_skips_to_its_start(make_file, suffix):
    file = make_file(f"a.txt.{suffix}", COMPRESS[suffix](LINES))
    assert read_all(file, start=20_001) == LINES[20_001:]


@each_compression
def test_open_stream_refuses_a_start_past_the_end(make_file, suffix):
    file = make_file(f"a.txt.{suffix}", COMPRESS[suffix](b"short"))
    with pytest.raises(FileError, match="expected 9 bytes before this slice, found 5"):
        read_all(file, start=9)


@each_compression
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_open_stream_never_reads_a_truncated_file_short(make_file, suffix, share):
    content = COMPRESS[suffix](LINES)
    file = make_file(f"a.txt.{suffix}", content[: int(len(content) * share)])
    with pytest.raises(FileError, match=r"cannot read '.*a.txt.*' to its end"):
        read_all(file)


@each_compression
def test_open_stream_never_reads_a_truncated_second_member_short(make_file, suffix):
    member = COMPRESS[suffix](LINES)
    with pytest.raises(FileError):
        read_all(make_file(f"a.txt.{suffix}", member + member[:-1]))


@each_compression
def test_open_stream_refuses_a_bad_checksum(make_file, suffix):
    content = bytearray(COMPRESS[suffix](LINES))
    # gzip ends with CRC and length, xz with a footer behind its checks, the others with the checksum.
    content[{"gz": -6, "xz": -30}.get(suffix, -3)] ^= 0xFF
    with pytest.raises(FileError):
        read_all(make_file(f"a.txt.{suffix}", bytes(content)))


@each_compression
def test_open_stream_refuses_trailing_junk(make_file, suffix):
    with pytest.raises(FileError):
        read_all(make_file(f"a.txt.{suffix}", COMPRESS[suffix](LINES) + b"junk"))


@each_compression
def test_open_stream_refuses_a_broken_second_member(make_file, suffix):
    member = COMPRESS[suffix](LINES)
    with pytest.raises(FileError):
        read_all(make_file(f"a.txt.{suffix}", member + bytes([member[0] ^ 1]) + member[1:]))


@each_compression
def test_open_stream_refuses_a_file_of_no_bytes(make_file, suffix):
    with pytest.raises(FileError, match="an empty file is not"):
        read_all(make_file(f"a.txt.{suffix}", b""))


def test_open_stream_reads_xz_with_padding(make_file):
    content = lzma.compress(b"one\n") + bytes(8) + lzma.compress(b"two\n") + bytes(4)
    assert read_all(make_file("a.txt.xz", content)) == b"one\ntwo\n"


@each_compression
def test_open_stream_reads_a_bomb_in_bounded_memory(make_file, measure_memory, suffix):
    size = 64 << 20
    buffer = io.BytesIO()
    if suffix == "gz":
        with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as file:
            for _ in range(64):
                file.write(bytes(1 << 20))
    else:
        buffer.write(COMPRESS[suffix](bytes(1 << 20)) * 64)
    bomb = make_file(f"bomb.{suffix}", buffer.getvalue())
    code = (
        "from transforms.corpora.files import open_stream, stat_file\n"
        "ready()\n"
        "with open_stream(stat_file(sys.argv[1])) as stream:\n"
        "    print(sum(len(chunk) for chunk in iter(lambda: stream.read(1 << 20), b'')))\n"
    )
    printed, grown = measure_memory(code, bomb.uri)
    assert printed == [str(size)]
    assert grown < 48 << 20


@each_compression
def test_open_stream_of_many_truncated_files_leaves_no_memory_behind(make_file, measure_memory, suffix):
    content = COMPRESS[suffix](LINES * 40)
    file = make_file(f"a.txt.{suffix}", content[: len(content) // 2])
    code = (
        "from schemas.errors import FileError\n"
        "from transforms.corpora.files import open_stream, stat_file\n"
        "def read():\n"
        "    try:\n"
        "        with open_stream(stat_file(sys.argv[1])) as stream:\n"
        "            while stream.read(1 << 22):\n"
        "                pass\n"
        "    except FileError:\n"
        "        return 1\n"
        "read()\n"
        "ready()\n"
        "print(sum(read() for _ in range(40)))\n"
    )
    printed, grown = measure_memory(code, file.uri)
    assert printed == ["40"]
    assert grown < 16 << 20


def test_open_file_of_a_missing_file_is_a_file_error(tmp_path):
    with (
        pytest.raises(FileError, match=r"cannot read '.*gone.txt' to its end: No such file"),
        open_file(FileRef(str(tmp_path / "gone.txt"), 1, "1")),
    ):
        pass


def test_open_file_leaves_a_callers_own_errors_alone(make_file):
    with pytest.raises(ZeroDivisionError), open_file(make_file("a.txt", b"a")):
        1 / 0  # noqa: B018


def test_check_unchanged_accepts_the_same_file(make_file):
    check_unchanged(make_file("a.txt", b"one"))


def test_check_unchanged_detects_a_rewrite_of_the_same_size(make_file):
    file = make_file("a.txt", b"one")
    make_file("a.txt", b"two")
    os.utime(file.uri, ns=(0, int(file.version) + 1))
    with pytest.raises(FileError, match="with 3 bytes and version") as caught:
        check_unchanged(file)
    assert caught.value.code == "input_changed"


def test_check_unchanged_detects_a_rewrite_in_memory(memory_folder):
    (file,) = list_files([f"{memory_folder}/a.txt"])
    fsspec.filesystem("memory").pipe("/corpora/a.txt", b"b")
    with pytest.raises(FileError, match="version"):
        check_unchanged(file)


def test_check_unchanged_detects_a_missing_file(make_file, tmp_path):
    file = make_file("a.txt", b"one")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(FileError) as caught:
        check_unchanged(file)
    assert caught.value.code == "file_missing"


def test_stat_file_sees_what_list_files_sees(make_file, tmp_path):
    file = make_file("a.txt", b"one")
    assert stat_file(file.uri) == list_files([str(tmp_path)])[0]


def test_open_stream_tells_a_store_that_does_not_answer_from_a_broken_file(make_file, monkeypatch):
    file = make_file("a.txt", b"Anna")

    def time_out(*_, **__):
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", time_out)
    with pytest.raises(StorageError, match=r"cannot reach .*timed out"), open_stream(file):
        pass


def test_list_files_takes_two_spellings_of_a_name_for_one_file(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("Anna")
    (file,) = list_files([str(tmp_path / "a.txt"), f"{tmp_path}/sub/../a.txt", f"{tmp_path}/./a.txt"])
    assert file.uri == str(tmp_path / "a.txt")


@pytest.mark.parametrize("look", [check_unchanged, read_all])
def test_a_file_whose_password_is_not_known_is_not_looked_for(make_file, look):
    file = dataclasses.replace(make_file("a.txt", b"Anna"), lacks_secret=True)
    with pytest.raises(FileError, match="give the spanmill annotate command again") as caught:
        look(file)
    assert caught.value.code == "secret_unknown"


def test_an_error_of_a_client_is_one_of_its_store_and_tells_no_secret(make_file, monkeypatch):
    class ClientResponseError(Exception):
        __module__ = "aiohttp.client_exceptions"

    def refuse(*_, **__):
        raise ClientResponseError("503, message='Busy', url='https://me:secret@host/a.txt?sig=secret'")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", refuse)
    with pytest.raises(StorageError, match=r"cannot reach .*503, message='Busy'") as caught:
        read_all(make_file("a.txt", b"Anna"))
    assert "secret" not in str(caught.value)


class HostedFileSystem(MemoryFileSystem):
    """A store in memory that takes host, user and password from a URL and knows files by their paths, as ftp does."""

    protocol = "ftp"
    cachable = False

    def __init__(self, host="", username="", password=""):
        super().__init__()
        if (host, username, password) != ("host", "me", "secret"):
            raise PermissionError(13, "Login incorrect")

    @classmethod
    def _strip_protocol(cls, path):
        return infer_storage_options(path.rstrip("/"))["path"]

    @staticmethod
    def _get_kwargs_from_urls(path):
        return {key: value for key, value in infer_storage_options(path).items() if key not in ("path", "protocol")}


@pytest.fixture
def hosted(memory_folder, monkeypatch):
    monkeypatch.setitem(_registry, "ftp", HostedFileSystem)
    return "ftp://me:secret@host/corpora"


@pytest.mark.parametrize("name", ["", "/a.txt"])
def test_a_file_on_a_host_that_wants_a_password_is_found_again(hosted, name):
    file = list_files([hosted + name])[0]
    assert (file.uri, file.source) == ("ftp://me:secret@host/corpora/a.txt", "ftp://host/corpora/a.txt")
    check_unchanged(file)
    assert read_all(file) == b"a"


def test_a_host_that_refuses_a_password_does_not_tell_it(hosted):
    with pytest.raises(ConfigError, match="cannot list input 'ftp://host/corpora': Login incorrect"):
        list_files([hosted.replace("secret", "wrong")])


@pytest.mark.parametrize("look", [check_unchanged, read_all])
def test_an_error_about_a_file_with_a_password_tells_no_cause_that_might_hold_it(look, monkeypatch):
    uri = f"https://me:{PASSWORD}@host/a.txt"

    def refuse(*_, **__):
        raise FileNotFoundError(uri)

    monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    with pytest.raises(FileError) as caught:
        look(FileRef(uri, 1, "1"))
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
