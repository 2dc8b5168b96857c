"""Errors that nobody expected: their words stay out, however they look."""

import socket
import ssl
import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.failures import HEADER, describe_error, describe_traceback


def _fail(error):
    raise error


def _raised(words):
    try:
        _fail(ValueError(words))
    except ValueError as error:
        return error


@given(words=st.text(max_size=40))
@example(words=f'Anna\n{HEADER}\n  File "Anna", line 3, in f\nAnna: Anna')
@example(words="schemas.errors.ConfigError")
@example(words="")
def test_words_change_nothing_of_what_is_told(words):
    error = _raised(words)
    caller, at = (frame.lineno for frame in traceback.extract_tb(error.__traceback__))
    told = f"ValueError at schemas/test_failures.py:{at}, from schemas/test_failures.py:{caller}"
    assert describe_error(error) == told
    assert describe_traceback("".join(traceback.format_exception(error))) == told


def test_a_chain_in_text_is_told_by_its_first_error():
    try:
        try:
            _fail(KeyError("Anna"))
        except KeyError:
            raise ValueError("Berlin") from None
    except ValueError as error:
        error.__suppress_context__ = False
        text = "".join(traceback.format_exception(error))
    assert describe_traceback(text).startswith("KeyError at schemas/test_failures.py:")


def test_places_begin_within_the_runner_and_the_innermost_is_told_first():
    frames = ["apache_beam/runners/common.py", "/x/transforms/annotate.py", "/x/transforms/models/annotator.py"]
    lines = "\n".join(f'  File "{name}", line {at}, in f\n    g()' for at, name in enumerate(frames, 1))
    told = describe_traceback(f"{HEADER}\n{lines}\nValueError: Anna")
    assert told == "ValueError at models/annotator.py:3, from transforms/annotate.py:2"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("Anna", "Berlin"), "OSError"),
        (OSError([], "Berlin"), "OSError"),
        (OSError(28, "Anna"), "OSError (No space left on device)"),
        (ssl.SSLError(1, "Anna"), "ssl.SSLError"),
        (socket.gaierror(-2, "Anna"), "gaierror"),
    ],
)
def test_a_number_is_told_in_words_where_it_is_one_of_the_system(error, told):
    assert describe_error(error) == told


def test_text_that_is_no_traceback_is_an_error_without_more():
    assert describe_traceback("Anna lives in Berlin") == "an error"
