"""`spanmill compare`: two runs in, what changed from one to the other and which of them gold prefers out."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option, parse_options, quiet_beam
from pipelines.console.progress import watch_clock
from pipelines.console.signals import stopping_on_signals
from pipelines.labelled.gold import GoldOptions, configure_corpus, find_scheme, map_labels
from pipelines.runs.opening import CompleteRun, choose_buckets, find_differences, open_complete_run
from pipelines.workers.running import RESULTS, listed_inputs, open_output, read_results, run_pipeline
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from schemas.tables import Rows, SliceTable
    from transforms.corpora.documents import CorpusConfig
    from transforms.pairing.joined import JoinConfig
    from transforms.storage.store import Store
    from transforms.storage.work import WorkList

DESCRIPTION = "Tell what changed from one run of spanmill annotate to another, and with gold which of them is better."


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareOptions(GoldOptions):
    """Everything a person can ask of the job."""

    run_a: str = option(
        "folder or URL of run A, or the --output folder above it when it holds one run",
        metavar="RUN_A",
        is_positional=True,
    )
    run_b: str = option("the same of run B", metavar="RUN_B", is_positional=True)
    output: str = option("folder or URL for a report; none prints to the terminal only", "", metavar="DIR")
    replicates: int = option("bootstrap replicates for the intervals on gold, 0 for none", 1000)
    reread_inputs: bool = option("read the runs' input again, to join gold that differs in white space", default=False)
    progress: bool = option("show progress", default=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, beam_flags = parse_options(CompareOptions, arguments, prog="spanmill compare", description=DESCRIPTION)
    with stopping_on_signals("nothing was written"):
        return run(options, beam_flags)


def run(options: CompareOptions, beam_flags: Sequence[str]) -> int:
    """Compares, reports and returns the exit status.

    Raises:
      ConfigError: options or input are wrong.
      PipelineError: the comparison failed.
    """
    started = time.monotonic()
    quiet_beam()
    job = _plan(options)
    with open_output(options.output) as (root, store):
        with listed_inputs(store, job.inputs) as listed, watch_clock("comparing", is_shown=options.progress):
            run_pipeline(lambda pipeline: job.construct(pipeline, root, listed), beam_flags)
        report = _finish(job, store, time.monotonic() - started)
    _show(options, report)
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A planned comparison.

    Attributes:
      options: what was asked.
      runs: run A and run B.
      gold: slices of the gold corpus and how they are read; None without gold.
      config: how gold is read, and what labels are called.
    """

    options: CompareOptions
    runs: tuple[CompleteRun, CompleteRun]
    gold: tuple["SliceTable", "CorpusConfig"] | None
    config: "JoinConfig"

    @property
    def inputs(self) -> "dict[str, Rows[Any]]":
        """What it begins with."""
        sides: dict[str, Rows[Any]] = {side: run.files for side, run in zip("ab", self.runs, strict=True)}
        return sides | ({"gold": self.gold[0]} if self.gold else {})

    def construct(self, pipeline: Any, root: str, listed: "Mapping[str, WorkList]") -> None:
        """Adds the transforms to a pipeline that leaves its results under a root, where its inputs are listed too."""
        from transforms.compare import CompareRuns, WriteComparison
        from transforms.join import ReadGold, ReadRun
        from transforms.pairing.compared import ANNOTATED_SCHEMA, read_annotated_rows
        from transforms.plan import PlanSlices

        options = self.options
        size_bytes = sum(run.size_bytes for run in self.runs)
        if self.gold:
            size_bytes += sum(file.size_bytes for file in {slice_.file for slice_ in self.gold[0]})
        n_buckets = choose_buckets(size_bytes)
        sides = {}
        for side, run in zip("ab", self.runs, strict=True):
            files = pipeline | f"Files of {side}" >> PlanSlices(root, listed[side], is_spread=True)
            config = run.configure(rereads=options.reread_inputs)
            read = ReadRun(config, read_annotated_rows, ANNOTATED_SCHEMA, n_buckets)
            sides[side] = files | f"Read {side}" >> read
        if self.gold:
            gold = pipeline | "Gold slices" >> PlanSlices(root, listed["gold"], is_spread=True)
            sides["gold"] = gold | ReadGold(self.gold[1], (), n_buckets)
        _ = (
            sides
            | "Compare" >> CompareRuns(self.config, options.replicates)
            | "Write" >> WriteComparison(root, RESULTS, has_gold=self.gold is not None)
        )


def _plan(options: CompareOptions) -> _Job:
    from schemas.tables import SliceTable
    from transforms.corpora.files import list_files
    from transforms.corpora.formats import cut_files
    from transforms.pairing.joined import JoinConfig
    from transforms.pairing.tagged import TagConfig
    from transforms.storage.runs import choose_slice_bytes

    if options.replicates < 0:
        raise ConfigError(f"expected --replicates of 0 or more, found {options.replicates}")
    label_map = map_labels(options)
    a = open_complete_run(options.run_a, flag="RUN_A")
    b = open_complete_run(options.run_b, flag="RUN_B")
    if a.unit != b.unit and not options.gold:
        raise ConfigError(
            f"expected runs with the same --offset-unit, found {a.unit} and {b.unit}; "
            "with --gold their offsets are compared in the gold texts"
        )
    gold, scheme = None, "BIO"
    if options.gold:
        files = list_files(options.gold, flag="--gold")
        corpus = configure_corpus(options, files)
        scheme = find_scheme(options, files)
        gold = SliceTable.of(cut_files(files, corpus, choose_slice_bytes(files))), corpus
    tags = TagConfig(scheme=scheme, predicted_scheme=scheme, label_map=label_map)
    return _Job(options=options, runs=(a, b), gold=gold, config=JoinConfig(tags=tags))


def _finish(job: _Job, store: "Store", seconds: float) -> dict[str, Any]:
    """Completes the results that the pipeline left, writes the report if one is wanted and returns it."""
    from pipelines.runs.versions import versions
    from schemas.manifest import dump_json
    from schemas.slices import display_uri
    from transforms.reports.comparison import describe_verdict, render_comparison, render_markdown

    options = job.options
    results = read_results(store)
    a, b = job.runs
    report = {
        **results,
        "runs": {
            side: {"name": display_uri(run.root), "model": run.settings["tagger"]["model"], "unit": run.unit}
            for side, run in (("a", a), ("b", b))
        },
        "gold": results["gold"] and {"name": " ".join(map(display_uri, options.gold)), **results["gold"]},
        "differences": find_differences(a.settings, b.settings),
        "settings": {
            "scheme": job.config.tags.scheme if options.gold else None,
            "label map": dict(job.config.tags.label_map),
            "replicates": options.replicates,
            "reread inputs": options.reread_inputs,
        },
        "versions": versions(),
        "seconds": seconds,
    }
    report["verdict"] = describe_verdict(report)
    if options.output:
        store.put("comparison.json", dump_json(report))
        store.put("comparison.html", render_comparison(report).encode())
        store.put("comparison.md", render_markdown(report).encode())
    return report


def _show(options: CompareOptions, report: Mapping[str, Any]) -> None:
    from rich.console import Console

    from schemas.slices import display_uri
    from transforms.reports.comparison import print_comparison

    console = Console(highlight=False)
    print_comparison(report, console)
    if options.output:
        root = display_uri(options.output.rstrip("/"))
        console.print(f"\ncomparison   {root}/comparison.html", soft_wrap=True, markup=False)
