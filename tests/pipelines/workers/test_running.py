"""What a runner's failures come down to for a person."""

import threading

import grpc
import pytest

from pipelines.workers import running
from pipelines.workers.running import describe_failure

LOST = """<_InactiveRpcError of RPC that terminated with:
\tstatus = StatusCode.UNAVAILABLE
\tdetails = "failed to connect to all addresses; Connection refused"
\tdebug_error_string = "UNKNOWN:Error received from peer"
>"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("RuntimeError: no memory [while running 'Annotate']", "no memory"),
        ("Traceback\n  File 1\nschemas.errors.FileError: a.txt is gone", "schemas.errors.FileError: a.txt is gone"),
        (LOST, "the runner or its workers do not answer: failed to connect to all addresses; Connection refused"),
        (f"{LOST}\nschemas.errors.ConfigError: no model", "schemas.errors.ConfigError: no model"),
        ("", "Exception"),
    ],
)
def test_the_cause_of_a_failure_is_told_in_one_line(words, told):
    assert describe_failure(Exception(words)) == told


def test_threads_of_a_lost_runner_are_quiet_and_others_are_not(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: told.append(failed.exc_value))
    running._quiet_lost_calls()
    errors = [grpc.RpcError("lost"), ValueError("ours")]
    for error in errors:
        thread = threading.Thread(target=_fail, args=[error])
        thread.start()
        thread.join()
    assert told == errors[1:]


def _fail(error):
    raise error
