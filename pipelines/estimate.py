"""`spanmill estimate`: what a run will take, from a short sample of the corpus that is really annotated."""

import contextlib
import dataclasses
import io
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option, parse_options
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.options import AnnotateOptions
from pipelines.workers.local import n_cores
from schemas.errors import ConfigError, PipelineError

if TYPE_CHECKING:
    import pyarrow as pa

    from schemas.receipts import Receipt
    from schemas.tables import FileTable
    from transforms.estimating.projecting import Job, Rates
    from transforms.estimating.sampling import Draw

DESCRIPTION = """Tell how long a run of spanmill annotate with the same options will take, what it will use and write,
from documents at places spread over the corpus, which are annotated for about a minute."""

_ESTIMATE = "estimate.json"
_TEXT, _ID = "spanmill:text", "spanmill:id"
_PILOT_BYTES, _LEAST_BYTES, _MOST_BYTES = 4 << 10, 2 << 10, 4 << 20
_FULL_BYTES, _LEAST_PLACES = 128 << 10, 8
"""Shorter pieces do not fill batches as slices do (with a small encoder, those of 17 kB take 9 % more time on cores,
those of 64 kB 6 %, those of 130 kB 2 %); rather than that, fewer places are measured, if these many are left."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EstimateOptions(AnnotateOptions):
    """Those of annotate, of which the run would be, and how to measure."""

    output: str = option("folder or URL for estimate.json; printed only where there is none", "", metavar="DIR")
    sample_seconds: float = option("about how long documents are annotated", 60.0, metavar="SECONDS")
    sample_places: int = option("places of the corpus that they come from", 32, metavar="COUNT")
    seed: int = option("chooses the places", 0)


@dataclasses.dataclass(frozen=True)
class _Piece:
    """Documents of one place, and what annotating them took."""

    draw: "Draw"
    text_bytes: int
    receipt: "Receipt"
    output_per_byte: float
    """Bytes that its rows take in the files of a run, per byte of text."""
    footer_bytes: int

    @property
    def is_first(self) -> bool:
        """Whether a model was loaded for it, so that it is no measure of others."""
        return self.receipt.tally.used.get("load", 0.0) > 0

    def used(self, what: str) -> float:
        """Seconds of a resource per byte of text."""
        return self.receipt.tally.used.get(what, 0.0) / self.text_bytes


@dataclasses.dataclass(frozen=True)
class _Sample:
    """What was measured: pieces, places where nothing lies, workers, and the wall time of all."""

    pieces: tuple[_Piece, ...]
    empty: tuple["Draw", ...]
    workers: int
    seconds: float

    @property
    def measures(self) -> tuple[_Piece, ...]:
        """Pieces that tell how long others take; all, where a model was loaded for each."""
        return tuple(piece for piece in self.pieces if not piece.is_first) or self.pieces

    def pace(self, what: str) -> float:
        """Seconds of a resource per byte of text, all pieces together."""
        n_bytes = sum(piece.text_bytes for piece in self.measures)
        return sum(piece.used(what) * piece.text_bytes for piece in self.measures) / n_bytes


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        EstimateOptions, arguments, prog="spanmill estimate", description=DESCRIPTION, has_beam=False
    )
    with (
        tempfile.TemporaryDirectory(prefix="spanmill-") as scratch,
        stopping_on_signals("nothing is kept of a sample", scratch=Path(scratch)),
    ):
        return run(options, Path(scratch))


def run(options: EstimateOptions, scratch: Path) -> int:
    """Measures, projects and tells; returns the exit status.

    Raises:
      ConfigError: options or input are wrong.
      PipelineError: the sample could not be annotated.
    """
    from rich.console import Console

    from pipelines.annotate import leave_out_own
    from transforms.corpora.documents import CorpusConfig
    from transforms.corpora.files import scan_files
    from transforms.estimating.projecting import project
    from transforms.estimating.sampling import draw_places
    from transforms.reports.estimate import print_estimate
    from transforms.storage.runs import choose_slice_bytes

    _check(options)
    names = [field.name for field in dataclasses.fields(CorpusConfig) if field.name != "has_tags"]
    corpus = CorpusConfig(**{name: getattr(options, name) for name in names})
    files = scan_files(options.input)
    files = leave_out_own(files, options.output) if options.output else files
    rng = random.Random(options.seed)
    # Workers on a GPU have one each; more workers than cores are on other machines like this one.
    workers = 1 if options.device.startswith("cuda") else min(options.workers, n_cores())
    # The first piece of each worker measures nothing.
    n_places = max(options.sample_places, 4 * workers)
    _say(options, f"drawing documents from {n_places:,} places of {len(files):,} files")
    slice_bytes = options.slice_size or choose_slice_bytes(files, n_workers=options.workers)
    is_strict = options.bad_files == "fail"
    draws = draw_places(files, corpus, n_places=n_places, slice_bytes=slice_bytes, rng=rng, is_strict=is_strict)
    sample = _measure_all(options, draws, rng, (scratch, workers))
    job = _describe_job(options, files, draws, sample)
    estimate = {
        "estimate_version": 1,
        "input": {"files": len(files), "size_bytes": round(sum(job.pieces)), "slices": len(job.pieces)},
        "sample": {
            "places": len(sample.pieces) + len(sample.empty),
            "documents": sum(piece.receipt.rows for piece in sample.pieces),
            "text_bytes": sum(piece.text_bytes for piece in sample.pieces),
            "seconds": sample.seconds,
            "workers": sample.workers,
        },
        "workers": options.workers,
        "prices_per_hour": job.prices.to_json() if job.prices else {},
        "start_seconds": job.start_seconds,
        "peak_worker_bytes": _peak_bytes(is_child=workers > 1 or options.max_restarts > 0),
        "figures": project(_collect_rates(sample), job, seed=options.seed),
    }
    print_estimate(estimate, Console(highlight=False))
    _write(options, estimate)
    return 0


def _check(options: EstimateOptions) -> None:
    """Refuses numbers out of their range, and what a sample cannot have.

    Raises:
      ConfigError: naming the flag.
    """
    from schemas.costs import Prices

    Prices.parse(options.price_per_hour)
    for flag, value, least in (
        ("--sample-seconds", options.sample_seconds, 1),
        ("--sample-places", options.sample_places, 4),
        ("--workers", options.workers, 1),
        ("--slice-size", options.slice_size, 0),
    ):
        if not value >= least:
            raise ConfigError(f"expected {flag} of {least} or more, found {value:g}")


def _measure_all(
    options: EstimateOptions, draws: Sequence["Draw"], rng: random.Random, place: tuple[Path, int]
) -> _Sample:
    """Annotates a little to know the pace, then for about as long as was asked, in a folder by some workers."""
    scratch, workers = place
    full = [draw for draw in draws if draw.cut(0, rng)]
    if not full:
        raise ConfigError("expected text in the input, found none at any place that was looked at")
    pilot = _measure(
        options, full[:: max(1, len(full) // (2 * workers))], _PILOT_BYTES, rng, (scratch / "pilot", workers)
    )
    pace = sum(piece.receipt.tally.used.get("worker", 0.0) for piece in pilot.measures) - sum(
        piece.receipt.tally.used.get("load", 0.0) for piece in pilot.measures
    )
    pace /= sum(piece.text_bytes for piece in pilot.measures)
    # Of a small corpus no more than there is: places that lie in one slice would annotate the same again.
    there = sum({draw.slice_at: sum(draw.sizes) for draw in full}.values())
    affordable = min(options.sample_seconds * workers / max(pace, 1e-12), there)
    n_places = int(min(len(draws), max(_LEAST_PLACES, 4 * workers, affordable / _FULL_BYTES)))
    n_bytes = int(max(min(_LEAST_BYTES, there / n_places), min(_MOST_BYTES, affordable / n_places)))
    spread = [draws[at * len(draws) // n_places] for at in range(n_places)]
    _say(options, f"annotating {n_bytes:,} bytes of text from each of {n_places:,} of them, by {workers:,} workers")
    return _measure(options, spread, n_bytes, rng, (scratch / "sample", workers))


def _measure(
    options: EstimateOptions, draws: Sequence["Draw"], n_bytes: int, rng: random.Random, place: tuple[Path, int]
) -> _Sample:
    """Annotates documents of each draw, as the run would, in a folder by some workers."""
    import pyarrow.parquet as pq

    from pipelines import annotate
    from pipelines.runs.opening import open_run
    from transforms.storage.runs import read_receipts

    folder, workers = place
    (folder / "input").mkdir(parents=True)
    cuts = [draw.cut(n_bytes, rng) for draw in draws]
    for number, cut in enumerate(cuts):
        if cut:
            pq.write_table(_to_input(cut[0]), folder / "input" / f"{number:05d}.parquet")
    started = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        status = annotate.run(_sample_options(options, folder, workers), [])
    seconds = time.monotonic() - started
    if status:
        raise PipelineError(f"expected the sample to be annotated, found exit status {status}")
    done = open_run(str(folder / "output"), flag="--output")
    receipts = read_receipts(done.store, done.slices)
    numbers = [int(Path(slice_.file.uri).stem) for slice_ in done.slices]
    found = [
        (draws[number], cut[1], receipt)
        for number, receipt in zip(numbers, receipts, strict=True)
        if (cut := cuts[number])
    ]
    written = _measure_output(Path(done.root), found)
    pieces = tuple(_Piece(*piece, *output) for piece, output in zip(found, written, strict=True))
    empty = tuple(draw for draw, cut in zip(draws, cuts, strict=True) if not cut)
    return _Sample(pieces, empty, workers, seconds)


def _measure_output(root: Path, found: Sequence[tuple["Draw", int, "Receipt"]]) -> list[tuple[float, int]]:
    """Bytes of rows in the files of a run per byte of text, and bytes of footers, by what was found at each place."""
    import pyarrow.parquet as pq

    from transforms.estimating.packing import Rows, pack

    rows: dict[int, Rows] = {}
    output = [(0.0, 0)] * len(found)
    for at, (draw, text_bytes, receipt) in enumerate(found):
        for file in receipt.files:
            path, footer = root / file["final"], 0
            if path.suffix == ".parquet":
                if path.parent.name == "data" and file["rows"]:
                    rows[at] = Rows(
                        table=pq.read_table(path),
                        text_bytes=text_bytes,
                        part_bytes=draw.part_bytes,
                        n_parts=draw.n_parts,
                        source=draw.source,
                    )
                    continue
                footer = pq.read_metadata(path).serialized_size
            output[at] = (output[at][0] + (file["size_bytes"] - footer) / text_bytes, output[at][1] + footer)
    for at, (per_byte, footer) in zip(rows, pack(list(rows.values())), strict=True):
        output[at] = (output[at][0] + per_byte, output[at][1] + footer)
    return output


def _to_input(documents: "pa.Table") -> "pa.Table":
    """Documents as they are read, as a table to read them from, with kept columns under their own names."""
    import pyarrow as pa

    from schemas.documents import find_kept, kept_column

    kept = {field.name: documents.column(kept_column(field.name)) for field in find_kept(documents.schema)}
    return pa.table({_TEXT: documents.column("text"), _ID: documents.column("id"), **kept})


def _sample_options(options: EstimateOptions, folder: Path, workers: int) -> AnnotateOptions:
    """The options of the run, for the documents that were drawn."""
    names = [field.name for field in dataclasses.fields(AnnotateOptions)]
    asked = AnnotateOptions(**{name: getattr(options, name) for name in names})
    return dataclasses.replace(
        asked,
        input=(str(folder / "input"),),
        output=str(folder / "output"),
        format="parquet",
        text_column=_TEXT,
        id_column=_ID,
        gold_column="",
        tokens_column="",
        document_per_file=False,
        conll_columns="auto",
        workers=workers,
        slice_size=1,
        max_failed_fraction=1.0,
        report_documents=0,
        price_per_hour=(),
        metrics_file="",
        lineage="",
        accelerator="",
        min_ram="",
        tune=False,
        progress=False,
    )


def _collect_rates(sample: _Sample) -> "Rates":
    """What was measured at each place, per byte of the files there."""
    import numpy as np

    from transforms.estimating.projecting import Rates

    pieces = sample.measures

    def of_text(values: Sequence[float]) -> Any:
        per_byte = [value * piece.draw.text_per_byte for value, piece in zip(values, pieces, strict=True)]
        return np.array(per_byte + [0.0] * len(sample.empty))

    draws = [*(piece.draw for piece in pieces), *sample.empty]
    return Rates(
        documents=np.array([draw.documents_per_byte for draw in draws]),
        text_bytes=np.array([draw.text_per_byte for draw in draws]),
        tokens=of_text([piece.receipt.tally.tokens / piece.text_bytes for piece in pieces]),
        output_bytes=of_text([piece.output_per_byte for piece in pieces]),
        worker=of_text([piece.used("worker") + piece.draw.read_seconds_per_byte for piece in pieces]),
        core=of_text([piece.used("core") + piece.draw.read_seconds_per_byte for piece in pieces]),
        gpu=of_text([piece.used("gpu") for piece in pieces]),
        plan=np.array([draw.plan_seconds_per_byte for draw in draws]),
    )


def _describe_job(options: EstimateOptions, files: "FileTable", draws: Sequence["Draw"], sample: _Sample) -> "Job":
    """The run that is projected; what a start takes is what the sample took beyond the pace of its pieces."""
    from schemas.costs import Prices
    from transforms.estimating.projecting import Job
    from transforms.estimating.slicing import cut_pieces

    n_bytes = sum(piece.text_bytes for piece in sample.pieces)
    core_s = sum(piece.used("core") * piece.text_bytes for piece in sample.pieces)
    return Job(
        pieces=cut_pieces(files, {draw.file_cut for draw in draws}),
        workers=options.workers,
        start_seconds=max(0.0, sample.seconds - sample.pace("worker") * n_bytes / sample.workers),
        start_core_seconds=max(0.0, core_s - sample.pace("core") * n_bytes) / sample.workers,
        file_bytes=sum(piece.footer_bytes for piece in sample.pieces) / len(sample.pieces),
        prices=Prices.parse(options.price_per_hour),
    )


def _peak_bytes(*, is_child: bool) -> int:
    """Memory of the largest worker so far, which is a child or this very process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_CHILDREN if is_child else resource.RUSAGE_SELF).ru_maxrss


def _write(options: EstimateOptions, estimate: dict[str, Any]) -> None:
    from pipelines.workers.running import open_output
    from schemas.manifest import dump_json

    if options.output:
        with open_output(options.output) as (_, store):
            store.put(_ESTIMATE, dump_json(estimate))


def _say(options: EstimateOptions, text: str) -> None:
    if options.progress:
        print(text, file=sys.stderr, flush=True)
