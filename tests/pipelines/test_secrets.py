"""Passwords and signatures in URLs: they open the input, and are written and said nowhere."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import read_rows, run_folder, snapshot
from transforms.storage.manifests import read_inputs
from transforms.storage.store import open_store

CANARY = "canary5e1f"
LINES = "".join(f"Anna lives in Berlin {at}\n" for at in range(40)).encode()


class Store(ThreadingHTTPServer):
    """Serves the same text under every name to whoever knows the password or signed the address."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secret = f"{CANARY}1"
        self.content = LINES
        self.is_down = False

    def address(self, kind="password", name="a.txt"):
        host = f"127.0.0.1:{self.server_port}"
        if kind == "password":
            return f"http://me:{self.secret}@{host}/{name}"
        return f"http://{host}/{name}?sig={self.secret}"

    def shown(self, name="a.txt"):
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def handle_error(self, request, client_address):
        """A client that goes away is no matter of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(has_body=False)

    def do_GET(self):
        self._answer(has_body=True)

    def log_message(self, *_):
        pass

    def _answer(self, *, has_body):
        content, status = self.server.content, 200
        signature = parse_qs(urlsplit(self.path).query).get("sig")
        password = base64.b64encode(f"me:{self.server.secret}".encode()).decode()
        if signature != [self.server.secret] and self.headers["Authorization"] != f"Basic {password}":
            content, status = b"", 403
        if self.server.is_down:
            content, status = b"", 503
        total = len(content)
        if status == 200 and (span := self.headers["Range"]):
            first, _, last = span.removeprefix("bytes=").partition("-")
            content, status = content[int(first) : int(last or total) + 1], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"1"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(content) - 1}/{total}")
        self.end_headers()
        if has_body:
            self.wfile.write(content)


@pytest.fixture
def store(monkeypatch):
    """A store that wants a secret, and an environment that holds another."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{CANARY}2")
    monkeypatch.setenv("SOME_TOKEN", f"{CANARY}3")
    server = Store()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def leaks(tmp_path, capfd):
    """Where a secret can be seen: names of files under the output folder, and what was said so far."""

    def find():
        said = capfd.readouterr()
        places = {"stdout": said.out, "stderr": said.err}
        for path in (path for path in tmp_path.glob("out*/**/*") if path.is_file()):
            places[path.name] = f"{path} {path.read_bytes().decode(errors='replace')}"
            if path.suffix == ".parquet":
                places[path.name] += f"{pq.read_schema(path).metadata} {pq.read_table(path).to_pylist()}"
        return [name for name, content in places.items() if CANARY in content]

    return find


def _run(*arguments):
    return main(list(map(str, arguments)))


@pytest.mark.parametrize("kind", ["password", "signature"])
@pytest.mark.parametrize("options", [(), ("--document-per-file", "--output-format=jsonl")])
def test_a_secret_opens_the_input_and_is_written_nowhere(annotate, store, leaks, tmp_path, kind, options):
    assert annotate("--slice-size=300", *options, source=store.address(kind)) == 0
    assert leaks() == []
    inputs = read_inputs(open_store(str(run_folder(tmp_path / "out"))))
    assert set(inputs.column("uri").to_pylist()) == {store.shown()}


@pytest.mark.parametrize("kind", ["password", "signature"])
def test_another_secret_for_the_same_files_has_nothing_to_do(annotate, store, leaks, tmp_path, kind):
    assert annotate(source=store.address(kind)) == 0
    before = snapshot(tmp_path / "out")
    store.secret = f"{CANARY}4"
    assert annotate(source=store.address(kind)) == 0
    assert snapshot(tmp_path / "out") == before
    assert leaks() == []


