"""The examples do what the pages that show them say."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ROWS = [
    {"id": "a", "body": "Angela Merkel visited Paris."},
    {"id": "b", "body": ""},
    {"id": "c", "body": "Berlin waits."},
]


@pytest.fixture
def documents(tmp_path):
    """JSON lines, of which the last two have no text and one that is no Unicode."""
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, [*ROWS, {"id": "d"}, {"id": "e", "body": "\ud800 waits."}])) + "\n")
    return path


def _run(*command):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr


def _read(folder, name):
    lines = [line for path in folder.glob(f"{name}*") for line in path.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda row: row["id"])


@pytest.mark.timeout(1000)
def test_a_python_pipeline_of_twenty_lines_writes_people_and_dead_letters(documents, tmp_path):
    source = (ROOT / "examples/annotate_rows.py").read_text()
    assert sum(bool(line.strip()) for line in source.splitlines()) <= 20
    _run("examples/annotate_rows.py", documents, tmp_path / "people", tmp_path / "dead")
    people = [(row["id"], row["people"]) for row in _read(tmp_path, "people")]
    assert people == [("a", ["Angela Merkel"]), ("b", []), ("c", [])]
    letters = [(letter["id"], letter["error"]) for letter in _read(tmp_path, "dead")]
    assert letters == [("d", "missing_text"), ("e", "bad_utf8")]


@pytest.mark.timeout(1000)
def test_a_yaml_pipeline_names_the_provider_and_gets_people_and_errors(tmp_path):
    pytest.importorskip("apache_beam.yaml.yaml_transform", exc_type=ImportError)
    documents = tmp_path / "in.jsonl"
    long = {"id": "d", "body": "x" * 10001}
    documents.write_text("\n".join(map(json.dumps, [*ROWS, long])) + "\n")
    variables = json.dumps({"input": str(documents), "output": str(tmp_path / "out")})
    command = ["-m", "apache_beam.yaml.main", "--yaml_pipeline_file=examples/annotate.yaml", "--runner=FnApiRunner"]
    _run(*command, f"--jinja_variables={variables}")
    people = [(row["id"], row["people"]) for row in _read(tmp_path / "out", "people")]
    assert people == [("a", ["Angela Merkel"]), ("b", []), ("c", [])]
    (letter,) = _read(tmp_path / "out", "dead")
    assert (letter["id"], letter["stage"], letter["error"]) == ("d", "annotate", "too_large")
