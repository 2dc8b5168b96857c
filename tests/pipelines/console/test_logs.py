import json
import sys
import threading

import pytest

from pipelines.__main__ import main
from pipelines.console.logs import JsonLines, logging_as, take_format
from schemas.errors import ConfigError


def _lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("words", [["--log-format=json"], ["--log-format", "json"]])
def test_the_flag_goes_with_every_job_and_is_taken_out(words):
    assert take_format(["--input", "a", *words, "--progress"]) == ("json", ["--input", "a", "--progress"])


@pytest.mark.parametrize("words", [["--log-format=xml"], ["--log-format"]])
def test_another_format_is_refused(words, capsys):
    assert main(["annotate", *words]) == 2
    assert "expected --log-format of ('text', 'json')" in capsys.readouterr().err


def test_a_line_becomes_an_object_once_it_has_ended(capsys):
    with logging_as("json", "annotate"):
        print("annotated 1 of ", end="", file=sys.stderr)
        assert not capsys.readouterr().err
        print("2 documents\nspanmill: a worker died", file=sys.stderr)
        print("no end", end="", file=sys.stderr)
    lines = _lines(capsys.readouterr().err)
    assert [(line["level"], line["message"]) for line in lines] == [
        ("info", "annotated 1 of 2 documents"),
        ("warning", "a worker died"),
        ("info", "no end"),
    ]
    assert all(line["job"] == "annotate" and line["time"].endswith("+00:00") for line in lines)


def test_threads_do_not_write_into_each_others_lines(capsys):
    lines = JsonLines(sys.stderr, "job")
    lines.write("one ")
    thread = threading.Thread(target=lines.write, args=["of another\n"])
    thread.start()
    thread.join()
    lines.write("line\n")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["of another", "one line"]


def test_quotes_and_control_characters_keep_to_their_line(capsys):
    with logging_as("json", "annotate"):
        print('a "b"\t\x1b[31m é\r', file=sys.stderr)
    (line,) = _lines(capsys.readouterr().err)
    assert line["message"] == 'a "b"\t\x1b[31m é'


def test_an_error_is_an_object_with_its_kind(tmp_path, capsys):
    words = ["annotate", "--input", str(tmp_path / "none.txt"), "--output", str(tmp_path / "out")]
    assert main([*words, "--log-format", "json"]) == 2
    *_, line = _lines(capsys.readouterr().err)
    assert (line["level"], line["error"], line["step"]) == ("error", "ConfigError", "plan")
    assert "none.txt" in line["message"]


def test_an_error_that_nobody_expected_tells_where_and_not_what(capsys):
    def fail():
        raise ValueError("Anna lives in Berlin")

    with pytest.raises(SystemExit) as caught, logging_as("json", "annotate"):
        fail()
    assert caught.value.code == 1
    told = capsys.readouterr().err
    (line,) = _lines(told)
    assert (line["level"], line["error"]) == ("critical", "ValueError")
    assert line["trace"][-1].endswith("fail")
    assert "Anna" not in told


def test_text_stays_as_it_was(capsys):
    with logging_as("text", "annotate"):
        assert not isinstance(sys.stderr, JsonLines)
        print("spanmill: a worker died", file=sys.stderr)
    assert capsys.readouterr().err == "spanmill: a worker died\n"


def test_a_run_says_which_run_and_step_its_lines_are_about(annotate, tmp_path, capsys):
    (tmp_path / "bad.txt").write_bytes(b"Anna\n\xff\n")
    assert annotate("--log-format", "json", source=tmp_path / "bad.txt") == 3
    (run,) = (tmp_path / "out").glob("run=*")
    lines = _lines(capsys.readouterr().err)
    assert lines[-1]["level"] == "warning"
    assert "of the documents failed" in lines[-1]["message"]
    assert (lines[-1]["run"], lines[-1]["step"]) == (run.name.removeprefix("run="), "report")


def test_a_flag_without_its_value_names_what_was_found():
    with pytest.raises(ConfigError, match="found ''"):
        take_format(["--log-format"])