@pytest.mark.parametrize("kind", ["password", "signature"])
def test_a_run_that_fails_keeps_the_secret_and_goes_on_with_another(
    annotate, store, leaks, tmp_path, monkeypatch, kind
):
    from transforms.storage.commits import SliceWriter

    commit, committed = SliceWriter.commit, []

    def commit_and_go_down(writer):
        store.is_down = True
        committed.append(1)
        return commit(writer)

    with monkeypatch.context() as patched:
        patched.setattr(SliceWriter, "commit", commit_and_go_down)
        assert annotate("--slice-size=300", source=store.address(kind)) == 1
    assert leaks() == []
    store.is_down, store.secret = False, f"{CANARY}4"
    assert annotate("--slice-size=300", source=store.address(kind)) == 0
    assert leaks() == []
    assert [row["row"] for row in read_rows(tmp_path / "out")] == list(range(40))
    assert committed == [1]


@pytest.mark.parametrize("words", [("--format", "parquet"), ("--document-per-file", "--keep-columns", "a")])
def test_wrong_options_for_a_file_do_not_tell_its_secret(annotate, store, leaks, words):
    assert annotate(*words, source=store.address("signature")) == 2
    assert leaks() == []


def test_a_refused_secret_is_not_told(annotate, store, leaks, capfd):
    address = store.address("signature")
    store.secret = f"{CANARY}4"
    assert annotate(source=address) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"spanmill: cannot list input {store.shown()!r}: 403, message='Forbidden'")
    assert CANARY not in error


def test_addresses_that_differ_in_their_queries_only_are_refused(annotate, store, tmp_path, capfd):
    other = f"{store.address('signature')}&page=2"
    assert annotate("--input", other, source=store.address("signature")) == 2
    error = capfd.readouterr().err
    assert f"found 2 as {store.shown()!r}" in error
    assert (error.count("\n"), CANARY in error) == (1, False)
    assert not list((tmp_path / "out").rglob("_plan*"))


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("host:port/x", 2, "cannot send to --lineage 'https://host:port/x': "),
        ("127.0.0.1:9/x", 0, "could not tell those who watch: "),
    ],
)
def test_a_server_of_lineage_that_is_not_reached_does_not_tell_its_password(
    annotate, corpus, leaks, capfd, address, status, words
):
    pytest.importorskip("openlineage.client")
    assert annotate("--lineage", f"https://me:{CANARY}@{address}?key={CANARY}", source=corpus) == status
    error = capfd.readouterr().err
    assert error.startswith(f"spanmill: {words}")
    assert CANARY not in error
    assert leaks() == []


@pytest.fixture
def finished(annotate, store, tmp_path, capfd):
    """The run of a file that needed a password."""
    assert annotate(source=store.address()) == 0
    capfd.readouterr()
    return run_folder(tmp_path / "out")


def test_verify_reads_the_output_and_says_that_the_input_wants_its_password(finished, store, capfd):
    assert _run("verify", finished, "--no-progress") == 0
    said = capfd.readouterr()
    assert "40 documents" in said.out
    assert said.err.startswith(f"spanmill: not compared with {store.shown()!r}: expected the password or query")
    assert said.err.count("\n") == 1


def test_inspect_shows_entities_without_the_text(finished, capfd):
    assert _run("inspect", finished, "--limit", 1) == 0
    assert "expected the password or query" in capfd.readouterr().out


def test_repair_that_would_need_the_password_asks_for_the_command(finished, capfd):
    damaged = next(finished.glob("data/*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    before = snapshot(finished)
    assert _run("verify", finished, "--repair", "--no-progress") == 2
    assert "give the spanmill annotate command again" in capfd.readouterr().err
    assert snapshot(finished) == before


def test_evaluate_joins_by_digest_and_refuses_to_read_the_input_again(finished, store, tmp_path, capfd):
    gold = tmp_path / "gold.jsonl"
    texts = LINES.decode().splitlines()
    rows = ({"id": f"{store.shown()}#{at}", "text": text, "gold": [[0, 4, "PER"]]} for at, text in enumerate(texts))
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", "--gold", gold, "--gold-column", "gold", "--predicted", finished, "--replicates", 0]
    words += ["--output", tmp_path / "scores", "--no-progress"]
    assert _run(*words) == 0
    capfd.readouterr()
    assert _run(*words, "--reread-inputs") == 2
    error = capfd.readouterr().err
    assert "leave --reread-inputs out" in error
    assert error.count("\n") == 1
