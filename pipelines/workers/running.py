"""Running a Beam pipeline from a job: a local runner unless another is named, and errors in one line."""

import contextlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import build_beam_options, quiet_beam
from pipelines.workers.runners import await_job_server, is_handed_over, is_local
from schemas.errors import ConfigError, FileError, InputError, MemoryExhaustedError, PipelineError, RecordError

if TYPE_CHECKING:
    from schemas.tables import Rows
    from transforms.storage.store import Store
    from transforms.storage.work import WorkList

RESULTS = "_results.json"
"""The file through which a worker hands the results of a whole pipeline to the driver."""

_PLAIN_ERRORS = ("RuntimeError: ", "OSError: ")
_OWN_ERRORS = f"{PipelineError.__module__}."
_CALL_DETAILS = "details = "
"""What begins the line of a failed remote call that tells its cause; others tell of the library."""

_KINDS: dict[str, type[PipelineError]] = {ConfigError.__name__: ConfigError, FileError.__name__: InputError}
"""What errors of a worker, of which a runner keeps no more than the name and the words, are to the driver."""


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
    except FileError as error:
        raise InputError(_own_words(str(error))) from error
    except RecordError as error:
        raise PipelineError(_own_words(str(error))) from error
    except PipelineError as error:
        raise type(error)(_own_words(str(error))) from error
    except Exception as error:
        reason = describe_failure(error)
        if reason.partition(":")[0].endswith("MemoryError"):
            raise MemoryExhaustedError("memory ran out; take fewer --workers or a machine with more of it") from error
        kind, _, words = reason.partition(": ") if reason.startswith(_OWN_ERRORS) else ("", "", reason)
        raise _KINDS.get(kind.removeprefix(_OWN_ERRORS), PipelineError)(words) from error


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


def describe_failure(error: BaseException) -> str:
    """The words of the error that stopped a pipeline, out of a runner's traceback in text."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    ours = [line for line in lines if line.startswith((_OWN_ERRORS, *_PLAIN_ERRORS))]
    details = [line.strip() for line in lines if line.strip().startswith(_CALL_DETAILS)]
    last = (ours or details or lines)[-1]
    if last.startswith(_CALL_DETAILS):
        last = f"the runner or its workers do not answer: {last.removeprefix(_CALL_DETAILS).strip(chr(34))}"
    for kind in _PLAIN_ERRORS:
        last = last.removeprefix(kind)
    return _own_words(last)


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
