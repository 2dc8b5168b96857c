"""The command line: `spanmill JOB ...`, also `python -m pipelines JOB ...`."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from pipelines.console.logs import complain, logging_as, take_format
from schemas.errors import ConfigError, PipelineError

JOBS = {
    "annotate": "annotate a corpus with named entities",
    "combine": "make one set of spans of what several taggers found",
    "compare": "tell what changed from one run to another and which is better",
    "cycle": "keep a model current: annotate, drift, adapt, promote, in one command for cron or Airflow",
    "distill": "train a small tagger on what another was sure of",
    "drift": "tell whether a later run has drifted away from an earlier one",
    "estimate": "tell from a short sample how long a run will take and what it will cost",
    "evaluate": "score annotations against gold and explain the result",
    "export": "make an engine of a model that runs faster in ONNX Runtime or OpenVINO",
    "import": "read labelled documents back, check them and write files to train on",
    "inspect": "show annotated documents with their entities in colour",
    "publish": "put the annotations of a run into an Iceberg table",
    "registry": "keep checkpoints, promote a candidate through gates, roll back, throw away",
    "retry": "annotate the documents of a run again that had failed",
    "select": "choose documents of a run that are worth labelling, for labelling tools",
    "train": "fine-tune a tagger on labelled text",
    "verify": "read what a run wrote again in full and hold it against its commit records and its input",
}

_MODULES = {"import": "import_labels"}
"""Jobs whose name is none that a module can be imported by."""

USAGE = """usage: spanmill JOB [options]

{jobs}

spanmill JOB --help lists the options of a job; with --log-format json any of them logs JSON lines."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one job and returns the exit status: 0 complete, 1 failed, 2 wrong options or input, 3 too many failed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    job, *rest = words or ["--help"]
    try:
        format_, rest = take_format(rest)
    except ConfigError as error:
        complain(error)
        return 2
    with logging_as(format_, job):
        return _run(job, rest)


def _run(job: str, arguments: Sequence[str]) -> int:
    try:
        if job in ("-h", "--help"):
            return _help()
        if job not in JOBS:
            raise ConfigError(f"expected a job of {sorted(JOBS)}, found {job!r}")  # noqa: TRY301
        status: int = importlib.import_module(f"pipelines.{_MODULES.get(job, job)}").main(arguments)
    except ConfigError as error:
        complain(error)
        return 2
    except PipelineError as error:
        complain(error)
        return 1
    except BrokenPipeError:
        # The reader of our output went away (`spanmill ... | head`); nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


def _help() -> int:
    width = max(map(len, JOBS))
    print(USAGE.format(jobs="\n".join(f"  {name:<{width}}  {text}" for name, text in JOBS.items())), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
