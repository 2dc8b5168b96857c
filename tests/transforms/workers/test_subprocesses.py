import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.console.logs import logging_as
from tests.conftest import ROOT
from transforms.workers.subprocesses import Child, describe_status


def add(connection, left, right):
    connection.send(left + right)


def tell_group(connection):
    connection.send(os.getpgid(0))


def sleep(connection):
    connection.send("asleep")
    time.sleep(1000)


def fail(connection):
    print("on my way", file=sys.stderr, flush=True)
    raise ValueError("Anna lives in Berlin")


def have_a_child(connection, path):
    child = Child(sleep)
    child.connection.recv()
    Path(path).write_text(str(child.pid))
    time.sleep(1000)


def _is_alive(pid):
    try:
        # A zombie that nobody waits for has ended too.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_child_runs_a_function_and_answers():
    child = Child(add, 2, 3)
    assert child.connection.recv() == 5
    assert child.wait() == 0


def test_an_error_of_a_child_is_one_line_without_its_words(capfd):
    child = Child(fail)
    assert child.wait() == 1
    first, last = capfd.readouterr().err.splitlines()
    assert first == "on my way"
    assert re.fullmatch(
        r"spanmill: a process was stopped: ValueError at workers/test_subprocesses.py:\d+, from .*", last
    )
    assert "Anna" not in last


def test_what_a_child_says_is_in_the_format_of_its_parent(capsys):
    with logging_as("json", "annotate"):
        assert Child(fail).wait() == 1
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning"]
    assert lines[1]["message"].startswith("a process was stopped: ValueError at")


def test_child_has_a_process_group_of_its_own():
    child = Child(tell_group)
    assert child.connection.recv() == child.pid != os.getpgid(0)
    child.wait()


def test_a_child_that_is_killed_ends_at_once():
    child = Child(sleep)
    child.connection.recv()
    child.kill()
    assert not _is_alive(child.pid)


def test_children_do_not_outlive_a_parent_that_is_killed(tmp_path):
    note = tmp_path / "pid"
    code = "import sys; from transforms.workers.subprocesses import Child; "
    code += "from tests.transforms.workers.test_subprocesses import have_a_child; "
    code += "child = Child(have_a_child, sys.argv[1]); print(child.pid, flush=True); child.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code, str(note)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with parent.stdout as output:
        child = int(output.readline())
    assert _wait_until(lambda: note.exists() and note.read_text())
    grandchild = int(note.read_text())
    assert _is_alive(child)
    assert _is_alive(grandchild)
    parent.kill()
    parent.wait()
    assert _wait_until(lambda: not _is_alive(child) and not _is_alive(grandchild))


@pytest.mark.parametrize(("status", "words"), [(-signal.SIGSEGV, "SIGSEGV"), (3, "exit status 3"), (-200, "-200")])
def test_describe_status_names_signals(status, words):
    assert words in describe_status(status)
