"""Lineage of a run as OpenLineage events: what went in, what came out, and how it ended.

See https://openlineage.io/spec/2-0-2/OpenLineage.json for what an event holds.
"""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from schemas.errors import ConfigError
from schemas.slices import display_uri

_PRODUCER = "https://pypi.org/project/spanmill"
_TIMEOUT_S = 5.0
_RETRIES = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Amount:
    """How much of a dataset a run read or wrote."""

    rows: int = 0
    size_bytes: int = 0
    files: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            rows=self.rows + other.rows, size_bytes=self.size_bytes + other.size_bytes, files=self.files + other.files
        )


class Lineage:
    """Events of one run, each sent as it happens.

    Args:
      target: a file, to which events are added as JSON lines, or the URL of a server.
      job: name of the job.
      version: of spanmill.
      inputs: files, folders and globs that the job reads, as a person named them.

    Raises:
      ConfigError: openlineage-python is not installed, or cannot send there.
    """

    def __init__(self, target: str, *, job: str, version: str, inputs: Sequence[str]) -> None:
        try:
            from openlineage.client import OpenLineageClient
            from openlineage.client.event_v2 import Job
            from openlineage.client.facet_v2 import job_type_job, processing_engine_run
            from openlineage.client.uuid import generate_new_uuid
        except ImportError:
            raise ConfigError("expected openlineage-python, found none; pip install 'spanmill[lineage]'") from None
        try:
            self._client = OpenLineageClient(config={"transport": _configure_transport(target)})
        except Exception as error:
            # What is wrong with a URL or a key is for the client's parts to say, each in its own way.
            raise ConfigError(f"cannot send to --lineage {display_uri(target)!r}: {error}") from error
        self._inputs = tuple(dict.fromkeys(map(_root_of, inputs)))
        engine = processing_engine_run.ProcessingEngineRunFacet(name="spanmill", version=version)
        self._id = str(generate_new_uuid())
        self._facets: dict[str, Any] = {"processing_engine": engine}
        type_ = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="SPANMILL", jobType="JOB")
        namespace = os.environ.get("OPENLINEAGE_NAMESPACE", "spanmill")
        self._job = Job(namespace=namespace, name=job, facets={"jobType": type_})

    def start(self, output: str) -> None:
        """Tells that the run begins, and what it will write."""
        self._emit("START", output)

    def complete(
        self, output: str, *, read: Iterable[tuple[str, Amount]], written: Amount, schema: pa.Schema | None
    ) -> None:
        """Tells that the run is complete.

        Args:
          output: what it wrote.
          read: each file that it read, and how much of it.
          written: how much it wrote.
          schema: of what it wrote, where that has one.
        """
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
        from openlineage.client.facet_v2 import schema_dataset

        totals = dict.fromkeys(self._inputs, Amount())
        for uri, amount in read:
            # The longest name wins, where one input lies within another.
            if roots := [root for root in self._inputs if uri == root or uri.startswith(root.rstrip("/") + "/")]:
                totals[max(roots, key=len)] += amount
        counted = statistics.OutputStatisticsOutputDatasetFacet(written.rows, written.size_bytes, written.files)
        fields = {"schema": schema_dataset.SchemaDatasetFacet([*map(_describe_field, schema)])} if schema else {}
        self._emit("COMPLETE", output, inputs=totals, facets=fields, counted={"outputStatistics": counted})

    def fail(self, output: str, message: str) -> None:
        """Tells that the run ended with an error, in words that hold no text of a document."""
        from openlineage.client.facet_v2 import error_message_run

        error = error_message_run.ErrorMessageRunFacet(message=message, programmingLanguage="PYTHON")
        self._facets["errorMessage"] = error
        self._emit("FAIL", output)

    def abort(self, output: str) -> None:
        """Tells that somebody stopped the run."""
        self._emit("ABORT", output)

    def _emit(
        self,
        state: str,
        output: str,
        *,
        inputs: Mapping[str, Amount] | None = None,
        facets: Mapping[str, Any] | None = None,
        counted: Mapping[str, Any] | None = None,
    ) -> None:
        from openlineage.client.event_v2 import InputDataset, OutputDataset, Run, RunEvent, RunState
        from openlineage.client.facet_v2 import input_statistics_input_dataset as statistics

        def describe(root: str, amount: Amount) -> Any:
            namespace, name = _name_dataset(root)
            counts = statistics.InputStatisticsInputDatasetFacet(amount.rows, amount.size_bytes, amount.files)
            return InputDataset(namespace, name, inputFacets={"inputStatistics": counts} if amount.files else {})

        namespace, name = _name_dataset(output)
        inputs = inputs or {root: Amount() for root in self._inputs}

        self._client.emit(
            RunEvent(
                eventTime=datetime.now(timezone.utc).isoformat(),
                producer=_PRODUCER,
                run=Run(runId=self._id, facets=self._facets),
                job=self._job,
                eventType=RunState[state],
                inputs=[describe(root, amount) for root, amount in inputs.items()],
                outputs=[OutputDataset(namespace, name, facets=dict(facets or {}), outputFacets=dict(counted or {}))],
            )
        )


def _configure_transport(target: str) -> dict[str, Any]:
    if not target.startswith(("http://", "https://")):
        return {"type": "file", "log_file_path": target, "append": True}
    key = os.environ.get("OPENLINEAGE_API_KEY")
    return {
        "type": "http",
        "url": target,
        "timeout": _TIMEOUT_S,
        "retry": {"total": _RETRIES, "connect": _RETRIES, "backoff_factor": 0.3},
        **({"auth": {"type": "api_key", "apiKey": key}} if key else {}),
    }


def _root_of(pattern: str) -> str:
    """The folder above the first wildcard of an input, or the file or folder itself, without password.

    >>> _root_of("s3://bucket/news/2026-*/part.parquet"), _root_of("/corpus/a.txt")
    ('s3://bucket/news', '/corpus/a.txt')
    """
    fixed = re.split(r"[*?\\[]", pattern, maxsplit=1)[0]
    root = fixed if fixed == pattern else fixed.rpartition("/")[0]
    return display_uri(root).rstrip("/") if "://" in pattern else str(Path(root).absolute())


def _name_dataset(uri: str) -> tuple[str, str]:
    """Namespace and name of a dataset, as OpenLineage names files and buckets.

    >>> _name_dataset("s3://bucket/news/a.parquet"), _name_dataset("/corpus/a.txt")
    (('s3://bucket', 'news/a.parquet'), ('file', '/corpus/a.txt'))
    """
    if "://" not in uri:
        return "file", str(Path(uri).absolute())
    parts = urlsplit(display_uri(uri))
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "/"


def _describe_field(field: pa.Field) -> Any:
    from openlineage.client.facet_v2 import schema_dataset

    type_ = field.type.value_type if pa.types.is_list(field.type) else field.type
    inner = [type_.field(at) for at in range(type_.num_fields)] if pa.types.is_struct(type_) else []
    name = "list<struct>" if inner and type_ is not field.type else "struct" if inner else str(field.type)
    return schema_dataset.SchemaDatasetFacetFields(
        name=field.name, type=name, fields=[_describe_field(each) for each in inner]
    )
