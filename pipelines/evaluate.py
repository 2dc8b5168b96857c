"""`spanmill evaluate`: gold and predicted entities in, scores, errors and a report out."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option, parse_options, quiet_beam
from pipelines.console.progress import watch_clock
from pipelines.console.signals import stopping_on_signals
from pipelines.labelled.gold import GoldOptions, configure_corpus, find_scheme, map_labels, recognise_first
from pipelines.runs.opening import CompleteRun, choose_buckets, open_complete_run
from pipelines.workers.running import RESULTS, listed_inputs, open_output, read_results, run_pipeline
from schemas.errors import ConfigError, FileError, StorageError

if TYPE_CHECKING:
    import pyarrow as pa

    from schemas.slices import FileRef
    from schemas.tables import Rows, SliceTable
    from transforms.corpora.documents import CorpusConfig
    from transforms.join import RunConfig
    from transforms.pairing.joined import JoinConfig
    from transforms.pairing.tagged import TagConfig, TaggedFiles, TaggedTable
    from transforms.scoring.evaluation import EvaluationConfig
    from transforms.scoring.results import ResultsConfig
    from transforms.storage.store import Store
    from transforms.storage.work import WorkList

DESCRIPTION = "Score annotations against gold and explain the result."
_MOST_SOURCES = 200
_SLICE_BYTES = 4 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions(GoldOptions):
    """Everything a person can ask of the job."""

    gold: tuple[str, ...] = option("gold files, folders, globs or URLs", metavar="GLOB")
    tagger: str = option("the tagger that is scored, of a run with several (default: all)", "", metavar="NAME")
    predicted: tuple[str, ...] = option(
        "a run of spanmill annotate, or CoNLL files; none when the gold file has a second column of tags",
        (),
        metavar="RUN|GLOB",
    )
    output: str = option("folder or URL for the report", metavar="DIR")
    conll_columns: str = option("columns of the gold CoNLL files, such as 0,3; both tags if there is one file", "auto")
    predicted_columns: str = option("columns of the predicted CoNLL files", "auto")
    predicted_scheme: str = option("tag scheme of predicted CoNLL files", "auto", metavar="SCHEME")
    repair: str = option("how errors are explained in illegal tags", "conlleval", choices=("conlleval", "discard"))
    boundaries: str = option(
        "predicted spans as they are, or widened to gold tokens", "characters", choices=("characters", "tokens")
    )
    by: tuple[str, ...] = option("columns of gold, or kept in the run, to break scores down by", (), metavar="COLUMN")
    train: tuple[str, ...] = option("training files, to tell seen entities from unseen", (), metavar="GLOB")
    replicates: int = option("bootstrap replicates for the intervals, 0 for none", 1000)
    calibrate: str = option("fit a calibrator on the run's scores", "none", choices=("none", "temperature", "isotonic"))
    wanted_precision: float = option("find thresholds by label that give this precision, 0 for none", 0.0)
    reread_inputs: bool = option("read the run's input again, to join texts that differ in white space", default=False)
    slice_size: int = option("bytes of gold text per slice, 0 to go by the size", 0, metavar="BYTES")
    progress: bool = option("show progress", default=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, beam_flags = parse_options(EvaluateOptions, arguments, prog="spanmill evaluate", description=DESCRIPTION)
    with stopping_on_signals("nothing was written"):
        return run(options, beam_flags)


def run(options: EvaluateOptions, beam_flags: Sequence[str]) -> int:
    """Scores, reports and returns the exit status.

    Raises:
      ConfigError: options or input are wrong.
      PipelineError: the evaluation failed.
    """
    started = time.monotonic()
    quiet_beam()
    try:
        job = _plan(options)
    except FileError as error:
        raise ConfigError(str(error)) from error
    with open_output(options.output) as (root, store):
        with listed_inputs(store, job.inputs) as listed, watch_clock("scoring", is_shown=options.progress):
            run_pipeline(lambda pipeline: job.construct(pipeline, root, listed), beam_flags)
        report = _finish(job, store, time.monotonic() - started)
    _show(options, report)
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A planned evaluation.

    Attributes:
      options: what was asked.
      tags: how tags are read.
      scoring: what is computed beside the scores.
      tagged: files that are read line by line; None when a run is joined with gold documents.
      joined: gold slices, files of the run, and how both are read.
      settings: what decides about the numbers, for the report.
    """

    options: EvaluateOptions
    tags: "TagConfig"
    scoring: "EvaluationConfig"
    tagged: "TaggedTable | None" = None
    joined: "_Join | None" = None
    settings: Mapping[str, Any]

    @property
    def inputs(self) -> "dict[str, Rows[Any]]":
        """What it begins with."""
        if self.tagged is not None:
            return {"tagged": self.tagged}
        return {"gold": self.joined.slices, "run": self.joined.run.files} if self.joined else {}

    def construct(self, pipeline: Any, root: str, listed: "Mapping[str, WorkList]") -> None:
        """Adds the transforms to a pipeline that leaves its results under a root, where its inputs are listed too."""
        from transforms.join import JoinDocuments, ReadGold, ReadRun
        from transforms.pairing.joined import PREDICTED_SCHEMA
        from transforms.plan import PlanSlices
        from transforms.score import ReadTagged, ScoreDocuments, WriteResults
        from transforms.scoring.results import ResultsConfig

        join = self.joined
        if join is None:
            files = pipeline | "Files" >> PlanSlices(root, listed["tagged"], is_spread=True)
            blocks = files | "Read" >> ReadTagged(self.tags)
        else:
            gold = pipeline | "Gold slices" >> PlanSlices(root, listed["gold"], is_spread=True)
            rows = pipeline | "Run files" >> PlanSlices(root, listed["run"], is_spread=True)
            blocks = {
                "gold": gold | ReadGold(join.corpus, join.groups, join.n_buckets),
                "predicted": rows | ReadRun(join.rows, join.reader, PREDICTED_SCHEMA, join.n_buckets),
            } | "Join" >> JoinDocuments(join.config)
        _ = (
            blocks
            | "Score" >> ScoreDocuments(self.scoring)
            | "Write" >> WriteResults(root, RESULTS, join.results if join else ResultsConfig())
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Join:
    """How a run meets gold documents.

    Attributes:
      slices: slices of the gold corpus.
      corpus: how they are read.
      groups: gold's columns to break scores down by.
      kept: the run's columns to break scores down by.
      run: the run.
      rows: how its rows are read.
      tagger: the one of its taggers whose entities are scored; empty for all.
      config: how documents are compared.
      results: what is made of the scores that the run gave.
      fitted_on: what a calibrator is fitted on.
      n_buckets: how many buckets ids are spread over.
    """

    slices: "SliceTable"
    corpus: "CorpusConfig"
    groups: tuple[str, ...]
    kept: tuple[str, ...]
    run: CompleteRun
    rows: "RunConfig"
    tagger: str
    config: "JoinConfig"
    results: "ResultsConfig"
    fitted_on: Mapping[str, Any]
    n_buckets: int

    @property
    def reader(self) -> Callable[..., Iterator["pa.Table"]]:
        """Reads the rows of an output file of the run."""
        from transforms.pairing.rows import read_run_rows

        return partial(read_run_rows, groups=self.kept, tagger=self.tagger)

    @property
    def labels(self) -> list[str]:
        """Labels of what is scored, as they are read."""
        labels = self.run.labels
        before = f"{self.tagger}/"
        return [label.removeprefix(before) for label in labels if label.startswith(before)] if self.tagger else labels


def _plan(options: EvaluateOptions) -> _Job:
    from transforms.corpora.files import list_in_order
    from transforms.pairing.tagged import TagConfig, TaggedTable
    from transforms.scoring.evaluation import EvaluationConfig

    _check_ranges(options)
    gold = list_in_order(options.gold, flag="--gold")
    label_map = map_labels(options)
    scheme = find_scheme(options, gold, has_predicted=not options.predicted)
    tags = TagConfig(scheme=scheme, predicted_scheme=scheme, repair=options.repair, label_map=label_map)
    scoring = EvaluationConfig(
        n_replicates=options.replicates,
        by_source=len(gold) <= _MOST_SOURCES,
        seen=_read_seen(options, label_map) if options.train else None,
    )
    tagged = joined = None
    if _is_run(options.predicted):
        joined = _plan_join(options, gold, tags)
        scoring = dataclasses.replace(scoring, groups=(*joined.groups, *joined.kept))
    else:
        tagged = TaggedTable.of(_plan_tagged(options, gold))
        tags = dataclasses.replace(tags, predicted_scheme=_find_predicted_scheme(options, tagged[0], scheme))
    settings = {
        "scheme": tags.scheme,
        "predicted scheme": tags.predicted_scheme if tagged else None,
        "repair": tags.repair,
        "boundaries": "tokens" if tagged else options.boundaries,
        "label map": label_map,
        "by": list(options.by),
        "training files": list(options.train),
    }
    return _Job(options=options, tags=tags, scoring=scoring, tagged=tagged, joined=joined, settings=settings)


def _is_run(predicted: Sequence[str]) -> bool:
    from transforms.storage.runs import find_run

    try:
        return len(predicted) == 1 and bool(find_run(predicted[0]))
    except (OSError, ValueError, StorageError):
        # What cannot be looked at is refused with its own words where files are listed.
        return False


def _find_predicted_scheme(options: EvaluateOptions, files: "TaggedFiles", scheme: str) -> str:
    """The scheme of predicted tags: the one asked for, else gold's, unless both are to be found out and these differ.

    A model's slips can make BIO look like IOB1 or IO, so that those are not taken from predictions alone.
    """
    from transforms.corpora.conll import read_documents
    from transforms.corpora.documents import CorpusConfig

    if options.predicted_scheme != "auto":
        return options.predicted_scheme
    if files.predicted is None or options.scheme != "auto":
        return scheme
    documents = read_documents(files.predicted, CorpusConfig(conll_columns=options.predicted_columns))
    tags = (sentence.tags for document in documents for sentence in document)
    found = recognise_first(tags, flag="--predicted")
    return scheme if found in ("IOB1", "IO") else found


def _plan_tagged(options: EvaluateOptions, gold: Sequence["FileRef"]) -> Iterator["TaggedFiles"]:
    """Pairs the files of both sides, in order of name."""
    from transforms.corpora.files import list_in_order
    from transforms.corpora.formats import format_of
    from transforms.pairing.tagged import TaggedFiles

    # Files of both sides are paired.
    predicted = list_in_order(options.predicted, flag="--predicted") if options.predicted else [None] * len(gold)
    corpus = configure_corpus(options, gold)
    for file in [*filter(None, predicted), *gold]:
        found = format_of(file, corpus)
        if found != "conll":
            raise ConfigError(
                f"expected CoNLL files, or a run of spanmill annotate as --predicted, found {found} {file.source!r}"
            )
    if len(predicted) != len(gold):
        raise ConfigError(f"expected as many --predicted files as --gold files, found {len(predicted)} and {len(gold)}")
    if options.calibrate != "none" or options.wanted_precision:
        raise ConfigError(
            "expected a run of spanmill annotate as --predicted for --calibrate and --wanted-precision, "
            "found CoNLL files, which hold no scores"
        )
    if options.by:
        raise ConfigError(
            f"expected --by with gold in Parquet or JSON lines, or a run, found CoNLL files and {options.by}"
        )
    for one, other in zip(gold, predicted, strict=True):
        yield TaggedFiles(one, other, options.conll_columns, options.predicted_columns)


def _plan_join(options: EvaluateOptions, gold: Sequence["FileRef"], tags: "TagConfig") -> _Join:
    from schemas.tables import SliceTable
    from transforms.corpora.formats import cut_files
    from transforms.pairing.joined import JoinConfig
    from transforms.scoring.results import ResultsConfig
    from transforms.storage.runs import choose_slice_bytes

    run = open_complete_run(options.predicted[0], flag="--predicted")
    if options.tagger and options.tagger not in run.taggers:
        found = list(run.taggers) if any(run.taggers) else "a run of one tagger without a name"
        raise ConfigError(f"expected --tagger with a tagger of the run, found {options.tagger!r} and {found}")
    kept = tuple(name for name in options.by if name in run.corpus.keep_columns)
    groups = tuple(name for name in options.by if name not in kept)
    corpus = configure_corpus(options, gold, groups)
    return _Join(
        slices=SliceTable.of(cut_files(gold, corpus, options.slice_size or choose_slice_bytes(gold))),
        corpus=corpus,
        groups=groups,
        kept=kept,
        run=run,
        rows=run.configure(rereads=options.reread_inputs),
        tagger=options.tagger,
        config=JoinConfig(tags=tags, boundaries=options.boundaries),
        results=ResultsConfig(
            calibrator="" if options.calibrate == "none" else options.calibrate,
            precision=options.wanted_precision,
            applied=run.settings["entities"].get("calibrator", ""),
        ),
        fitted_on={"gold": [file.source for file in gold], "model": run.settings["tagger"]["model"]},
        n_buckets=choose_buckets(run.size_bytes + sum(file.size_bytes for file in gold)),
    )


def _read_seen(options: EvaluateOptions, label_map: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """Mentions of the training files to their labels."""
    from transforms.corpora.files import list_files
    from transforms.corpora.formats import cut_files, read_parts

    files = list_files(options.train, flag="--train")
    corpus = configure_corpus(dataclasses.replace(options, conll_columns="auto"), files)
    corpus = dataclasses.replace(corpus, has_tags=False)
    seen: dict[str, set[str]] = {}
    for slice_ in cut_files(files, corpus, _SLICE_BYTES):
        for part in read_parts(slice_, corpus):
            columns = (part.documents.column(name).to_pylist() for name in ("text", "gold"))
            for text, spans in zip(*columns, strict=True):
                for span in spans or ():
                    label = label_map.get(span["label"], span["label"])
                    seen.setdefault(text[span["start"] : span["end"]], set()).add(label)
    return {surface: frozenset(labels) for surface, labels in seen.items()}


def _finish(job: _Job, store: "Store", seconds: float) -> dict[str, Any]:
    """Completes the results that the pipeline left, writes the report and returns it."""
    from pipelines.runs.versions import versions
    from schemas.calibration import Calibrator
    from schemas.manifest import dump_json
    from schemas.slices import display_uri
    from transforms.reports.evaluation import render_evaluation
    from transforms.reports.markdown import render_markdown

    results = read_results(store)
    _check_documents(job, results["report"])
    if job.joined and results["calibrator"]:
        fitted = Calibrator.from_json(results["calibrator"], file=RESULTS)
        results["calibrator"] = dataclasses.replace(fitted, fitted_on=job.joined.fitted_on).to_json()
    options = job.options
    predicted = options.predicted or options.gold
    report = {
        **results["report"],
        "gold": {"name": " ".join(map(display_uri, options.gold))},
        "predicted": {"name": " ".join(map(display_uri, predicted))},
        "settings": dict(job.settings),
        "versions": versions(),
        "seconds": seconds,
    }
    store.put("report.json", dump_json(report))
    store.put("report.html", render_evaluation(report).encode())
    store.put("report.md", render_markdown(report).encode())
    for name in ("calibrator", "thresholds"):
        # What an earlier evaluation left here would be taken for this one's.
        if results[name]:
            store.put(f"{name}.json", results[name].encode())
        else:
            store.delete(f"{name}.json")
    return report


def _check_documents(job: _Job, report: Mapping[str, Any]) -> None:
    """Refuses to call an evaluation what compared nothing, or nothing that can agree."""
    options = job.options
    counts, listed = report["counts"], report["listed"]
    if not counts["documents"]:
        raise ConfigError("expected labelled documents in --gold, found none")
    if counts["unmatched_gold"] == counts["documents"] and counts["unmatched_predicted"]:
        raise ConfigError(
            f"expected documents of the run in --gold, found none: gold has {listed['unmatched_gold'][0]!r}, "
            f"the run {listed['unmatched_predicted'][0]!r}; set --id-column"
        )
    if options.boundaries == "tokens" and counts["tokens"] is None:
        raise ConfigError("expected gold with tokens for --boundaries tokens, found spans only")
    labels = report["exact"]["default"]["labels"]
    gold = [label for label, row in labels.items() if row["support"]]
    predicted = [label for label, row in labels.items() if row["found"] + row["spurious"]]
    if job.joined:
        # A model may know a label that it found nowhere.
        own = (job.tags.label_map.get(label, label) for label in job.joined.labels)
        predicted = list(dict.fromkeys([*predicted, *own]))
    if gold and predicted and not set(gold) & set(predicted):
        raise ConfigError(
            f"expected labels that gold and prediction share, found {gold[:9]} in gold and {predicted[:9]} predicted; "
            "set --map, or --conll-columns if these are no labels"
        )


def _show(options: EvaluateOptions, report: Mapping[str, Any]) -> None:
    from rich.console import Console

    from schemas.slices import display_uri
    from transforms.reports.summary import print_evaluation

    console = Console(highlight=False)
    print_evaluation(report, console)
    root = display_uri(options.output.rstrip("/"))
    names = ["report.html"]
    names += ["calibrator.json"] if options.calibrate != "none" else []
    names += ["thresholds.json"] if options.wanted_precision else []
    thresholds = (report["calibration"] or {}).get("thresholds") or {"labels": {}}
    if unreached := [label for label, threshold in thresholds["labels"].items() if threshold is None]:
        wanted = options.wanted_precision
        console.print(
            f"no threshold gives {unreached} a precision of {wanted}: annotate will leave them out", markup=False
        )
    for name in names:
        console.print(f"{name.partition('.')[0]:<12} {root}/{name}", soft_wrap=True, markup=False)


def _check_ranges(options: EvaluateOptions) -> None:
    for name in ("replicates", "slice_size"):
        if getattr(options, name) < 0:
            raise ConfigError(f"expected --{name.replace('_', '-')} of 0 or more, found {getattr(options, name)}")
    if not 0 <= options.wanted_precision <= 1:
        raise ConfigError(f"expected --wanted-precision between 0 and 1, found {options.wanted_precision}")
    if options.wanted_precision and options.calibrate != "none":
        raise ConfigError(
            "expected --calibrate or --wanted-precision, found both; thresholds hold for the scores they were chosen "
            "on: annotate with the calibrator first, then evaluate that run"
        )
