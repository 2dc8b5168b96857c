"""Metrics of the last run as a file for the text-file collector of Prometheus' node exporter."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from schemas.errors import ConfigError


class _Metric(NamedTuple):
    """A gauge: its help, the name of the label that tells its values apart, and these."""

    name: str
    help: str
    values: Mapping[str, float]
    label: str = ""


def check_metrics(path: str) -> None:
    """Makes sure that metrics can be written once a run ends.

    Raises:
      ConfigError: prometheus_client is not installed, or a collector would not look at the file.
    """
    try:
        import prometheus_client  # noqa: F401 - only whether it is there
    except ImportError:
        raise ConfigError("expected prometheus_client, found none; pip install 'spanmill[metrics]'") from None
    if not path.endswith(".prom"):
        raise ConfigError(f"expected --metrics-file FILE.prom, as the collector reads no other, found {path!r}")
    if not Path(path).absolute().parent.is_dir():
        raise ConfigError(f"expected a folder for --metrics-file {path!r}, found none")


def write_metrics(path: str, report: Mapping[str, Any] | None, *, output: str, status: int, ended: float) -> None:
    """Replaces the file by a rename, so that a collector reads the old or the new.

    Args:
      path: the file, in a folder that is there.
      report: the run's report; None where it failed.
      output: where the job writes, which tells it from other jobs.
      status: exit status of the job.
      ended: when it ended, in seconds since 1970.
    """
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()
    metrics = [
        _Metric("last_run_exit_status", "exit status of the last run", {"": status}),
        _Metric("last_run_success", "whether the last run ended with status 0", {"": int(status == 0)}),
        _Metric("last_run_end_timestamp_seconds", "when the last run ended, seconds since 1970", {"": ended}),
        *(_describe(report) if report else ()),
    ]
    for metric in metrics:
        gauge = Gauge(
            f"spanmill_{metric.name}", metric.help, ["output", *filter(None, [metric.label])], registry=registry
        )
        for name, value in metric.values.items():
            gauge.labels(output, *([name] if metric.label else [])).set(value)
    write_to_textfile(path, registry)


def _describe(report: Mapping[str, Any]) -> Iterator[_Metric]:
    yield _Metric("run_info", "fingerprint of the last run that completed", {report["fingerprint"]: 1}, "run")
    for name, key, text in (
        ("documents", "documents", "documents with annotations"),
        ("failed_documents", "failed_documents", "documents without, as dead letters tell"),
        ("tokens", "tokens", "model tokens of the documents, each once"),
        ("windows", "windows", "windows that they were cut into"),
        ("characters", "characters", "code points read"),
        ("run_seconds", "seconds", "wall time of the start that completed the run"),
    ):
        yield _Metric(name, text, {"": report[key]})
    yield _Metric("dead_letters", "dead letters by error", report["dead_letters_by_error"], "error")
    yield _Metric("entities", "entities by label", report["entities_by_label"], "label")
    stages = {stage: value["seconds"] for stage, value in report["stages"].items()}
    yield _Metric("stage_seconds", "time by stage, summed over workers", stages, "stage")
    if reused := report.get("reused"):
        for name in ("documents", "tokens"):
            yield _Metric(f"reused_{name}", f"{name} copied from earlier runs", {"": reused[name]})
    if costs := report.get("costs"):
        used = {what: costs[f"{what}_seconds"] for what in ("worker", "core", "gpu", "load")}
        yield _Metric("used_seconds", "time by resource, of all starts", used, "resource")
        if costs["cost"] is not None:
            yield _Metric("cost", "estimated cost of all starts, in the currency of the prices", {"": costs["cost"]})
