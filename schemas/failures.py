"""Errors as they may be told: spanmill's own by their words, all others by their type and where they arose.

The words of an error that nobody expected may be those of a document.
"""

import errno
import os
import re
import traceback
from collections.abc import Sequence

from schemas.errors import PipelineError

HEADER = "Traceback (most recent call last):"
_FRAME = re.compile(r'  File "(.+)", line (\d+)')
_ERROR = re.compile(r"([\w.]+)(?:: (?:\[Errno (\d{1,3})\])?|$)")
_RUNNER = "apache_beam/"
_NO_KIND = "an error"
_MOST_PLACES = 12


def describe_error(error: BaseException) -> str:
    """An error in one line.

    >>> describe_error(PipelineError("expected a worker, found none")), describe_error(OSError(28, "Anna"))
    ('expected a worker, found none', 'OSError (No space left on device)')
    """
    if isinstance(error, PipelineError):
        return str(error)
    # What it was made with is there, a number or not.
    number = error.errno if isinstance(error, OSError) and isinstance(error.errno, int) else None
    places = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    kind = type(error).__qualname__
    return _describe(f"ssl.{kind}" if type(error).__module__ == "ssl" else kind, number, places)


def describe_traceback(text: str) -> str:
    """The same of the first error in a traceback that came as text; whatever follows may be words of it.

    >>> describe_traceback(f"{HEADER}{chr(10)}ValueError: Anna")
    'ValueError'
    """
    places = []
    for line in text.partition(HEADER)[2].splitlines():
        if frame := _FRAME.match(line):
            places.append((frame[1], int(frame[2])))
        elif line and not line.startswith(" "):
            found = _ERROR.match(line)
            kind, number = found.groups() if found else (_NO_KIND, None)
            return _describe(kind, number, places)
    return _describe(_NO_KIND, None, places)


def _describe(kind: str, number: str | int | None, places: Sequence[tuple[str, int]]) -> str:
    # Errors of encryption and of names on the net have numbers of their own.
    code = int(number or 0)
    is_of_system = code in errno.errorcode and not kind.startswith("ssl.")
    reason = f" ({os.strerror(code)})" if is_of_system else ""
    inside = 1 + max((at for at, (file, _) in enumerate(places) if _RUNNER in file), default=-1)
    shown = ["/".join(file.rsplit("/", 2)[-2:]) + f":{line}" for file, line in places[inside:] or places]
    at, *callers = shown[: -_MOST_PLACES - 1 : -1] or [""]
    return f"{kind}{reason}" + (f" at {at}" if at else "") + (f", from {', '.join(callers)}" if callers else "")
