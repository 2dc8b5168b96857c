"""`spanmill annotate`: a corpus in, entity annotations and a report out."""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.console.logs import log_context
from pipelines.console.options import parse_options, parse_pairs
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.commands import record_command
from pipelines.runs.finishing import REPORT, PlannedRun, finish_run
from pipelines.runs.observing import observing
from pipelines.runs.options import AnnotateOptions
from pipelines.runs.versions import versions
from pipelines.taggers.choosing import configure
from pipelines.taggers.pinning import pin_model
from pipelines.taggers.tuning import recall_budget, tune_budget
from pipelines.workers.runners import check_hints, choose_hints, is_handed_over, is_local
from schemas.errors import ConfigError, FileError, InputError, PipelineError, StorageError

if TYPE_CHECKING:
    from pipelines.runs.reusing import EarlierRun
    from pipelines.workers.supervision import Supervision
    from schemas.slices import FileRef, Slice
    from schemas.tables import FileTable, SliceTable
    from transforms.corpora.documents import CorpusConfig
    from transforms.models.annotator import EntityConfig
    from transforms.models.tagger import TaggerConfig
    from transforms.reuse.recall import RecallConfig
    from transforms.storage.runs import RunState
    from transforms.storage.store import Store

DESCRIPTION = "Annotate a corpus with named entities and write Parquet, a report and a manifest."


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, beam_flags = parse_options(AnnotateOptions, arguments, prog="spanmill annotate", description=DESCRIPTION)
    with stopping_on_signals("the same command goes on from what is committed"):
        return run(options, beam_flags)


@dataclasses.dataclass(frozen=True)
class _Job:
    """A planned run: what will be done, by what, where."""

    options: AnnotateOptions
    corpus: "CorpusConfig"
    tagger: "TaggerConfig"
    entities: "EntityConfig"
    settings: dict[str, Any]
    root: str
    store: "Store"
    state: "RunState"
    supervision: "Supervision | None"
    earlier: "EarlierRun | None"


class Annotated(NamedTuple):
    """A run that is complete.

    Attributes:
      status: the exit status of the job.
      root: folder or URL of the run.
    """

    status: int
    root: str


def run(
    options: AnnotateOptions, beam_flags: Sequence[str], *, expected: str = "", replaced: Collection[str] = ()
) -> int:
    """Annotates and returns the exit status; see `annotate_corpus`."""
    return annotate_corpus(options, beam_flags, expected=expected, replaced=replaced).status


def annotate_corpus(
    options: AnnotateOptions, beam_flags: Sequence[str], *, expected: str = "", replaced: Collection[str] = ()
) -> Annotated:
    """Plans, runs what is not done yet, reconciles and reports; returns the exit status and where the run lies.

    Args:
      options: what a person asked for.
      beam_flags: Beam's own flags.
      expected: name of the run's folder that the options have to lead to, where that is known.
      replaced: sources of input files that may have changed since the run read them.

    Raises:
      ConfigError: options or input are wrong; nothing was loaded or written.
      PipelineError: the run failed; what is committed stays.
    """
    with observing(options) as observer:
        started = time.monotonic()
        job = _plan(pin_model(options), beam_flags, expected, replaced)
        observer.begin(job.root, job.store)
        report = _do(job, beam_flags, started)
        if report is None:
            observer.hand_over()
            return Annotated(0, job.root)
        observer.complete(report)
        return Annotated(observer.end(_conclude(job, report)), job.root)


def check(options: AnnotateOptions, files: "Sequence[FileRef]") -> None:
    """Looks at options and input files as a run does when it plans, and does nothing else.

    Raises:
      ConfigError: options are wrong, or columns are missing or differ.
      FileError: a file cannot be read to its end, and would be no dead letter.
    """
    from transforms.corpora.formats import stream_slices
    from transforms.storage.runs import MOST_SLICE_BYTES

    _check_ranges(options)
    _configure_entities(options)
    size = options.slice_size or MOST_SLICE_BYTES
    for _ in stream_slices(files, _configure_corpus(options), size, is_strict=options.bad_files == "fail"):
        pass


def leave_out_own(files: "FileTable", output: str) -> "FileTable":
    """Files without those of earlier runs and of an estimate, when the output folder lies within the input's."""
    import pyarrow.compute as pc

    from transforms.corpora.files import name_file

    root = name_file(output).rstrip("/")
    uris = files.column("uri")
    is_own = pc.or_(pc.starts_with(uris, f"{root}/run="), pc.equal(uris, f"{root}/estimate.json"))
    return files.filter(pc.invert(is_own))


