"""`spanmill drift`: an earlier and a later run in, how far the later one has moved, measure by measure, out.

Only receipts are read, a few kilobytes for each slice; no document and no annotation is.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option, parse_options, parse_pairs
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.opening import Run, find_differences, open_run
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from schemas.receipts import Tally
    from transforms.scoring.drift import DriftConfig

DESCRIPTION = (
    "Tell whether a later run of spanmill annotate has drifted away from an earlier one. Exit status: 0, or 3 where "
    "--fail-on asks for it; 2 for wrong options or input."
)

_NEVER = "never"
_FAILED = 3
_NEUTRAL = ("entities.offset_unit", "entities.keep_below", "entities.max_document_bytes")
_FREE_OF_MODEL = ("dead_letters",)
_FREE_OF_THRESHOLDS = ("dead_letters", "document_lengths", "unknown_pieces")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DriftOptions:
    """Everything a person can ask of the job."""

    run_a: str = option(
        "folder or URL of the earlier run, or the --output folder above it when it holds one run",
        metavar="RUN_A",
        is_positional=True,
    )
    run_b: str = option("the same of the later run", metavar="RUN_B", is_positional=True)
    output: str = option("folder or URL for a report; none prints to the terminal only", "", metavar="DIR")
    threshold: tuple[str, ...] = option(
        "from where on the change of a measure is moderate, and from where on it is drift, as in scores=0.1/0.25",
        (),
        metavar="MEASURE=MODERATE/DRIFTED",
    )
    fail_on: str = option("verdict from which on the exit status is 3", _NEVER, choices=(_NEVER, "moderate", "drifted"))
    replicates: int = option("bootstrap replicates for the intervals, 0 for none", 1000)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(DriftOptions, arguments, prog="spanmill drift", description=DESCRIPTION, has_beam=False)
    with stopping_on_signals("nothing was written"):
        return run(options)


def run(options: DriftOptions) -> int:
    """Compares two runs, reports, and returns the exit status.

    Raises:
      ConfigError: options or runs are wrong.
      ManifestError: a run lacks a receipt.
    """
    from transforms.scoring.drift import VERDICTS, count_slices, find_labels, measure_drift

    config = _configure(options)
    runs = tuple(_open(name, flag) for name, flag in ((options.run_a, "RUN_A"), (options.run_b, "RUN_B")))
    tallies = [_read_tallies(opened) for opened in runs]
    labels = find_labels(*tallies)
    a, b = (count_slices(tallies_of_run, labels) for tallies_of_run in tallies)
    report = _describe(options, config, runs, measure_drift(a, b, config))
    if options.output:
        _write(options.output, report)
    _show(options, report)
    is_worse = (
        report["verdict"] in VERDICTS[1:] and options.fail_on in VERDICTS[: VERDICTS.index(report["verdict"]) + 1]
    )
    return _FAILED if is_worse else 0


def check(options: DriftOptions, *, flag: str) -> None:
    """Looks at thresholds and the earlier run as `run` does, and does nothing else.

    Args:
      options: what is asked; the later run need not be there yet, and where none is named as the earlier one, only
        thresholds are looked at.
      flag: where the name of the earlier run came from, for messages.

    Raises:
      ConfigError: a threshold is wrong, or there is no such run.
    """
    _configure(options)
    if options.run_a:
        _open(options.run_a, flag)


def _configure(options: DriftOptions) -> "DriftConfig":
    from transforms.scoring.drift import DriftConfig

    thresholds = {}
    for name, value in parse_pairs(options.threshold, flag="--threshold").items():
        try:
            moderate, drifted = map(float, value.split("/"))
        except ValueError:
            raise ConfigError(
                f"expected two numbers in --threshold {name}=MODERATE/DRIFTED, found {value!r}; "
                f"for example {name}=0.1/0.25"
            ) from None
        thresholds[name.replace("-", "_")] = (moderate, drifted)
    return DriftConfig(thresholds=thresholds, replicates=options.replicates)


def _open(name: str, flag: str) -> Run:
    from transforms.storage.runs import is_complete

    opened = open_run(name, flag=flag)
    if not is_complete(opened.store, opened.slices):
        raise ConfigError(f"expected a complete run as {flag}, found one without _SUCCESS; run annotate again")
    return opened


def _read_tallies(opened: Run) -> dict[str, "Tally"]:
    from transforms.storage.runs import read_receipts

    return {receipt.slice_id: receipt.tally for receipt in read_receipts(opened.store, opened.slices)}


def _describe(
    options: DriftOptions, config: "DriftConfig", runs: Sequence[Run], drift: Mapping[str, Any]
) -> dict[str, Any]:
    """The report: what transforms.scoring.drift.measure_drift tells, and about what.

        report_version  1
        kind            "drift"
        runs            {a, b}, each {name, model}
        ...             see measure_drift; each of the measures has a `caveat` too: "other model" or "other settings"
                        where the runs differ in what it depends on, else ""
        differences     settings in which the runs differ, as [{name, a, b}]
        shared_inputs   input files that both runs have read
        settings        of this job
        versions        of spanmill and the libraries

    Nothing in it depends on when or how fast it was made.
    """
    from pipelines.runs.versions import versions
    from schemas.slices import display_uri
    from transforms.scoring.drift import KINDS, REPORT_VERSION

    a, b = runs
    differences = find_differences(a.settings, b.settings)
    caveats = _find_caveats([row["name"] for row in differences])
    inputs = [{slice_.file.source for slice_ in opened.slices} for opened in runs]
    return {
        "report_version": REPORT_VERSION,
        "kind": "drift",
        **drift,
        "measures": [{**measure, "caveat": caveats.get(measure["name"], "")} for measure in drift["measures"]],
        "runs": {
            side: {"name": display_uri(opened.root), "model": opened.settings["tagger"]["model"]}
            for side, opened in (("a", a), ("b", b))
        },
        "differences": differences,
        "shared_inputs": len(inputs[0] & inputs[1]),
        "settings": {
            "thresholds": {name: "/".join(f"{value:g}" for value in config.thresholds_of(name)) for name in KINDS},
            "replicates": options.replicates,
        },
        "versions": versions(),
    }


def _find_caveats(differences: Sequence[str]) -> dict[str, str]:
    """What to keep in mind of measures, by name, where the runs differ in settings."""
    from transforms.scoring.drift import KINDS

    others = [name for name in differences if name.startswith(("tagger.", "entities.")) and name not in _NEUTRAL]
    if "tagger.model" in others:
        return {name: "other model" for name in KINDS if name not in _FREE_OF_MODEL}
    if others:
        return {name: "other settings" for name in KINDS if name not in _FREE_OF_THRESHOLDS}
    return {}


def _write(output: str, report: Mapping[str, Any]) -> None:
    from pipelines.workers.running import open_output
    from schemas.manifest import dump_json
    from transforms.reports.drift import render_drift

    with open_output(output) as (_, store):
        store.put("drift.json", dump_json(report))
        store.put("drift.html", render_drift(report).encode())


def _show(options: DriftOptions, report: Mapping[str, Any]) -> None:
    from rich.console import Console

    from schemas.slices import display_uri
    from transforms.reports.drift import print_drift

    console = Console(highlight=False)
    print_drift(report, console)
    if options.output:
        root = display_uri(options.output.rstrip("/"))
        console.print(f"\ndrift        {root}/drift.html", soft_wrap=True, markup=False)
