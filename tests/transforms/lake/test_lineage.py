import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pyarrow as pa
import pytest

from schemas.annotations import annotation_schema
from schemas.errors import ConfigError

pytest.importorskip("openlineage.client")

from transforms.lake.lineage import Lineage


@pytest.fixture
def events(tmp_path):
    """Reads the events that were added to a file."""
    return lambda: [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]


@pytest.fixture
def lineage(tmp_path):
    inputs = ("/corpus/a*.parquet", "/corpus/b.txt", "s3://me:secret@bucket/news/2026-*/part.jsonl")
    return Lineage(str(tmp_path / "events.jsonl"), job="annotate.out", version="1.2", inputs=inputs)


def test_a_run_begins_with_its_inputs_and_the_folder_of_its_output(lineage, events):
    lineage.start("/out/run=1/data")
    (event,) = events()
    assert event["eventType"] == "START"
    assert (event["job"]["namespace"], event["job"]["name"]) == ("spanmill", "annotate.out")
    named = [(item["namespace"], item["name"]) for item in event["inputs"]]
    assert named == [("file", "/corpus"), ("file", "/corpus/b.txt"), ("s3://bucket", "news")]
    assert [(item["namespace"], item["name"]) for item in event["outputs"]] == [("file", "/out/run=1/data")]
    assert event["run"]["facets"]["processing_engine"]["version"] == "1.2"


def test_no_password_of_an_input_is_told(lineage, events):
    lineage.start("/out/run=1/data")
    assert "secret" not in json.dumps(events())


def test_a_complete_run_tells_what_was_read_and_written_and_its_schema(lineage, events):
    lineage.start("/out/run=1/data")
    names = ["/corpus/a1.parquet", "/corpus/a2.parquet", "/corpus/b.txt"]
    read = pa.table({"uri": pa.array(names, pa.large_string()), "rows": [2, 3, 7], "size_bytes": [20, 30, 70]})
    written = pa.table({"rows": [3, 4, 5, 0], "size_bytes": [33, 33, 32, 1]})
    lineage.complete("/out/run=1/data", read=read, written=written, schema=annotation_schema())
    start, event = events()
    assert event["eventType"] == "COMPLETE"
    assert event["run"]["runId"] == start["run"]["runId"]
    counts = [item.get("inputFacets", {}).get("inputStatistics", {}) for item in event["inputs"]]
    assert [(each.get("rowCount"), each.get("size"), each.get("fileCount")) for each in counts] == [
        (5, 50, 2),
        (7, 70, 1),
        (None, None, None),
    ]
    (output,) = event["outputs"]
    statistics = output["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (12, 99, 4)
    fields = {field["name"]: field for field in output["facets"]["schema"]["fields"]}
    assert fields["row"]["type"] == "int64"
    assert [inner["name"] for inner in fields["entities"]["fields"]] == ["start", "end", "label", "score", "text"]


@pytest.mark.parametrize(
    ("given", "listed", "dataset"),
    [
        ("{here}/sub/../in", "{here}/in/a.txt", ("file", "{here}/in")),
        ("file://{here}/in", "{here}/in/a.txt", ("file", "{here}/in")),
        ("in/*.txt", "{here}/in/a.txt", ("file", "{here}/in")),
        ("*.txt", "{here}/a.txt", ("file", "{here}")),
        ("/*.txt", "/a.txt", ("file", "/")),
        ("s3a://me:secret@bucket/in", "s3://bucket/in/a.txt", ("s3://bucket", "in")),
        ("ftp://me:secret@host/in", "ftp://host/in/a.txt", ("ftp://host", "in")),
    ],
)
def test_an_input_is_named_as_its_files_are(tmp_path, monkeypatch, events, given, listed, dataset):
    def refuse_strangers(_, user="", *__):
        assert user == "me"

    monkeypatch.setattr("ftplib.FTP.connect", lambda *_, **__: None)
    monkeypatch.setattr("ftplib.FTP.login", refuse_strangers)
    monkeypatch.chdir(tmp_path)
    here = {"here": str(tmp_path)}
    lineage = Lineage(str(tmp_path / "events.jsonl"), job="j", version="1", inputs=[given.format_map(here)])
    read = pa.table({"uri": [listed.format_map(here)], "rows": [3], "size_bytes": [30]})
    lineage.complete("file:///out/../run=1/data", read=read, written=read, schema=None)
    (event,) = events()
    (item,), (output,) = event["inputs"], event["outputs"]
    assert (item["namespace"], item["name"]) == tuple(part.format_map(here) for part in dataset)
    assert item["inputFacets"]["inputStatistics"]["rowCount"] == 3
    assert (output["namespace"], output["name"]) == ("file", "/run=1/data")


def test_a_file_counts_for_the_innermost_of_inputs_that_hold_it(tmp_path, events):
    lineage = Lineage(str(tmp_path / "events.jsonl"), job="j", version="1", inputs=["/in", "/in/new", "/inside"])
    read = pa.table({"uri": ["/in/new/a", "/in/b", "/inside/c"], "rows": [1, 2, 4], "size_bytes": [1, 1, 1]})
    lineage.complete("/out", read=read, written=read, schema=None)
    rows = {item["name"]: item["inputFacets"]["inputStatistics"]["rowCount"] for item in events()[0]["inputs"]}
    assert rows == {"/in": 2, "/in/new": 1, "/inside": 4}


def test_a_failed_run_tells_why(lineage, events):
    lineage.start("/out/run=1/data")
    lineage.fail("/out/run=1/data", "expected a file, found none")
    assert events()[1]["eventType"] == "FAIL"
    assert events()[1]["run"]["facets"]["errorMessage"]["message"] == "expected a file, found none"


def test_a_server_gets_events_with_its_key(monkeypatch):
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, self.headers["Authorization"], json.loads(body)["eventType"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "key")
    url = f"http://127.0.0.1:{server.server_port}"
    Lineage(url, job="annotate.out", version="1", inputs=["/a.txt"]).start("/out/run=1/data")
    server.shutdown()
    server.server_close()
    assert got == [("/api/v1/lineage", "Bearer key", "START")]


def test_a_server_that_is_no_url_is_refused():
    with pytest.raises(ConfigError, match="cannot send to --lineage"):
        Lineage("http://", job="j", version="1", inputs=[])