def _configure_corpus(options: AnnotateOptions) -> "CorpusConfig":
    """Options to how documents are found in files."""
    from transforms.corpora.documents import CorpusConfig

    return CorpusConfig(
        format=options.format,
        text_column=options.text_column,
        id_column=options.id_column,
        gold_column=options.gold_column,
        tokens_column=options.tokens_column,
        keep_columns=options.keep_columns,
        document_per_file=options.document_per_file,
        conll_columns=options.conll_columns,
        max_document_bytes=options.max_document_bytes,
    )


def _do(job: _Job, beam_flags: Sequence[str], started: float) -> dict[str, Any] | None:
    """Does what is not done yet; returns the report, or None where a runner goes on without this process."""
    from transforms.storage.runs import is_complete, pending_slices

    options = job.options
    report = _read_report(job) if is_complete(job.store, job.state.slices) else None
    if report is not None:
        _say(options, f"nothing to do: every document of {_show(job.root)} is annotated")
    else:
        record_command(job.store, options, beam_flags)
        pending = pending_slices(job.store, job.state.slices)
        if pending:
            planned = time.monotonic()
            job = dataclasses.replace(job, tagger=_set_budget(job, pending))
            started += time.monotonic() - planned  # Measuring a budget is no part of the run.
            _annotate(job, pending, beam_flags)
            if is_handed_over(beam_flags):
                _say(options, "handed over to the runner; once that is done, the same command again writes the report")
                return None
        log_context(step="report")
        report = _finish(job, pending, time.monotonic() - started)
    return report


def _plan(options: AnnotateOptions, beam_flags: Sequence[str], expected: str, replaced: Collection[str]) -> _Job:
    from pipelines.console.progress import watch_count
    from pipelines.runs.reusing import open_earlier
    from pipelines.workers.local import choose_supervision, count_workers, share_threads
    from pipelines.workers.supervision import Supervision
    from schemas.annotations import SCHEMA_VERSION, check_kept
    from schemas.manifest import fingerprint
    from schemas.slices import display_text
    from transforms.corpora.files import scan_files
    from transforms.corpora.formats import stream_slices
    from transforms.models.annotator import check_labels
    from transforms.storage.runs import InputChanges, choose_slice_bytes, plan_run
    from transforms.storage.store import open_store

    _check_ranges(options)
    asked = Supervision(
        workers=options.workers, max_restarts=options.max_restarts, timeout_s=options.timeout_per_document
    )
    supervision = choose_supervision(asked, beam_flags, (*options.input, options.output))
    n_workers = supervision.workers if supervision else count_workers(beam_flags)
    corpus = _configure_corpus(options)
    check_hints(choose_hints(options.accelerator, options.min_ram), beam_flags, device=options.device)
    check_kept(
        options.keep_columns,
        layout=options.layout,
        is_routed=bool(options.route),
        has_probabilities=options.keep_probabilities,
    )
    entities = _configure_entities(options)
    with watch_count("listed", "files", is_shown=options.progress) as count:
        files = leave_out_own(scan_files(options.input, tell=count.tell), options.output)
    tagger = configure(
        options, threads=share_threads(supervision.workers if supervision else 1), is_local=is_local(beam_flags)
    )
    check_labels(entities, tagger.labels)
    settings = {
        "schema_version": SCHEMA_VERSION,
        "corpus": corpus.describe(),
        "tagger": tagger.describe(),
        "entities": entities.describe(),
        "output": _describe_output(options),
    }
    name = f"run={fingerprint(settings)}"
    if expected and name != expected:
        raise ConfigError(
            f"expected the model and settings that made {expected}, found others, which make {name}; "
            "give spanmill annotate what they are now"
        )
    root = f"{options.output.rstrip('/')}/{name}"
    earlier = open_earlier(options.reuse, settings, tagger.labels)
    is_strict = options.bad_files == "fail"
    try:
        store = open_store(root)
        with watch_count("planned", "files", is_shown=options.progress) as count:
            state = plan_run(
                store,
                settings,
                files,
                lambda new, size: stream_slices(
                    new, corpus, size, is_strict=is_strict, tell=functools.partial(count.tell, total=len(new))
                ),
                slice_bytes=options.slice_size or functools.partial(choose_slice_bytes, n_workers=n_workers),
                changes=InputChanges(allow_removed=options.allow_removed_inputs, replaced=replaced),
            )
    except FileError as error:
        raise ConfigError(f"{error}; mend the file or set --bad-files dead-letter") from error
    except (OSError, StorageError) as error:
        raise ConfigError(f"cannot write to --output {_show(options.output)!r}: {display_text(str(error))}") from error
    return _Job(options, corpus, tagger, entities, settings, root, store, state, supervision, earlier)


def _set_budget(job: _Job, pending: Sequence["Slice"]) -> "TaggerConfig":
    """The tagger with the budget of a batch that was asked for, is measured now, or is remembered."""
    from transforms.models.catalog import CheckpointTaggerConfig

    if not isinstance(job.tagger, CheckpointTaggerConfig):
        return job.tagger
    if job.options.tune:
        return tune_budget(job.tagger, job.corpus, pending)
    if job.options.batch_tokens:
        return job.tagger
    return dataclasses.replace(job.tagger, batch_tokens=recall_budget(job.tagger))


