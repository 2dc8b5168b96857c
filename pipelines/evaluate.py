"""`spanmill evaluate`: gold and predicted entities in, scores, errors and a report out."""

import dataclasses
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.options import option, parse_options, parse_pairs, quiet_beam
from pipelines.progress import watch_clock
from pipelines.running import run_pipeline
from pipelines.signals import stopping_on_signals
from schemas.errors import CheckpointError, ConfigError, FileError, StorageError

if TYPE_CHECKING:
    from schemas.manifest import Plan
    from schemas.slices import FileRef, Slice
    from transforms.corpora.documents import CorpusConfig
    from transforms.join import RunConfig, RunFiles
    from transforms.pairing.joined import JoinConfig
    from transforms.pairing.tagged import TagConfig, TaggedFiles
    from transforms.scoring.evaluation import EvaluationConfig
    from transforms.scoring.results import ResultsConfig
    from transforms.storage.store import Store

DESCRIPTION = "Score annotations against gold and explain the result."
RESULTS = "_results.json"
_BUCKET_BYTES, _MOST_BUCKETS = 4 << 20, 1024
_MOST_SOURCES = 200
_PEEKED_SENTENCES, _PEEKED_BYTES = 20_000, 4 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Everything a person can ask of the job."""

    gold: tuple[str, ...] = option("gold files, folders, globs or URLs", metavar="GLOB")
    predicted: tuple[str, ...] = option(
        "a run of spanmill annotate, or CoNLL files; none when the gold file has a second column of tags",
        (),
        metavar="RUN|GLOB",
    )
    output: str = option("folder or URL for the report", metavar="DIR")
    format: str = option("format of the gold files", "auto", choices=("auto", "parquet", "jsonl", "conll"))
    text_column: str = option("column or key of the text", "text")
    id_column: str = option("column or key of the id (default: id where there is one, else file#row)", "")
    gold_column: str = option("column or key of gold spans or tags", "gold")
    tokens_column: str = option("column or key of the tokens that gold tags belong to", "")
    conll_columns: str = option("columns of the gold CoNLL files, such as 0,3; both tags if there is one file", "auto")
    predicted_columns: str = option("columns of the predicted CoNLL files", "auto")
    scheme: str = option("tag scheme of gold", "auto", metavar="auto|BIO|IOB1|BIOES|BILOU|BMES|IO")
    predicted_scheme: str = option("tag scheme of predicted tags, when it is another", "", metavar="SCHEME")
    repair: str = option("how errors are explained in illegal tags", "conlleval", choices=("conlleval", "discard"))
    boundaries: str = option(
        "predicted spans as they are, or widened to gold tokens", "characters", choices=("characters", "tokens")
    )
    map: tuple[str, ...] = option("rename labels on both sides, such as corporation=ORG", (), metavar="LABEL=LABEL")
    ignore_labels: tuple[str, ...] = option("labels to leave out on both sides", (), metavar="LABEL")
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
    with watch_clock("scoring", is_shown=options.progress):
        run_pipeline(job.construct, beam_flags)
    report = _finish(job, time.monotonic() - started)
    _show(options, report)
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A planned evaluation.

    Attributes:
      options: what was asked.
      store: where the report goes.
      tags: how tags are read.
      scoring: what is computed beside the scores.
      tagged: files that are read line by line; none when a run is joined with gold documents.
      joined: gold slices, files of the run, and how both are read.
      settings: what decides about the numbers, for the report.
    """

    options: EvaluateOptions
    store: "Store"
    tags: "TagConfig"
    scoring: "EvaluationConfig"
    tagged: tuple["TaggedFiles", ...] = ()
    joined: "_Join | None" = None
    settings: Mapping[str, Any]

    def construct(self, pipeline: Any) -> None:
        """Adds the transforms to a pipeline."""
        import apache_beam as beam

        from transforms.join import JoinDocuments, ReadGold, ReadRun
        from transforms.score import ReadTagged, ScoreDocuments, WriteResults
        from transforms.scoring.results import ResultsConfig

        join = self.joined
        if join is None:
            files = pipeline | "Files" >> beam.Create(self.tagged, reshuffle=False) | beam.Reshuffle()
            blocks = files | "Read" >> ReadTagged(self.tags)
        else:
            gold = pipeline | "Gold slices" >> beam.Create(join.slices, reshuffle=False)
            rows = pipeline | "Run files" >> beam.Create(join.files, reshuffle=False)
            blocks = {
                "gold": gold | "Spread gold" >> beam.Reshuffle() | ReadGold(join.corpus, join.groups, join.n_buckets),
                "predicted": rows | "Spread run" >> beam.Reshuffle() | ReadRun(join.run, join.n_buckets),
            } | "Join" >> JoinDocuments(join.config)
        _ = (
            blocks
            | "Score" >> ScoreDocuments(self.scoring)
            | "Write" >> WriteResults(self.options.output, RESULTS, join.results if join else ResultsConfig())
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Join:
    """How a run meets gold documents.

    Attributes:
      slices: slices of the gold corpus.
      corpus: how they are read.
      groups: gold's columns to break scores down by.
      files: what the run wrote.
      run: how that is read.
      config: how documents are compared.
      results: what is made of the scores that the run gave.
      n_buckets: how many buckets ids are spread over.
    """

    slices: tuple["Slice", ...]
    corpus: "CorpusConfig"
    groups: tuple[str, ...]
    files: tuple["RunFiles", ...]
    run: "RunConfig"
    config: "JoinConfig"
    results: "ResultsConfig"
    n_buckets: int


def _plan(options: EvaluateOptions) -> _Job:
    from schemas.slices import display_uri
    from transforms.corpora.files import list_files
    from transforms.pairing.tagged import TagConfig
    from transforms.scoring.evaluation import EvaluationConfig
    from transforms.storage.runs import find_run
    from transforms.storage.store import open_store

    _check_ranges(options)
    gold = list_files(options.gold, flag="--gold")
    label_map = {**parse_pairs(options.map, flag="--map"), **dict.fromkeys(options.ignore_labels, "O")}
    try:
        store = open_store(options.output)
    except (OSError, StorageError) as error:
        raise ConfigError(f"cannot write to --output {display_uri(options.output)!r}: {error}") from error
    run_root = find_run(options.predicted[0]) if len(options.predicted) == 1 else ""
    scheme = _find_scheme(options, gold) if options.scheme == "auto" else options.scheme
    tags = TagConfig(
        scheme=scheme,
        predicted_scheme=options.predicted_scheme or scheme,
        repair=options.repair,
        label_map=label_map,
    )
    scoring = EvaluationConfig(
        n_replicates=options.replicates,
        by_source=len(gold) <= _MOST_SOURCES,
        seen=_read_seen(options, label_map) if options.train else None,
    )
    settings = {
        "scheme": tags.scheme,
        "predicted scheme": tags.predicted_scheme,
        "repair": tags.repair,
        "boundaries": options.boundaries if run_root else "tokens",
        "label map": label_map,
        "by": list(options.by),
        "training files": list(options.train),
    }
    tagged: tuple[TaggedFiles, ...] = ()
    joined = None
    if run_root:
        joined = _plan_join(options, gold, run_root, tags)
        scoring = dataclasses.replace(scoring, groups=(*joined.groups, *joined.run.groups))
    else:
        tagged = tuple(_plan_tagged(options, gold))
    return _Job(
        options=options,
        store=store,
        tags=tags,
        scoring=scoring,
        tagged=tagged,
        joined=joined,
        settings=settings,
    )


def _plan_tagged(options: EvaluateOptions, gold: Sequence["FileRef"]) -> Iterator["TaggedFiles"]:
    """Pairs the files of both sides, in order of name."""
    from transforms.corpora.files import list_files
    from transforms.corpora.formats import format_of
    from transforms.pairing.tagged import TaggedFiles

    predicted = list_files(options.predicted, flag="--predicted") if options.predicted else [None] * len(gold)
    corpus = _corpus(options, gold)
    for file in [*gold, *filter(None, predicted)]:
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


def _plan_join(options: EvaluateOptions, gold: Sequence["FileRef"], root: str, tags: "TagConfig") -> _Join:
    from transforms.corpora.documents import CorpusConfig
    from transforms.corpora.formats import cut_files
    from transforms.join import RunConfig
    from transforms.pairing.joined import JoinConfig
    from transforms.scoring.results import ResultsConfig
    from transforms.storage.runs import choose_slice_bytes, read_plans
    from transforms.storage.store import open_store

    store = open_store(root)
    plans = read_plans(store)
    settings = plans[0].settings
    if settings["output"]["layout"] != "document":
        raise ConfigError(
            f"expected a run with --layout document, found {settings['output']['layout']}, "
            "in which documents without entities have no row"
        )
    run_corpus = CorpusConfig(**{**settings["corpus"], "keep_columns": tuple(settings["corpus"]["keep_columns"])})
    run_groups = tuple(name for name in options.by if name in run_corpus.keep_columns)
    groups = tuple(name for name in options.by if name not in run_groups)
    corpus = _corpus(options, gold, groups)
    slices = tuple(cut_files(gold, corpus, options.slice_size or choose_slice_bytes(gold)))
    run = RunConfig(
        root=root,
        unit=settings["entities"]["offset_unit"],
        groups=run_groups,
        corpus=run_corpus if options.reread_inputs else None,
    )
    return _Join(
        slices=slices,
        corpus=corpus,
        groups=groups,
        files=tuple(_run_files(store, plans)),
        run=run,
        results=ResultsConfig(
            calibrator="" if options.calibrate == "none" else options.calibrate,
            precision=options.wanted_precision,
            fitted_on={"gold": [file.source for file in gold], "model": settings["tagger"]["model"]},
            applied=settings["entities"].get("calibrator", ""),
        ),
        config=JoinConfig(tags=tags, boundaries=options.boundaries),
        n_buckets=max(1, min(_MOST_BUCKETS, sum(file.size_bytes for file in gold) // _BUCKET_BYTES)),
    )


def _run_files(store: "Store", plans: Sequence["Plan"]) -> Iterator["RunFiles"]:
    """What a complete run wrote, by slice.

    Raises:
      ConfigError: the run is not complete.
    """
    from transforms.join import RunFiles
    from transforms.storage.commits import DATA, DEAD
    from transforms.storage.runs import is_complete, reconcile

    slices = [slice_ for plan in plans for slice_ in plan.slices]
    if not is_complete(store, slices):
        raise ConfigError("expected a complete run as --predicted, found one without _SUCCESS; run annotate again")
    for slice_, receipt in zip(slices, reconcile(store, slices), strict=True):
        names = [file["final"] for file in receipt.files]
        data, dead = (next((name for name in names if name.startswith(f"{folder}/")), "") for folder in (DATA, DEAD))
        yield RunFiles(slice_, data, dead)


def _corpus(options: EvaluateOptions, gold: Sequence["FileRef"], groups: tuple[str, ...] = ()) -> "CorpusConfig":
    """How the gold files are read; CoNLL files have no columns of a table."""
    from transforms.corpora.documents import CorpusConfig
    from transforms.corpora.formats import format_of

    plain = CorpusConfig(format=options.format, conll_columns=options.conll_columns, has_tags=True)
    if all(format_of(file, plain) == "conll" for file in gold):
        if groups:
            raise ConfigError(f"expected --by with columns that the run kept, as gold is CoNLL, found {list(groups)}")
        return plain
    return dataclasses.replace(
        plain,
        text_column=options.text_column,
        id_column=options.id_column,
        gold_column=options.gold_column,
        tokens_column=options.tokens_column,
        keep_columns=groups,
    )


def _find_scheme(options: EvaluateOptions, gold: Sequence["FileRef"]) -> str:
    """The scheme of the first gold tags; BIO when gold is spans."""
    from transforms.tags.schemes import recognise_scheme

    tags: set[str] = set()
    try:
        for sentence in itertools.islice(_first_tags(options, gold[0]), _PEEKED_SENTENCES):
            tags.update(sentence)
        return recognise_scheme(sorted(tags)) if tags - {"O"} else "BIO"
    except CheckpointError as error:
        raise ConfigError(f"cannot tell the tag scheme of --gold, set --scheme: {error}") from error


def _first_tags(options: EvaluateOptions, file: "FileRef") -> Iterator[Sequence[str]]:
    """Tags of the first sentences or documents of a gold file, until it ends."""
    from transforms.corpora.conll import read_documents
    from transforms.corpora.formats import cut_files, format_of, read_parts

    corpus = _corpus(options, [file])
    if format_of(file, corpus) == "conll":
        for document in read_documents(file, corpus, has_predicted=not options.predicted):
            yield from (sentence.tags for sentence in document)
        return
    for slice_ in cut_files([file], corpus, _PEEKED_BYTES)[:1]:
        for part in read_parts(slice_, corpus):
            yield from ([tag["tag"] for tag in tags or ()] for tags in part.documents.column("tags").to_pylist())


def _read_seen(options: EvaluateOptions, label_map: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """Mentions of the training files to their labels."""
    from transforms.corpora.files import list_files
    from transforms.corpora.formats import cut_files, read_parts

    files = list_files(options.train, flag="--train")
    corpus = dataclasses.replace(_corpus(dataclasses.replace(options, conll_columns="auto"), files), has_tags=False)
    seen: dict[str, set[str]] = {}
    for slice_ in cut_files(files, corpus, _PEEKED_BYTES):
        for part in read_parts(slice_, corpus):
            columns = (part.documents.column(name).to_pylist() for name in ("text", "gold"))
            for text, spans in zip(*columns, strict=True):
                for span in spans or ():
                    label = label_map.get(span["label"], span["label"])
                    seen.setdefault(text[span["start"] : span["end"]], set()).add(label)
    return {surface: frozenset(labels) for surface, labels in seen.items()}


def _finish(job: _Job, seconds: float) -> dict[str, Any]:
    """Completes the results that the pipeline left, writes the report and returns it."""
    from pipelines.annotate import versions
    from schemas.manifest import dump_json
    from schemas.slices import display_uri
    from transforms.reports.evaluation import render_evaluation
    from transforms.reports.markdown import render_markdown

    results = json.loads(job.store.read(RESULTS))
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
    job.store.put("report.json", dump_json(report))
    job.store.put("report.html", render_evaluation(report).encode())
    job.store.put("report.md", render_markdown(report).encode())
    for name in ("calibrator", "thresholds"):
        if results[name]:
            job.store.put(f"{name}.json", results[name].encode())
    job.store.delete(RESULTS)
    return report


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
