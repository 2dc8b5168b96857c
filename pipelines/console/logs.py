"""`--log-format json`: what a job says on the error stream, as one JSON object per line."""

import contextlib
import io
import json
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, TextIO

from schemas.errors import ConfigError

FLAG = "--log-format"
FORMATS = ("text", "json")
_REMARK = "spanmill: "


def take_format(words: Sequence[str]) -> tuple[str, list[str]]:
    """The format that a command line asks for, and the other words of it.

    Raises:
      ConfigError: it is none that there is.

    >>> take_format(["annotate", "--log-format", "json", "--progress"])
    ('json', ['annotate', '--progress'])
    """
    format_, rest = "text", []
    given = iter(words)
    for word in given:
        name, mark, value = word.partition("=")
        if name != FLAG:
            rest.append(word)
            continue
        format_ = value if mark else next(given, "")
        if format_ not in FORMATS:
            raise ConfigError(f"expected {FLAG} of {FORMATS}, found {format_!r}")
    return format_, rest


def log_context(**context: str) -> None:
    """Says which `run` and which `step` the next lines are about; without --log-format json, nothing hears it."""
    if isinstance(sys.stderr, JsonLines):
        sys.stderr.context.update(context)


def complain(error: BaseException) -> None:
    """Says why a job ends."""
    if isinstance(sys.stderr, JsonLines):
        sys.stderr.log("error", str(error), error=type(error).__name__)
    else:
        print(f"{_REMARK}{error}", file=sys.stderr)


@contextlib.contextmanager
def logging_as(format_: str, job: str) -> Iterator[None]:
    """While the body runs, the error stream has a format; in JSON, so has an error that nobody expected."""
    if format_ == "text":
        yield
        return
    lines = JsonLines(sys.stderr, job)
    with contextlib.redirect_stderr(lines):
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told and the job ends
            # Where it arose, and not its words, which may be those of a document.
            where = traceback.extract_tb(error.__traceback__)
            places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in where]
            lines.log("critical", "stopped by an error that nobody expected", error=type(error).__name__, trace=places)
            raise SystemExit(1) from None
        finally:
            lines.close()


class JsonLines(io.TextIOBase):
    """A text stream that writes each line as an object with `time`, `level`, `message`, `job` and what is noted.

    Args:
      raw: where the objects go.
      job: name of the job.

    Attributes:
      context: what is noted: `run` and `step`.
    """

    def __init__(self, raw: TextIO, job: str) -> None:
        self._raw = raw
        self._job = job
        self._begun = threading.local()
        self._lock = threading.RLock()  # a signal may end a job in the middle of a line
        self.context: dict[str, str] = {}

    def write(self, text: str) -> int:
        """Writes what are whole lines by now and keeps the rest, for each thread its own."""
        *lines, self._begun.line = (self._rest + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True

    def log(self, level: str, message: str, **more: Any) -> None:
        """Writes one object."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        value = {"time": now, "level": level, "message": message, "job": self._job, **self.context, **more}
        with self._lock:
            self._raw.write(json.dumps(value, ensure_ascii=False) + "\n")
            self._raw.flush()

    def close(self) -> None:
        """Writes the line that has no end; the stream beneath stays open."""
        rest, self._begun.line = self._rest, ""
        self._tell(rest)

    @property
    def _rest(self) -> str:
        return getattr(self._begun, "line", "")

    def _tell(self, line: str) -> None:
        line = line.strip()
        if line:
            self.log("warning" if line.startswith(_REMARK) else "info", line.removeprefix(_REMARK))
