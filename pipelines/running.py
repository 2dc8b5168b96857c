"""Running a Beam pipeline from a job: a local runner unless another is named, and errors in one line."""

from collections.abc import Callable, Sequence
from typing import Any

from pipelines.options import build_beam_options, quiet_beam
from schemas.errors import ConfigError, PipelineError

_CONFIG_ERROR = f"{ConfigError.__module__}.{ConfigError.__name__}: "


def run_pipeline(construct: Callable[[Any], None], beam_flags: Sequence[str]) -> None:
    """Builds a pipeline, runs it and waits for its end.

    Args:
      construct: adds the transforms to the pipeline.
      beam_flags: Beam's own flags; FnApiRunner unless they name another runner.

    Raises:
      ConfigError: a worker found something that a person must change.
      PipelineError: the pipeline failed.
    """
    quiet_beam()
    import apache_beam as beam

    try:
        pipeline = beam.Pipeline(options=build_beam_options(with_runner(beam_flags)))
        construct(pipeline)
        pipeline.run().wait_until_finish()
    except PipelineError:
        raise
    except Exception as error:
        reason = describe_failure(error)
        if reason.startswith(_CONFIG_ERROR):
            raise ConfigError(reason.removeprefix(_CONFIG_ERROR)) from error
        raise PipelineError(reason.removeprefix("schemas.errors.")) from error


def with_runner(beam_flags: Sequence[str]) -> list[str]:
    """Beam's flags with the local runner where they name none."""
    is_named = any(flag.partition("=")[0] == "--runner" for flag in beam_flags)
    return [*beam_flags] if is_named else ["--runner=FnApiRunner", *beam_flags]


def describe_failure(error: BaseException) -> str:
    """The words of the error that stopped a pipeline, out of a runner's traceback in text."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    ours = [line for line in lines if line.startswith(("schemas.errors.", "RuntimeError: ", "OSError: "))]
    return (ours or lines)[-1].partition(" [while running")[0].strip()
