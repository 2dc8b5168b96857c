"""Lineage of a run as OpenLineage events: what went in, what came out, and how it ended.

See https://openlineage.io/spec/2-0-2/OpenLineage.json for what an event holds.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import ConfigError
from schemas.slices import display_text, display_uri
from transforms.corpora.files import name_file

_PRODUCER = "https://pypi.org/project/spanmill"
_TIMEOUT_S = 5.0
_RETRIES = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Amount:
    """How much of a dataset a run read or wrote."""

    rows: int = 0
    size_bytes: int = 0
    files: int = 0

    @classmethod
    def of(cls, files: pa.Table) -> "_Amount":
        """What files with `rows` and `size_bytes` add up to."""
        rows, size_bytes = (pc.sum(files.column(name), min_count=0).as_py() for name in ("rows", "size_bytes"))
        return cls(rows=rows, size_bytes=size_bytes, files=len(files))


class Lineage:
    """Events of one run, each sent as it happens.

    Args:
      target: a file, to which events are added as JSON lines, or the URL of a server.
      job: name of the job.
      version: of spanmill.
      inputs: files, folders and globs that the job reads, as a person named them.

    Attributes:
      run_id: of the run, a UUID.

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
            reason = display_text(str(error))
            raise ConfigError(f"cannot send to --lineage {display_uri(target)!r}: {reason}") from error
        self._patterns = inputs
        engine = processing_engine_run.ProcessingEngineRunFacet(name="spanmill", version=version)
        self.run_id = str(generate_new_uuid())
        self._facets: dict[str, Any] = {"processing_engine": engine}
        type_ = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="SPANMILL", jobType="JOB")
        namespace = os.environ.get("OPENLINEAGE_NAMESPACE", "spanmill")
        self._job = Job(namespace=namespace, name=job, facets={"jobType": type_})

    def start(self, output: str, handed_over: str = "") -> None:
        """Tells that the run begins, and what it will write.

        Args:
          output: what it will write.
          handed_over: the id of an earlier start that gave the run to a runner; it goes on by that.
        """
        self.run_id = handed_over or self.run_id
        self._emit("RUNNING" if handed_over else "START", output)

    def hand_over(self, output: str) -> None:
        """Tells that a runner goes on with the run."""
        self._emit("RUNNING", output)

    def complete(self, output: str, *, read: pa.Table, written: pa.Table, schema: pa.Schema | None) -> None:
        """Tells that the run is complete.

        Args:
          output: what it wrote.
          read: `uri`, `rows` and `size_bytes` of each file that it read, without passwords.
          written: `rows` and `size_bytes` of each file that it wrote.
          schema: of what it wrote, where that has one.
        """
        from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics
        from openlineage.client.facet_v2 import schema_dataset

        totals = {}
        # The longest name wins, where one input lies within another.
        for root in sorted(self._roots, key=len, reverse=True):
            uris = read.column("uri")
            is_under = pc.or_(pc.equal(uris, root), pc.starts_with(uris, root.rstrip("/") + "/"))
            totals[root] = _Amount.of(read.filter(is_under))
            read = read.filter(pc.invert(is_under))
        totals = {root: totals[root] for root in self._roots}
        total = _Amount.of(written)
        counted = statistics.OutputStatisticsOutputDatasetFacet(total.rows, total.size_bytes, total.files)
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

    @functools.cached_property
    def _roots(self) -> tuple[str, ...]:
        """The inputs as they are named; asked for once a run has listed them, as that reaches their stores."""
        return tuple(dict.fromkeys(map(_root_of, self._patterns)))

    def _emit(
        self,
        state: str,
        output: str,
        *,
        inputs: Mapping[str, _Amount] | None = None,
        facets: Mapping[str, Any] | None = None,
        counted: Mapping[str, Any] | None = None,
    ) -> None:
        from openlineage.client.event_v2 import InputDataset, OutputDataset, Run, RunEvent, RunState
        from openlineage.client.facet_v2 import input_statistics_input_dataset as statistics

        def describe(root: str, amount: _Amount) -> Any:
            namespace, name = _split_name(root)
            counts = statistics.InputStatisticsInputDatasetFacet(amount.rows, amount.size_bytes, amount.files)
            return InputDataset(namespace, name, inputFacets={"inputStatistics": counts} if amount.files else {})

        namespace, name = _split_name(name_file(output))
        inputs = inputs or {root: _Amount() for root in self._roots}
        self._client.emit(
            RunEvent(
                eventTime=datetime.now(timezone.utc).isoformat(),
                producer=_PRODUCER,
                run=Run(runId=self.run_id, facets=self._facets),
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
    """The folder above the first wildcard of an input, or the file or folder itself, as files there are named.

    >>> _root_of("s3a://me:secret@bucket/news/2026-*/part.parquet"), _root_of("/corpus/new/../a.txt")
    ('s3://bucket/news', '/corpus/a.txt')
    """
    fixed = re.split(r"[*?\\[]", pattern, maxsplit=1)[0]
    folder, slash, _ = fixed.rpartition("/")
    return display_uri(name_file(fixed if fixed == pattern else folder or slash)).rstrip("/") or "/"


def _split_name(name: str) -> tuple[str, str]:
    """The name of a file to namespace and name of a dataset, as OpenLineage names files and buckets.

    >>> _split_name("s3://bucket/news/a.parquet"), _split_name("/corpus/a.txt")
    (('s3://bucket', 'news/a.parquet'), ('file', '/corpus/a.txt'))
    """
    if "://" not in name:
        return "file", name
    parts = urlsplit(display_uri(name))
    return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "/"


def _describe_field(field: pa.Field) -> Any:
    from openlineage.client.facet_v2 import schema_dataset

    type_ = field.type.value_type if pa.types.is_list(field.type) else field.type
    inner = [type_.field(at) for at in range(type_.num_fields)] if pa.types.is_struct(type_) else []
    name = "list<struct>" if inner and type_ is not field.type else "struct" if inner else str(field.type)
    return schema_dataset.SchemaDatasetFacetFields(
        name=field.name, type=name, fields=[_describe_field(each) for each in inner]
    )
