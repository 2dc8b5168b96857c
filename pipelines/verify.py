"""`spanmill verify`: what a run wrote, read again in full."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.console.options import option, parse_options
from pipelines.console.progress import watch_clock
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.opening import Run, open_run, run_option
from pipelines.runs.redoing import redo
from schemas.errors import ConfigError, FileError, StorageError

if TYPE_CHECKING:
    from schemas.receipts import Receipt
    from schemas.slices import Slice
    from transforms.storage.verification import Finding

DESCRIPTION = "Read every output file of a run again and hold it against its commit record and against the input."
_MOST_PER_SLICE = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """Everything a person can ask of the job."""

    run: str = run_option()
    repair: bool = option("do the slices again that are damaged, and only those", default=False)
    inputs: bool = option("compare every row and offset with the input, where that is as the run read it", default=True)
    progress: bool = option("show progress", default=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        VerifyOptions, arguments, prog="spanmill verify", description=DESCRIPTION, has_beam=False
    )
    with stopping_on_signals("run it again to go on"):
        return run(options)


@dataclasses.dataclass(kw_only=True)
class _Outcome:
    """What was found.

    Attributes:
      slices: slices that are committed.
      pending: slices that are not.
      documents: rows of the good ones.
      entities: entities of the rows that were compared with the input.
      damaged: slices with findings.
      findings: all that is not as it was committed.
      skipped: input files that could not be compared, and why.
      strangers: files among the output that the run did not write, which are findings too.
      is_unfinished: whether every slice is committed and `_SUCCESS` is not there.
      is_manifest_damaged: whether the manifest is not that of what was committed.
    """

    slices: int = 0
    pending: list["Slice"] = dataclasses.field(default_factory=list)
    documents: int = 0
    entities: int = 0
    damaged: list["Slice"] = dataclasses.field(default_factory=list)
    findings: list["Finding"] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    strangers: list[str] = dataclasses.field(default_factory=list)
    is_unfinished: bool = False
    is_manifest_damaged: bool = False

    @property
    def is_repairable(self) -> bool:
        """Whether annotating mends something."""
        return bool(self.damaged or self.pending or self.is_unfinished or self.is_manifest_damaged)


def run(options: VerifyOptions) -> int:
    """Verifies a run, and repairs it where that is asked for; returns the exit status, 1 for one that stays damaged.

    Raises:
      ConfigError: there is no run; or it cannot be repaired, as its command is not known or foreign files lie in it.
    """
    opened = open_run(options.run, flag="RUN")
    outcome = _verify(opened, options)
    _tell(outcome)
    if not (options.repair and outcome.is_repairable):
        return 1 if outcome.findings or outcome.pending else 0
    if outcome.strangers:
        raise ConfigError(
            f"expected only files that the run wrote, found {outcome.strangers[:3]}; nothing was repaired: move them "
            "away, then repair"
        )
    n_slices = len(outcome.damaged) + len(outcome.pending)
    print(f"doing {n_slices:,} slices again" if n_slices else "finishing the run", file=sys.stderr)
    redo(opened, outcome.damaged)
    outcome = _verify(opened, options)
    _tell(outcome)
    return 1 if outcome.findings or outcome.pending else 0


def _verify(opened: Run, options: VerifyOptions) -> _Outcome:
    from transforms.storage.manifests import OutputFiles
    from transforms.storage.verification import (
        check_files,
        check_finished,
        check_manifest,
        find_receipt,
        find_strangers,
    )

    outcome = _Outcome()
    outputs = OutputFiles()
    with watch_clock(f"verifying {len(opened.slices):,} slices", is_shown=options.progress):
        for slice_ in opened.slices:
            receipt, findings = find_receipt(opened.store, slice_)
            if receipt:
                outputs.add(receipt)
                findings = check_files(opened.store, receipt)
                if options.inputs and not findings:
                    findings = _compare(opened, slice_, receipt, outcome)
            elif not findings:
                outcome.pending.append(slice_)
                continue
            outcome.slices += 1
            if findings:
                outcome.damaged.append(slice_)
                outcome.findings += findings
            elif receipt:
                outcome.documents += receipt.tally.documents
        if not outcome.damaged and (findings := check_manifest(opened.store, outputs)):
            outcome.is_manifest_damaged = True
            outcome.findings += findings
        if not (outcome.damaged or outcome.pending) and (findings := check_finished(opened.store)):
            outcome.is_unfinished = True
            outcome.findings += findings
        known = {slice_.name for slice_ in (*outcome.damaged, *outcome.pending)}
        strangers = find_strangers(opened.store, outputs)
        strangers = [each for each in strangers if each.name.split("/")[1].partition(".")[0] not in known]
        outcome.strangers = [each.name for each in strangers]
        outcome.findings += strangers
    return outcome


def _compare(opened: Run, slice_: "Slice", receipt: "Receipt", outcome: _Outcome) -> list["Finding"]:
    """What is wrong with the rows of a slice beside its input, if that is as the run read it."""
    from transforms.corpora.files import check_unchanged

    try:
        if not slice_.error:
            check_unchanged(slice_.file)
    except (FileError, StorageError) as error:
        outcome.skipped[slice_.file.source] = str(error)
        return []
    found = []
    for finding in _compare_rows(opened, slice_, receipt, outcome):
        found.append(finding)
        if len(found) == _MOST_PER_SLICE:
            break
    return found


def _compare_rows(opened: Run, slice_: "Slice", receipt: "Receipt", outcome: _Outcome) -> Iterator["Finding"]:
    from transforms.reports.samples import read_samples
    from transforms.storage.annotations import read_annotations
    from transforms.storage.commits import DATA
    from transforms.storage.verification import Finding

    name = next((file["final"] for file in receipt.files if file["final"].startswith(f"{DATA}/")), DATA)
    rows, before = 0, slice_.first_row - 1
    for sample in read_samples(slice_, read_annotations(opened.store, receipt), opened.corpus, opened.unit):
        rows += 1
        if sample.problem:
            yield Finding(name, f"row {sample.row}: {sample.problem}")
        if not before < sample.row < slice_.first_row + slice_.rows:
            yield Finding(name, f"expected rows in order, each once, found row {sample.row} after {before}")
        before = sample.row
        for entity in sample.entities:
            outcome.entities += 1
            if not sample.problem and sample.text[entity["start"] : entity["end"]] != entity["text"]:
                place = f"{entity['start']}:{entity['end']}"
                yield Finding(name, f"row {sample.row}: expected the text at {place} as the entity, found another")
    if not opened.is_flat and rows != receipt.tally.documents:
        yield Finding(name, f"expected {receipt.tally.documents:,} rows, found {rows:,}")


def _tell(outcome: _Outcome) -> None:
    for finding in outcome.findings:
        print(f"{finding.name}: {finding.problem}")
    for source, reason in outcome.skipped.items():
        print(f"spanmill: not compared with {source!r}: {reason}", file=sys.stderr)
    if outcome.pending:
        print(
            f"incomplete: {len(outcome.pending):,} slices are not committed; --repair does them, or annotate",
            file=sys.stderr,
        )
    if outcome.is_unfinished:
        print(f"unfinished: {outcome.slices:,} slices are committed; --repair finishes the run, or annotate")
    elif outcome.findings:
        print(f"damaged: {len(outcome.damaged):,} of {outcome.slices:,} slices; --repair mends what it can")
    else:
        print(f"verified: {outcome.slices:,} slices, {outcome.documents:,} documents")
        if outcome.entities:
            print(f"compared with the input: {outcome.entities:,} entities")
