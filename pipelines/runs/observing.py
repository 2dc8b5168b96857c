"""What a run tells those who watch from outside: lineage as it begins and ends, metrics as it ends."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipelines.console.logs import log_context
from pipelines.console.signals import BEFORE_END
from pipelines.runs.versions import versions
from schemas.errors import ConfigError
from schemas.failures import describe_error

if TYPE_CHECKING:
    from pipelines.runs.options import AnnotateOptions
    from transforms.lake.lineage import Lineage
    from transforms.storage.store import Store


_HANDED_OVER = "_lineage"
"""Where a run that a runner goes on with keeps the id that its events have."""


class Observer:
    """Tells of one start of a run.

    Args:
      options: what a person asked for.

    Raises:
      ConfigError: what they ask for cannot be told.
    """

    def __init__(self, options: "AnnotateOptions") -> None:
        from schemas.slices import display_uri
        from transforms.lake.lineage import Lineage
        from transforms.lake.metrics import check_metrics

        self._options = options
        self._output = display_uri(options.output)
        self._data = ""
        self._store: Store
        self._report: Mapping[str, Any] | None = None
        self._lineage: Lineage | None = None
        if options.metrics_file:
            check_metrics(options.metrics_file)
        if options.lineage:
            version = versions().get("spanmill", "unknown")
            job = f"annotate.{self._output}"
            self._lineage = Lineage(options.lineage, job=job, version=version, inputs=options.input)

    def begin(self, root: str, store: "Store") -> None:
        """The run is planned; its folder and its store are known."""
        log_context(run=root.rpartition("=")[2], step="annotate")
        self._data, self._store = f"{root}/data", store
        if self._lineage:
            _try(_tell_start, self._lineage, self._data, store)

    def hand_over(self) -> None:
        """A runner goes on with the run, which has not ended; a later start takes lineage up where this one leaves."""
        if self._lineage:
            _try(self._store.put, _HANDED_OVER, self._lineage.run_id.encode())
            _try(self._lineage.hand_over, self._data)

    def complete(self, report: Mapping[str, Any]) -> None:
        """The run is complete."""
        self._report = report
        if self._lineage:
            self._close(_tell_complete, self._lineage, self._data, self._store)

    def fail(self, error: BaseException) -> None:
        """The run failed."""
        self.end(2 if isinstance(error, ConfigError) else 1)
        if self._lineage:
            self._close(self._lineage.fail, self._data, describe_error(error))

    def stop(self, status: int) -> None:
        """A signal ends the job."""
        self.end(status)
        if self._lineage:
            self._close(self._lineage.abort, self._data)

    def _close(self, tell: Callable[..., None], *arguments: Any) -> None:
        """Sends the last event of a run that has begun."""
        if self._data:
            _try(tell, *arguments)
            _try(self._store.delete, _HANDED_OVER)

    def end(self, status: int) -> int:
        """The job ends with an exit status, which comes back."""
        if path := self._options.metrics_file:
            from transforms.lake.metrics import write_metrics

            report = self._report
            _try(lambda: write_metrics(path, report, output=self._output, status=status, ended=time.time()))
        return status


@contextlib.contextmanager
def observing(options: "AnnotateOptions") -> Iterator[Observer]:
    """Tells of what happens in the body, also of an error that leaves it and of a signal that ends it.

    Raises:
      ConfigError: what a person wants to be told cannot be.
    """
    log_context(step="plan")
    observer = Observer(options)
    BEFORE_END.append(observer.stop)
    try:
        yield observer
    except Exception as error:
        observer.fail(error)
        raise
    finally:
        BEFORE_END.remove(observer.stop)


def _tell_start(lineage: "Lineage", data: str, store: "Store") -> None:
    try:
        handed_over = store.read(_HANDED_OVER).decode()
    except FileNotFoundError:
        handed_over = ""
    lineage.start(data, handed_over)


def _tell_complete(lineage: "Lineage", data: str, store: "Store") -> None:
    """Tells what the manifest says, which names every file where a report leaves off."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from transforms.storage.commits import DATA
    from transforms.storage.manifests import read_inputs, read_outputs

    outputs = read_outputs(store)
    files = outputs.filter(pc.starts_with(outputs.column("name"), f"{DATA}/"))
    schema = None
    if len(files) and (name := files.column("name")[0].as_py()).endswith(".parquet"):
        with store.open(name) as raw:
            schema = pq.read_schema(raw)
    lineage.complete(data, read=read_inputs(store), written=files, schema=schema)


def _try(tell: Callable[..., None], *arguments: Any) -> None:
    """Nobody who cannot be told stops a run."""
    try:
        tell(*arguments)
    except Exception as error:  # noqa: BLE001 - a server or a disk fails in its own ways
        from schemas.slices import display_text

        reason = display_text(str(error)) or type(error).__name__
        print(f"spanmill: could not tell those who watch: {reason}", file=sys.stderr, flush=True)
