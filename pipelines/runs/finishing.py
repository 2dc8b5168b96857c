"""The end of a run: storage held against the plan, then report, manifest and `_SUCCESS`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.runs.versions import versions

if TYPE_CHECKING:
    from schemas.costs import Prices
    from schemas.receipts import Receipt, Tally
    from schemas.slices import Slice
    from schemas.tables import SliceTable
    from transforms.corpora.documents import CorpusConfig
    from transforms.storage.runs import RunState
    from transforms.storage.store import Store

REPORT = "report/report.json"
_MOST_INPUTS = 1000
"""How many input files a report tells of by name; the manifest tells of all."""


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
      reused: earlier runs that texts were looked up in, with what each has counted, where that is known.
    """

    store: "Store"
    state: "RunState"
    settings: Mapping[str, Any]
    model: str
    corpus: "CorpusConfig"
    report_documents: int
    prices: "Prices | None" = None
    reused: Mapping[str, "Tally | None"] = dataclasses.field(default_factory=dict)


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
    from schemas.tables import SliceTable
    from transforms.reports.annotation import build_report, render_html
    from transforms.reports.samples import SampleConfig, sample_documents
    from transforms.storage.manifests import count_inputs, write_inputs, write_outputs
    from transforms.storage.runs import complete_run, reconcile

    store, state, settings = run.store, run.state, run.settings
    run_fingerprint = fingerprint(settings)
    account = _Account(SliceTable.of(ran), run_fingerprint)
    outputs = reconcile(store, state.slices, account.take)
    total = account.total
    inputs = count_inputs(state.files, state.slices)
    described = {
        "fingerprint": run_fingerprint,
        "settings": settings,
        "versions": versions(),
        "model": {"name": run.model, "digest": settings["tagger"]["model"]},
        "inputs": inputs.slice(0, _MOST_INPUTS).to_pylist(),
        "n_inputs": len(inputs),
        "input_bytes": sum(inputs.column("size_bytes").to_pylist()),
        "slices": len(state.slices),
        "seconds": seconds,
        "documents_this_start": account.this_start.documents,
        "tokens_this_start": account.this_start.tokens,
        "prices": run.prices,
        "reused": run.reused,
    }
    report = build_report(total, run=described)
    shown = SampleConfig(
        n_documents=run.report_documents, offset_unit=settings["entities"]["offset_unit"], seed=run_fingerprint
    )
    samples = sample_documents(store, account.chooser.chosen, run.corpus, shown)
    store.put(REPORT, dump_json(report))
    store.put("report/report.html", render_html(report, samples).encode())
    written = write_outputs(store, outputs), write_inputs(store, inputs)
    manifest = Manifest(run_fingerprint, settings, versions(), *written, total.to_json(), seconds)
    complete_run(store, manifest, n_plans=state.n_plans)
    return report


class _Account:
    """What the receipts of a run add up to, as they come.

    Args:
      ran: the slices that were done by this start.
      seed: chooses the slices whose documents are shown.
    """

    def __init__(self, ran: "SliceTable", seed: str) -> None:
        from schemas.receipts import Tally
        from transforms.reports.samples import SliceChooser

        self.total = self.this_start = Tally()
        self.chooser = SliceChooser(seed)
        self._ran = frozenset(ran.ids.to_pylist())

    def take(self, slice_: "Slice", receipt: "Receipt") -> None:
        """Adds one slice."""
        self.total += receipt.tally
        if receipt.slice_id in self._ran:
            self.this_start += receipt.tally
        self.chooser.take(slice_, receipt)