def _configure_entities(options: AnnotateOptions) -> "EntityConfig":
    """Options to which entities are written, with the calibrator and the thresholds read from their files."""
    from schemas.calibration import Calibrator, Thresholds
    from transforms.models.annotator import EntityConfig

    thresholds: Thresholds | None = None
    calibrator: Calibrator | None = None
    if options.thresholds:
        thresholds = Thresholds.from_json(_read("--thresholds", options.thresholds), file=_show(options.thresholds))
    if options.calibrator:
        calibrator = Calibrator.from_json(_read("--calibrator", options.calibrator), file=_show(options.calibrator))
    return EntityConfig(
        threshold=options.threshold,
        label_thresholds=_label_thresholds(options.label_threshold),
        thresholds=thresholds,
        calibrator=calibrator,
        keep_below=options.keep_below,
        offset_unit=options.offset_unit,
        max_document_bytes=options.max_document_bytes,
    )


def _describe_output(options: AnnotateOptions) -> dict[str, Any]:
    """What shapes files beyond their entities; runs without probabilities keep the fingerprint that they had."""
    more = {"probabilities": True} if options.keep_probabilities else {}
    return {"format": options.output_format, "layout": options.layout, **more}


def _read(flag: str, uri: str) -> str:
    """The text of a file that a flag names."""
    from schemas.slices import display_text
    from transforms.corpora.files import open_stream, stat_file

    try:
        with open_stream(stat_file(uri)) as stream:
            return stream.read().decode()
    except FileNotFoundError as error:
        raise ConfigError(f"expected a file at {flag} {_show(uri)!r}, found none") from error
    except Exception as error:
        # Every file system has its own errors: no credentials, no such host, no such protocol.
        reason = getattr(error, "strerror", None) or display_text(str(error))
        raise ConfigError(f"cannot read {flag} {_show(uri)!r}: {reason or type(error).__name__}") from error


