"""The end of a run: storage held against the plan, then report, manifest and `_SUCCESS`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.versions import versions

if TYPE_CHECKING:
    from schemas.costs import Prices
    from schemas.slices import Slice
    from transforms.corpora.documents import CorpusConfig
    from transforms.storage.runs import RunState
    from transforms.storage.store import Store

REPORT = "report/report.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run whose slices are all committed, or soon will be.

    Attributes:
      store: its store.
      state: its files and slices.
      settings: everything that shapes its output.
      model: what made it, in words; its digest is in the settings.
      corpus: how its input is read again, for the documents in the report.
      report_documents: how many of these there are.
      prices: what an hour costs, where that is known.
    """

    store: "Store"
    state: "RunState"
    settings: Mapping[str, Any]
    model: str
    corpus: "CorpusConfig"
    report_documents: int
    prices: "Prices | None" = None


def finish_run(run: PlannedRun, ran: Sequence["Slice"], seconds: float) -> dict[str, Any]:
    """Reconciles storage with the plan, writes report, manifest and `_SUCCESS`, and returns the report.

    Args:
      run: the run.
      ran: the slices that were done by this start.
      seconds: wall time of this start.

    Raises:
      ManifestError: a slice is missing, or what lies there is not what was planned.
      StorageError: a committed file is lost.
    """
    from schemas.manifest import Manifest, dump_json, fingerprint
    from schemas.receipts import sum_tallies
    from transforms.reports.annotation import build_report, render_html
    from transforms.reports.samples import SampleConfig, sample_documents
    from transforms.storage.runs import complete_run, reconcile

    store, state, settings = run.store, run.state, run.settings
    receipts = reconcile(store, state.slices)
    total = sum_tallies(receipt.tally for receipt in receipts)
    new = {slice_.slice_id for slice_ in ran}
    this_start = sum_tallies(receipt.tally for receipt in receipts if receipt.slice_id in new)
    rows = dict.fromkeys((file.source for file in state.files), 0)
    for slice_ in state.slices:
        rows[slice_.file.source] += slice_.rows
    inputs = tuple({**file.to_json(), "rows": rows[file.source]} for file in state.files)
    run_fingerprint = fingerprint(settings)
    described = {
        "fingerprint": run_fingerprint,
        "settings": settings,
        "versions": versions(),
        "model": {"name": run.model, "digest": settings["tagger"]["model"]},
        "inputs": inputs,
        "slices": len(state.slices),
        "seconds": seconds,
        "documents_this_start": this_start.documents,
        "tokens_this_start": this_start.tokens,
        "prices": run.prices,
    }
    report = build_report(total, run=described)
    shown = SampleConfig(
        n_documents=run.report_documents, offset_unit=settings["entities"]["offset_unit"], seed=run_fingerprint
    )
    samples = sample_documents(store, receipts, state.slices, run.corpus, shown)
    store.put(REPORT, dump_json(report))
    store.put("report/report.html", render_html(report, samples).encode())
    files = tuple(
        {"name": file["final"], **{key: file[key] for key in ("sha256", "size_bytes", "rows")}}
        for receipt in receipts
        for file in receipt.files
    )
    complete_run(store, Manifest(run_fingerprint, settings, versions(), files, inputs, total.to_json(), seconds))
    return report
