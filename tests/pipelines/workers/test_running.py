"""What stopped a pipeline, told by a process that ran it or that a runner answers."""

import threading
import traceback

import grpc
import pytest

from pipelines.workers import running
from pipelines.workers.running import run_pipeline, translate_traceback
from schemas.errors import (
    ConfigError,
    FileError,
    InputError,
    MemoryExhaustedError,
    ModelError,
    ParseError,
    PipelineError,
)
from schemas.failures import HEADER

CANARY = "Zebulon"


def _run(error, *, flags=()):
    """Runs a pipeline that fails by an error, and returns what comes out of it."""
    import apache_beam as beam

    def fail(_):
        raise error

    with pytest.raises(PipelineError) as caught:
        run_pipeline(lambda pipeline: pipeline | beam.Create([1]) | beam.Map(fail), flags)
    return caught.value


def _as_text(error):
    """An error as a cluster's runner hands it on."""
    try:
        raise error
    except type(error):
        return f"Pipeline p failed in state FAILED: SDK harness, instruction 4: {traceback.format_exc()}"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ConfigError("expected a column, found none"), ConfigError, "expected a column, found none"),
        (ModelError("the model failed"), ModelError, "the model failed"),
        (FileError("truncated", "expected an end, found none"), InputError, "expected an end, found none"),
        (ParseError("bad_text", "expected a string, found int"), PipelineError, "expected a string, found int"),
        (MemoryError(CANARY), MemoryExhaustedError, "memory ran out; take fewer --workers or a machine with more"),
    ],
)
def test_an_error_of_ours_keeps_its_words(error, kind, words):
    found = _run(error)
    assert type(found) is kind
    assert str(found).startswith(words)
    told = translate_traceback(_as_text(error))
    assert str(told) == str(found)
    assert type(told) in (kind, PipelineError)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError(f"cannot count ['{CANARY}']"), "ValueError at "),
        (ValueError(f'cannot count\n{CANARY}: lives\n  File "{CANARY}", line 3'), "ValueError at "),
        (RuntimeError(CANARY), "RuntimeError at "),
        (KeyError((CANARY, 1)), "KeyError at "),
        (UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY), "UnicodeDecodeError at "),
        (OSError(28, CANARY), "OSError (No space left on device) at "),
    ],
)
def test_an_error_that_nobody_expected_is_told_by_its_type_and_place(error, reason):
    for found in (_run(error), translate_traceback(_as_text(error))):
        assert str(found).startswith(f"stopped by {reason}workers/test_running.py:")
        assert CANARY not in str(found)


def test_a_runner_that_does_not_answer_is_told_by_its_own_words(monkeypatch):
    def refuse(*_):
        raise RuntimeError("\nfailed to connect to all addresses")

    monkeypatch.setattr("apache_beam.Pipeline.run", refuse)
    assert str(_run(ValueError(), flags=["--runner=PortableRunner"])) == "failed to connect to all addresses"


def test_memory_that_ran_out_while_another_error_was_dealt_with_is_told():
    text = f"{_as_text(KeyError('a'))}\nDuring handling of the above exception, another exception occurred:\n\n"
    assert type(translate_traceback(text + _as_text(MemoryError("9")))) is MemoryExhaustedError


LOST = """<_InactiveRpcError of RPC that terminated with:
\tstatus = StatusCode.UNAVAILABLE
\tdetails = "failed to connect to all addresses; Connection refused"
\tdebug_error_string = "UNKNOWN:Error received from peer"
>"""


def test_a_call_that_failed_is_told_by_its_details(monkeypatch):
    def refuse(*_):
        raise RuntimeError(LOST)

    monkeypatch.setattr("apache_beam.Pipeline.run", refuse)
    told = "the runner or its workers do not answer: failed to connect to all addresses; Connection refused"
    assert str(_run(ValueError(), flags=["--runner=PortableRunner"])) == told
    text = f'Job failed: {HEADER}\n  File "pool.py", line 9, in start\ngrpc._channel._InactiveRpcError: {LOST}'
    assert str(translate_traceback(text)) == told
    assert CANARY not in str(translate_traceback(_as_text(ValueError(f'\n\tdetails = "{CANARY}"'))))


def test_threads_of_a_lost_runner_are_quiet_and_others_are_not(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: told.append(failed.exc_value))
    running._quiet_lost_calls.__wrapped__()
    errors = [grpc.RpcError("lost"), ValueError("ours")]
    for error in errors:
        thread = threading.Thread(target=_fail, args=[error])
        thread.start()
        thread.join()
    assert told == errors[1:]


def _fail(error):
    raise error