def _read_report(job: _Job) -> dict[str, Any] | None:
    """The report of a finished run; None where it is not what was written, so that it has to be written again."""
    from transforms.storage.manifests import MANIFEST

    try:
        report = json.loads(job.store.read(REPORT))
        manifest = json.loads(job.store.read(MANIFEST))
        return report if report["documents"] == manifest["tally"]["documents"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _annotate(job: _Job, pending: Sequence["Slice"], beam_flags: Sequence[str]) -> None:
    """Annotates what is not committed: by workers that are watched, or by a runner that watches its own."""
    from pipelines.console.progress import watch_commits
    from pipelines.workers.annotating import SliceWork
    from pipelines.workers.local import without_local_workers
    from pipelines.workers.supervision import Crew

    options = job.options
    work = SliceWork(
        root=job.root,
        corpus=job.corpus,
        tagger=job.tagger,
        entities=job.entities,
        output_format=options.output_format,
        layout=options.layout,
        metadata={
            "settings": json.dumps(job.settings, sort_keys=True),
            "model": job.tagger.digest,
            "versions": json.dumps(versions(), sort_keys=True),
        },
        is_strict=options.bad_files == "fail",
        timeout_s=options.timeout_per_document,
        beam_flags=tuple(without_local_workers(beam_flags) if job.supervision else beam_flags),
        hints=choose_hints(options.accelerator, options.min_ram),
        recall=_index_earlier(job),
    )
    try:
        with watch_commits(job.store, job.state.slices, is_shown=options.progress):
            if job.supervision:
                Crew(work, job.store, lambda: _pending(job), job.supervision).run(pending)
            else:
                work.run(pending)
    except ConfigError:
        raise
    except PipelineError as error:
        n_done = len(job.state.slices) - len(_pending(job))
        is_file = isinstance(error, InputError)
        remedy = "mend the file, or set --bad-files dead-letter" if is_file else "the same command goes on from there"
        raise PipelineError(f"{error} (after {n_done} of {len(job.state.slices)} slices; {remedy})") from error


def _index_earlier(job: _Job) -> "RecallConfig | None":
    """Where the texts of an earlier run are, if one is reused."""
    from pipelines.console.progress import watch_clock
    from pipelines.runs.reusing import index_earlier

    earlier = job.earlier
    if earlier is None:
        return None
    changes = ", ".join(f"{change['name']} from {change['a']!r} to {change['b']!r}" for change in earlier.changes)
    _say(job.options, f"reusing {earlier.shown}" + (f", entities decided anew: {changes}" if changes else ""))
    with watch_clock(f"indexing {len(earlier.run.slices):,} slices", is_shown=job.options.progress):
        return index_earlier(earlier, job.tagger, job.store, job.root)


def _pending(job: _Job) -> "SliceTable":
    from transforms.storage.runs import pending_slices

    return pending_slices(job.store, job.state.slices)


def _finish(job: _Job, ran: Sequence["Slice"], seconds: float) -> dict[str, Any]:
    """Reconciles storage with the plan, then writes report, manifest and `_SUCCESS`."""
    from pipelines.runs.reusing import read_tally
    from schemas.costs import Prices

    planned = PlannedRun(
        store=job.store,
        state=job.state,
        settings=job.settings,
        model=", ".join(map(_show, job.options.adapter or job.options.tagger or (job.options.model,))),
        corpus=job.corpus,
        report_documents=job.options.report_documents,
        prices=Prices.parse(job.options.price_per_hour),
        reused={job.earlier.shown: read_tally(job.earlier)} if job.earlier else {},
    )
    return finish_run(planned, ran, seconds)


def _conclude(job: _Job, report: dict[str, Any]) -> int:
    from rich.console import Console

    from transforms.reports.summary import print_summary

    console = Console(highlight=False)
    print_summary(report, console)
    for name, folder in (("annotations", "data"), ("report", "report/report.html")):
        console.print(f"{name:<12} {_show(job.root)}/{folder}", soft_wrap=True, markup=False)
    for note in _notes(job, report):
        print(f"spanmill: {note}", file=sys.stderr)
    unread = job.state.slices.n_unread
    limit = job.options.max_failed_fraction
    causes = []
    if report["failed_fraction"] > limit:
        failed = f"{100 * report['failed_fraction']:.3g} % of the documents failed"
        causes.append(f"{failed}, more than --max-failed-fraction {limit} allows")
    if unread and limit < 1:
        files = "1 input file" if unread == 1 else f"{unread:,} input files"
        causes.append(f"{files} could not be read, which only --max-failed-fraction 1 allows")
    if causes:
        print(f"spanmill: {'; '.join(causes)}; see {_show(job.root)}/dead", file=sys.stderr)
        return 3
    return 0


def _notes(job: _Job, report: dict[str, Any]) -> Iterator[str]:
    """What a person would want to know before trusting the counts."""
    thresholds = job.entities.thresholds
    if unreached := [label for label, value in (thresholds.labels if thresholds else {}).items() if value is None]:
        yield f"no {unreached} was written, as --thresholds has none that would give the wanted precision"
    counts = report.get("counts", {})
    remarks = {"cut": "were cut off", "without-probabilities": "came without probabilities, so their scores are 1"}
    for name, what in remarks.items():
        if found := sum(n for count, n in counts.items() if count.endswith(f"answers/{name}")):
            yield f"{found:,} answers {what}"
    if damaged := counts.get("reuse/damaged"):
        documents = "1 document was" if damaged == 1 else f"{damaged:,} documents were"
        yield f"{documents} not reused, as the earlier run's files are not as committed; spanmill verify tells which"
    matches = (report["scores"] or {"matches": {}})["matches"]
    gold = [label for label, (found, _, missed) in matches.items() if found + missed]
    own = job.tagger.labels
    if gold and not set(gold) & set(own):
        yield f"gold has the labels {gold[:9]} and the model {list(own)[:9]}; spanmill evaluate --map makes them meet"


def _check_ranges(options: AnnotateOptions) -> None:
    from schemas.costs import Prices
    from transforms.corpora.conll import parse_columns
    from transforms.models.backends import check_batch_tokens

    if not 0 <= options.max_failed_fraction <= 1:
        raise ConfigError(f"expected --max-failed-fraction between 0 and 1, found {options.max_failed_fraction}")
    if options.keep_probabilities and options.layout == "flat":
        raise ConfigError(
            "expected --layout document with --keep-probabilities, found flat, in which documents without entities "
            "have no row"
        )
    parse_columns(options.conll_columns)
    Prices.parse(options.price_per_hour)
    check_batch_tokens(options.batch_tokens)
    for name in ("slice_size", "report_documents"):
        if getattr(options, name) < 0:
            raise ConfigError(f"expected --{name.replace('_', '-')} of 0 or more, found {getattr(options, name)}")


def _label_thresholds(values: Sequence[str]) -> tuple[tuple[str, float], ...]:
    thresholds = []
    for label, value in parse_pairs(values, flag="--label-threshold").items():
        try:
            thresholds.append((label, float(value)))
        except ValueError:
            raise ConfigError(f"expected a number in --label-threshold {label}=, found {value!r}") from None
    return tuple(sorted(thresholds))


def _say(options: AnnotateOptions, text: str) -> None:
    if options.progress:
        print(text, file=sys.stderr)


def _show(uri: str) -> str:
    from schemas.slices import display_uri

    return display_uri(uri)
