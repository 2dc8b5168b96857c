"""The errors of spanmill.

PipelineError
  ConfigError            a person must change an option or an input     -> exit 2, no traceback
    CheckpointError      a model directory cannot be used as it is
  RecordError            one document or file is bad                    -> dead letter
    ParseError  TokenizationError  TaggingError  FileError
  ModelError             the model answered nonsense; the run stops
    DeviceError          its device is broken for this process; another worker goes on
    DivergenceError      training has led to what is no number
  MemoryExhaustedError   memory ran out in this process; another worker goes on
  StorageError           the store lost, refused or contradicted a write
  InputError             an input file broke while a pipeline read it; the run stops
  ManifestError          the run directory and the plan disagree; cannot resume
  ConflictError          somebody else was faster
"""

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of a message about a name that is not known: the nearest that is, if one is near.

    >>> suggest("lorra", ["lora", "full"]), suggest("x", ["lora"])
    ("; did you mean 'lora'?", '')
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""


class PipelineError(Exception):
    """Anything spanmill raises on purpose."""


class ConfigError(PipelineError):
    """An option or an input that a person must change."""


class CheckpointError(ConfigError):
    """A model directory that cannot be used: unsafe, incomplete or not a tagger."""


class RecordError(PipelineError):
    """One document, or one file, that cannot be processed; its neighbours can.

    Args:
      code: short machine-readable reason, the `error` column of a dead letter.
      message: what was expected and found; never the document's text.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["RecordError"], tuple[str, str]]:
        return type(self), (self.code, self.message)


class ParseError(RecordError):
    """A row that is not what its format promises."""


class TokenizationError(RecordError):
    """A text that the tokenizer cannot read completely."""


class TaggingError(RecordError):
    """A text that the model cannot annotate."""


class FileError(RecordError):
    """A file that breaks in the middle: truncated, corrupt, changed."""


class ModelError(PipelineError):
    """A model whose answer has the wrong shape or is not a number."""


class DeviceError(ModelError):
    """A device that answers nothing any more in this process, whatever it is asked."""


class DivergenceError(ModelError):
    """Training has led to what is no number."""

    def __init__(self, found: str) -> None:
        super().__init__(f"expected training with finite losses, found {found}: it diverged; lower --learning-rate")


class MemoryExhaustedError(PipelineError):
    """Memory that ran out where no smaller batch helps."""


class StorageError(PipelineError):
    """A store that lost, refused or contradicted a write."""


class InputError(PipelineError):
    """An input file that broke, or is gone, while a pipeline read it."""


class ManifestError(PipelineError):
    """A run directory that does not match its plan."""


class ConflictError(PipelineError):
    """Something that somebody else changed first; looked at anew, it may be done again."""
