"""The formats of labelling tools, each a module with the same functions, and files of any of them.

write(selection, documents)            files by name, with the model's entities as suggestions
recognises(record)                     whether a JSON record is of the tool
load(content, source)                  a file to (place, record) of each answer
read(place, record, unit, annotator)   a record to an answer, offsets in code points
UNITS                                  what the tool counts offsets in, the likeliest first
"""

import contextlib
import dataclasses
import hashlib
from pathlib import PurePosixPath
from types import ModuleType

from schemas.errors import ConfigError, ParseError
from schemas.selections import Answer, Refusal
from schemas.slices import FileRef
from transforms.corpora.files import open_stream
from transforms.labelling import conll, doccano, label_studio, prodigy
from transforms.labelling.records import load_records

FORMATS: dict[str, ModuleType] = {
    "label-studio": label_studio,
    "doccano": doccano,
    "prodigy": prodigy,
    "conll": conll,
}


@dataclasses.dataclass(frozen=True)
class AnswerFile:
    """A file of answers.

    Attributes:
      source: its path or URL, as it may be shown.
      sha256: digest of its content, hex.
      format: its format.
      answers: what it holds, in order.
      refusals: records that are no answers.
      looks_like: the format that it seems to be, where it was told and seems to be another; else empty.
    """

    source: str
    sha256: str
    format: str
    answers: tuple[Answer, ...]
    refusals: tuple[Refusal, ...]
    looks_like: str = ""


def read_answers(file: FileRef, *, format_: str, unit: str) -> AnswerFile:
    """Reads a file that a labelling tool wrote.

    Args:
      file: the file.
      format_: its format, or auto.
      unit: unit of its offsets; empty for that of the tool.

    Raises:
      ConfigError: it cannot be read, or its format cannot be told.
      FileError: it is cut short.
    """
    with open_stream(file) as stream:
        content = stream.read()
    looks_like = ""
    if format_ == "auto":
        format_ = recognise(content, file.source)
    else:
        with contextlib.suppress(ConfigError):
            looks_like = recognise(content, file.source)
    module = FORMATS[format_]
    # Where a tool writes a file per person, the file is called after them.
    annotator = PurePosixPath(file.source).name.partition(".")[0]
    answers, refusals = [], []
    for place, record in module.load(content, file.source):
        try:
            answers.append(module.read(place, record, unit=unit, annotator=annotator))
        except ParseError as error:
            refusals.append(
                Refusal(
                    file=file.source,
                    place=place,
                    digest="",
                    annotator="",
                    reason=error.code,
                    message=error.message,
                )
            )
    return AnswerFile(
        file.source,
        hashlib.sha256(content).hexdigest(),
        format_,
        tuple(answers),
        tuple(refusals),
        looks_like if looks_like != format_ else "",
    )


def recognise(content: bytes, source: str) -> str:
    """The format of a file, by the first record that tells.

    Raises:
      ConfigError: it is no format known here.
    """
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"[", b"{")):
        return "conll"
    records = load_records(content, source)
    for record in records:
        for name, module in FORMATS.items():
            if module.recognises(record):
                return name
    found = sorted(records[0]) if records else "no records"
    raise ConfigError(f"expected a file of {sorted(FORMATS)} in {source!r}, found {found}; set --format")
