"""What annotate tells those who watch: metrics in a file and lineage as events, however a run ends."""

import json
import signal

import pytest

from pipelines.console import signals
from tests.pipelines.conftest import run_folder

CANARY = "Zebulon"


@pytest.fixture
def watched(annotate, tmp_path):
    """Runs annotate with metrics and lineage and returns its status, the metrics and the events."""
    parser = pytest.importorskip("prometheus_client.parser")
    pytest.importorskip("openlineage.client")

    def run(*arguments, source):
        told = ["--metrics-file", tmp_path / "spanmill.prom", "--lineage", tmp_path / "events.jsonl"]
        try:
            status = annotate(*told, *arguments, source=source)
        except SystemExit as stopped:
            status = stopped.code
        path = tmp_path / "spanmill.prom"
        families = parser.text_string_to_metric_families(path.read_text() if path.exists() else "")
        metrics = {sample.name: sample.value for family in families for sample in family.samples}
        path = tmp_path / "events.jsonl"
        return status, metrics, [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return run


def test_a_run_tells_that_it_began_and_is_complete(watched, corpus, tmp_path):
    status, metrics, events = watched(source=corpus)
    assert (status, metrics["spanmill_last_run_success"], metrics["spanmill_documents"]) == (0, 1, 120)
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    (read,), (wrote,) = events[1]["inputs"], events[1]["outputs"]
    assert read["name"] == str(corpus)
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == 120
    assert wrote["name"] == f"{run_folder(tmp_path / 'out')}/data"
    assert wrote["outputFacets"]["outputStatistics"]["rowCount"] == 120
    assert "entities" in {field["name"] for field in wrote["facets"]["schema"]["fields"]}


@pytest.mark.parametrize("name", ["{folder}/corpus/../corpus", "file://{folder}/corpus", "{folder}/corpus/*.txt"])
def test_every_file_counts_however_many_a_report_names(watched, corpus, tmp_path, monkeypatch, name):
    monkeypatch.setattr("pipelines.runs.finishing._MOST_INPUTS", 2)
    source = name.format(folder=tmp_path)
    for events in (watched(source=source)[2], watched(source=source)[2][2:]):
        (read,), (wrote,) = events[1]["inputs"], events[1]["outputs"]
        counted, written = read["inputFacets"]["inputStatistics"], wrote["outputFacets"]["outputStatistics"]
        size = sum(path.stat().st_size for path in corpus.iterdir())
        assert (read["name"], counted["fileCount"], counted["rowCount"], counted["size"]) == (str(corpus), 3, 120, size)
        data = [*run_folder(tmp_path / "out").glob("data/*")]
        size = sum(path.stat().st_size for path in data)
        assert (written["fileCount"], written["rowCount"], written["size"]) == (len(data), 120, size)


def test_a_run_that_fails_tells_why(watched, corpus, monkeypatch):
    from schemas.errors import PipelineError

    def fail(*_):
        raise PipelineError("expected a worker, found none")

    monkeypatch.setattr("pipelines.annotate._annotate", fail)
    status, metrics, events = watched(source=corpus)
    assert (status, metrics["spanmill_last_run_success"], metrics["spanmill_last_run_exit_status"]) == (1, 0, 1)
    assert [event["eventType"] for event in events] == ["START", "FAIL"]
    assert events[1]["run"]["facets"]["errorMessage"]["message"] == "expected a worker, found none"


def test_a_run_that_is_handed_over_has_not_ended_and_goes_on_under_its_id(watched, corpus, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.annotate._annotate", lambda *_: None)
        status, metrics, events = watched("--runner=FlinkRunner", "--no_wait_until_finish", source=corpus)
    assert (status, metrics) == (0, {})
    assert [event["eventType"] for event in events] == ["START", "RUNNING"]
    status, metrics, events = watched(source=corpus)
    assert (status, metrics["spanmill_last_run_success"]) == (0, 1)
    assert [event["eventType"] for event in events[2:]] == ["RUNNING", "COMPLETE"]
    assert len({event["run"]["runId"] for event in events}) == 1
    later = watched(source=corpus)[2][4:]
    assert [event["eventType"] for event in later] == ["START", "COMPLETE"]
    assert later[0]["run"]["runId"] != events[0]["run"]["runId"]


def test_a_run_that_is_stopped_tells_so_before_it_ends(watched, corpus, monkeypatch):
    def stop(*_):
        signal.raise_signal(signal.SIGTERM)

    def leave(status):
        raise SystemExit(status)

    monkeypatch.setattr("pipelines.annotate._annotate", stop)
    monkeypatch.setattr("pipelines.console.signals._children", list)
    monkeypatch.setattr("os._exit", leave)
    status, metrics, events = watched(source=corpus)
    assert (status, metrics["spanmill_last_run_success"], metrics["spanmill_last_run_exit_status"]) == (143, 0, 143)
    assert [event["eventType"] for event in events] == ["START", "ABORT"]
    assert not signals.BEFORE_END


def test_an_input_that_is_not_there_is_a_failed_run_without_lineage(watched, tmp_path):
    status, metrics, events = watched(source=tmp_path / "none.txt")
    assert (status, metrics["spanmill_last_run_exit_status"], events) == (2, 2, [])


def test_too_many_dead_letters_are_no_success(watched, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"Anna\n\xff\n")
    status, metrics, _ = watched(source=tmp_path / "bad.txt")
    assert (status, metrics["spanmill_last_run_success"], metrics["spanmill_dead_letters"]) == (3, 0, 1)


def test_no_text_of_a_document_is_told(watched, tmp_path):
    (tmp_path / "secret.txt").write_text(f"{CANARY} lives in Berlin\n" * 3)
    watched(source=tmp_path / "secret.txt")
    told = (tmp_path / "spanmill.prom").read_text() + (tmp_path / "events.jsonl").read_text()
    assert CANARY not in told


@pytest.mark.parametrize("options", [[], ["--log-format", "json"]])
@pytest.mark.parametrize("words", ["cannot count {text!r}", "cannot count\n{text}"])
def test_no_text_of_a_document_is_told_of_a_run_that_fails(watched, tmp_path, monkeypatch, capfd, options, words):
    def fail(_, documents, **more):
        raise ValueError(words.format(text=documents["text"][0].as_py()))

    monkeypatch.setattr("transforms.models.annotator.Annotator.begin", fail)
    (tmp_path / "secret.txt").write_text(f"{CANARY} lives in Berlin\n" * 3)
    status, _, events = watched(*options, source=tmp_path / "secret.txt")
    said = capfd.readouterr()
    told = (tmp_path / "spanmill.prom").read_text() + (tmp_path / "events.jsonl").read_text() + said.out + said.err
    assert (status, CANARY in told) == (1, False)
    for reason in (events[1]["run"]["facets"]["errorMessage"]["message"], said.err):
        assert "stopped by ValueError at runs/test_observing.py:" in reason


def test_a_server_that_does_not_answer_does_not_stop_a_run(annotate, corpus, capsys):
    pytest.importorskip("openlineage.client")
    assert annotate("--lineage", "http://127.0.0.1:9", source=corpus) == 0
    assert "could not tell those who watch" in capsys.readouterr().err


def test_a_metrics_file_that_nobody_reads_is_refused_before_anything_is_planned(annotate, corpus, tmp_path, capsys):
    pytest.importorskip("prometheus_client")
    assert annotate("--metrics-file", tmp_path / "metrics.txt", source=corpus) == 2
    assert "expected --metrics-file FILE.prom" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
