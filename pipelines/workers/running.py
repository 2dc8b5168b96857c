"""Running a Beam pipeline from a job: a local runner unless another is named, and errors in one line."""

import contextlib
import functools
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import build_beam_options, quiet_beam
from pipelines.workers.runners import await_job_server, is_handed_over, is_local
from schemas.errors import ConfigError, FileError, InputError, MemoryExhaustedError, PipelineError, RecordError
from schemas.failures import HEADER, describe_error, describe_traceback

if TYPE_CHECKING:
    from schemas.tables import Rows
    from transforms.storage.store import Store
    from transforms.storage.work import WorkList

RESULTS = "_results.json"
"""The file through which a worker hands the results of a whole pipeline to the driver."""

_OWN_ERRORS = f"{PipelineError.__module__}."
_MEMORY_ERROR = re.compile(r"^[\w.]*MemoryError(:|$)", re.MULTILINE)
"""It may be raised while another error is dealt with."""
_KINDS: dict[str, type[PipelineError]] = {ConfigError.__name__: ConfigError, FileError.__name__: InputError}
"""What errors of a worker, of which a runner keeps no more than the name and the words, are to the driver."""

_NO_MEMORY = "memory ran out; take fewer --workers or a machine with more of it"


def run_pipeline(construct: Callable[[Any], None], beam_flags: Sequence[str]) -> None:
    """Builds a pipeline, runs it and waits for its end, if Beam's flags do not say that nobody does.

    Args:
      construct: adds the transforms to the pipeline.
      beam_flags: Beam's own flags; FnApiRunner unless they name another runner.

    Raises:
      ConfigError: a worker found something that a person must change.
      InputError: an input file cannot be read to its end.
      PipelineError: the pipeline failed.
    """
    quiet_beam()
    import apache_beam as beam

    if not is_local(beam_flags):
        await_job_server(beam_flags)
        _quiet_lost_calls()
    try:
        pipeline = beam.Pipeline(options=build_beam_options(with_runner(beam_flags)))
        # Beam makes a folder for transforms of other languages, and leaves it behind when the job is stopped.
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
        construct(pipeline)
        result = pipeline.run()
        if not is_handed_over(beam_flags):
            result.wait_until_finish()
    except Exception as error:
        raise _translate(error, is_local=is_local(beam_flags)) from error


@functools.cache
def _quiet_lost_calls() -> None:
    """Has Beam's threads print no traceback each when a runner goes away; the job tells it once."""
    hook = threading.excepthook

    def tell(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_type.__module__.partition(".")[0] != "grpc":
            hook(failed)

    threading.excepthook = tell


def with_runner(beam_flags: Sequence[str]) -> list[str]:
    """Beam's flags with the local runner where they name none."""
    is_named = any(flag.partition("=")[0] == "--runner" for flag in beam_flags)
    return [*beam_flags] if is_named else ["--runner=FnApiRunner", *beam_flags]


def _translate(error: Exception, *, is_local: bool) -> PipelineError:
    """What stopped a pipeline, without words that may be those of a document."""
    # Where a step fails in this process, Beam adds its name to the words, and takes another type where it cannot.
    cause = (hasattr(error, "_tagged_with_step") and error.__context__) or error
    if isinstance(cause, RecordError):
        return (InputError if isinstance(cause, FileError) else PipelineError)(_own_words(str(cause)))
    if isinstance(cause, PipelineError):
        return type(cause)(_own_words(str(cause)))
    if isinstance(cause, MemoryError):
        return MemoryExhaustedError(_NO_MEMORY)
    if cause is error and HEADER in str(error):
        return translate_traceback(str(error))
    # What a cluster's runner says here of itself, such as that it does not answer, has met no document.
    lines = [] if is_local else [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return PipelineError(f"stopped by {describe_error(cause)}")
    return PipelineError(_call_details(str(error)) or _own_words(lines[-1]))


def translate_traceback(text: str) -> PipelineError:
    """The same of a worker's traceback, of which a runner keeps no more than the text."""
    if ours := [line for line in text.splitlines() if line.startswith(_OWN_ERRORS)]:
        kind, _, words = ours[-1].removeprefix(_OWN_ERRORS).partition(": ")
        return _KINDS.get(kind, PipelineError)(_own_words(words))
    if _MEMORY_ERROR.search(text):
        return MemoryExhaustedError(_NO_MEMORY)
    reason = describe_traceback(text)
    details = _call_details(text) if reason.startswith("grpc.") else ""
    return PipelineError(details or f"stopped by {reason}")


def _call_details(text: str) -> str:
    """The cause of a remote call that failed, out of the words of gRPC; empty where they are not of one."""
    found = re.search(r'^\s*details = "(.*)"$', text, re.MULTILINE)
    return f"the runner or its workers do not answer: {_own_words(found[1])}" if found else ""


def _own_words(text: str) -> str:
    """A message without the step of the pipeline that a runner adds, and without passwords in URLs."""
    from schemas.slices import display_text

    return display_text(text.partition(" [while running")[0])


@contextlib.contextmanager
def open_output(output: str) -> Iterator[tuple[str, "Store"]]:
    """A folder or URL for results and its store; without a name, a folder that is gone afterwards.

    It is tried by a write first. RESULTS is there while the body runs, `null` at first.

    Raises:
      ConfigError: it cannot be written to.
    """
    from schemas.slices import display_text, display_uri
    from transforms.storage.store import open_store

    with contextlib.ExitStack() as stack:
        root = output or stack.enter_context(tempfile.TemporaryDirectory(prefix="spanmill-"))
        try:
            store = open_store(root)
            store.put(RESULTS, b"null")
        except ConfigError:
            raise
        except Exception as error:
            # Every client has its own errors: no credentials, no such host, no such protocol.
            raise ConfigError(f"cannot write to --output {display_uri(root)!r}: {display_text(str(error))}") from error
        stack.callback(store.delete, RESULTS)
        yield root, store


@contextlib.contextmanager
def listed_inputs(store: "Store", inputs: "Mapping[str, Rows[Any]]") -> "Iterator[dict[str, WorkList]]":
    """What a pipeline begins with, by name, as lists that are there while the body runs, so that its graph is small."""
    from transforms.storage.work import listed_work

    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(listed_work(store, rows)) for name, rows in inputs.items()}


def read_results(store: "Store") -> Any:
    """What the pipeline left in RESULTS.

    Raises:
      ConfigError: it left nothing, since its workers do not see this folder.
    """
    results = json.loads(store.read(RESULTS))
    if results is None:
        raise ConfigError("expected the workers' results, found none; name an --output that all of them reach")
    return results
