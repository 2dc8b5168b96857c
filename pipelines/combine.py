"""`spanmill combine`: what several taggers found in the same documents in, one set of spans with agreement out."""

import dataclasses
import hashlib
import itertools
import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option, parse_options, parse_pairs, quiet_beam
from pipelines.console.progress import watch_clock
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.finishing import REPORT, PlannedRun, finish_run
from pipelines.runs.opening import CompleteRun, check_renamed, open_complete_run
from pipelines.workers.runners import is_handed_over
from pipelines.workers.running import run_pipeline
from schemas.errors import ConfigError, suggest

if TYPE_CHECKING:
    from schemas.slices import FileRef, Slice
    from transforms.combining.documents import CombineConfig, SharedSlice
    from transforms.storage.work import WorkList

DESCRIPTION = "Make one set of spans of what several taggers found in the same documents, with agreement scores."
_NAMED = re.compile(r"(?!run=)([A-Za-z0-9][A-Za-z0-9_.-]*)=(.+)", re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CombineOptions:
    """Everything a person can ask of the job."""

    run: tuple[str, ...] = option(
        "runs of spanmill annotate over the same files, each tagger in them a voter called NAME, or NAME/TAGGER where "
        "a run has several (default: the folder's name)",
        metavar="[NAME=]RUN",
        is_positional=True,
    )
    output: str = option("folder or URL under which the run's own folder is made", metavar="DIR")
    by: str = option(
        "which spans count: vote, of more than half of the voters (or least=N of them); weighted, of agreement=SHARE "
        "of their weight (0.5); first, of the first voter, and what later ones add without overlapping",
        "vote",
        metavar="vote|weighted|first[:OPTION=VALUE]",
    )
    weight: tuple[str, ...] = option(
        "weight of a voter for weighted, 1 unless told, or a report.json of evaluate whose micro F1 is taken",
        (),
        metavar="NAME=WEIGHT|FILE",
    )
    map: tuple[str, ...] = option(
        "rename labels of all voters, such as person=PER, or drop them with O", (), metavar="LABEL=LABEL"
    )
    keep_below: bool = option("keep the spans that do not count in a second column", default=False)
    max_failed_fraction: float = option("more failed documents than this end with exit status 3", 0.01)
    report_documents: int = option("documents shown in the report, with their text", 30)
    progress: bool = option("show progress", default=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, beam_flags = parse_options(CombineOptions, arguments, prog="spanmill combine", description=DESCRIPTION)
    with stopping_on_signals("the same command goes on from what is committed"):
        return run(options, beam_flags)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A planned run.

    Attributes:
      root: root of its store.
      planned: what is needed to finish it.
      config: how voters become one.
      runs: roots of the stores of the runs that vote.
      shared: its slices, and where each run has their rows, by id.
    """

    root: str
    planned: PlannedRun
    config: "CombineConfig"
    runs: tuple[str, ...]
    shared: Mapping[str, "SharedSlice"]


def run(options: CombineOptions, beam_flags: Sequence[str]) -> int:
    """Combines what is not combined yet, reports and returns the exit status.

    Raises:
      ConfigError: options or runs are wrong.
      PipelineError: combining failed; what is committed stays.
    """
    from transforms.combining.documents import SharedTable
    from transforms.storage.runs import is_complete, pending_slices
    from transforms.storage.work import listed_work

    started = time.monotonic()
    quiet_beam()
    job = _plan(options)
    store, slices = job.planned.store, job.planned.state.slices
    if is_complete(store, slices) and store.size(REPORT) is not None:
        if options.progress:
            print(f"nothing to do: every document of {_show(job.root)} is combined", file=sys.stderr)
        return _conclude(job, options, json.loads(store.read(REPORT)))
    pending = pending_slices(store, slices)
    if pending:
        shared = SharedTable.of(job.shared[slice_id] for slice_id in pending.ids.to_pylist())
        with (
            listed_work(store, shared, is_kept=is_handed_over(beam_flags)) as listed,
            watch_clock("combining", is_shown=options.progress),
        ):
            run_pipeline(lambda pipeline: _construct(job, listed, pipeline), beam_flags)
    return _conclude(job, options, finish_run(job.planned, pending, time.monotonic() - started))


def _construct(job: _Job, listed: "WorkList", pipeline: Any) -> None:
    """Adds the transforms to a pipeline that commits slices."""
    import apache_beam as beam

    from pipelines.runs.versions import versions
    from transforms.combine import CombineRuns
    from transforms.commit import CommitSlices
    from transforms.plan import PlanSlices

    metadata = {
        "settings": json.dumps(job.planned.settings, sort_keys=True),
        "model": job.config.model,
        "versions": json.dumps(versions(), sort_keys=True),
    }
    slices = pipeline | "Plan" >> PlanSlices(job.root, listed, is_spread=True)
    parts, committed = slices | "Combine" >> CombineRuns(job.config, job.runs, job.root)
    done = parts | "Commit" >> CommitSlices(job.root, "parquet", "document", metadata)
    # As in annotate: receipts that meet in one place make the death of a worker an error.
    (done, committed) | "Gather slices" >> beam.Flatten() | "Count slices" >> beam.combiners.Count.Globally()


def _plan(options: CombineOptions) -> _Job:
    from schemas.manifest import fingerprint
    from schemas.slices import display_text
    from transforms.corpora.documents import CorpusConfig
    from transforms.storage.runs import InputChanges, plan_run
    from transforms.storage.store import open_store

    if not 0 <= options.max_failed_fraction <= 1:
        raise ConfigError(f"expected --max-failed-fraction between 0 and 1, found {options.max_failed_fraction}")
    if options.report_documents < 0:
        raise ConfigError(f"expected --report-documents of 0 or more, found {options.report_documents}")
    runs = _open_runs(options.run)
    config = _configure(options, runs)
    shared = {each.slice_.slice_id: each for each in _share_slices(runs)}
    settings = _describe(config, runs)
    root = f"{options.output.rstrip('/')}/run={fingerprint(settings)}"
    slices = [each.slice_ for each in shared.values()]
    try:
        store = open_store(root)
        state = plan_run(
            store,
            settings,
            list(dict.fromkeys(slice_.file for slice_ in slices)),
            lambda new, _: _pick(slices, frozenset(new)),
            slice_bytes=0,
            changes=InputChanges(),
        )
    except ConfigError:
        raise
    except Exception as error:
        # Every client has its own errors: no credentials, no such host, no such protocol.
        raise ConfigError(f"cannot write to --output {_show(options.output)!r}: {display_text(str(error))}") from error
    planned = PlannedRun(
        store=store,
        state=state,
        settings=settings,
        model=f"{options.by} of {', '.join(voter.name for voter in config.voters)}",
        corpus=CorpusConfig(**settings["corpus"], max_document_bytes=settings["entities"]["max_document_bytes"]),
        report_documents=options.report_documents,
    )
    # Plans number slices; the rest of a slice is as it was shared.
    numbered = {s.slice_id: dataclasses.replace(shared[s.slice_id], slice_=s) for s in state.slices}
    return _Job(
        root=root,
        planned=planned,
        config=config,
        runs=tuple(opened.root for opened in runs.values()),
        shared=numbered,
    )


def _pick(slices: Sequence["Slice"], files: Collection["FileRef"]) -> list["Slice"]:
    return [slice_ for slice_ in slices if slice_.file in files]


def _open_runs(words: Sequence[str]) -> dict[str, CompleteRun]:
    """The runs that vote, by name and in order.

    Raises:
      ConfigError: a run is not there or not complete, two have one name, or their offsets are of two units.
    """
    from transforms.models.panel import check_names

    named = list(map(split_run, words))
    check_names([name for name, _ in named], flag="RUN", example="a=RUN")
    runs = {name: open_complete_run(folder, flag="RUN") for name, folder in named}
    units = {opened.unit: name for name, opened in runs.items()}
    if len(units) > 1:
        found = " and ".join(f"{unit} in {name!r}" for unit, name in units.items())
        raise ConfigError(f"expected runs with the same --offset-unit, found {found}; annotate again with one of them")
    return runs


def split_run(word: str) -> tuple[str, str]:
    """`NAME=RUN` to both; a run alone is named by its folder, or the one above where that is called `run=...`.

    >>> split_run("big=out/b"), split_run("out/b/"), split_run("out/b/run=0123")
    (('big', 'out/b'), ('b', 'out/b/'), ('b', 'out/b/run=0123'))
    """
    if match := _NAMED.fullmatch(word):
        return match[1], match[2]
    parts = [part for part in word.split("/") if part and not part.startswith("run=")]
    return parts[-1] if parts else "run", word


def _configure(options: CombineOptions, runs: Mapping[str, CompleteRun]) -> "CombineConfig":
    """Options to how voters become one."""
    from schemas.specs import parse_spec
    from transforms.combining.documents import CombineConfig, Voter
    from transforms.combining.rules import RULES
    from transforms.combining.vote import VoteConfig

    rule, settings = parse_spec(options.by, {name: rule.config for name, rule in RULES.items()}, flag="--by")
    if options.weight and not RULES[rule].has_weights:
        heavy = sorted(name for name, other in RULES.items() if other.has_weights)
        raise ConfigError(f"expected --weight with --by {' or '.join(heavy)}, found it with {rule!r}")
    weights = {name: _read_weight(name, value) for name, value in parse_pairs(options.weight, flag="--weight").items()}
    voters = tuple(
        Voter(name=voter, run=at, tagger=tagger, weight=weights.get(voter, 1.0))
        for at, (name, opened) in enumerate(runs.items())
        for tagger in opened.taggers
        for voter in [f"{name}/{tagger}" if tagger else name]
    )
    names = [voter.name for voter in voters]
    if unknown := [name for name in weights if name not in names]:
        raise ConfigError(f"expected --weight for one of {names}, found {unknown[0]!r}{suggest(unknown[0], names)}")
    if isinstance(settings, VoteConfig) and settings.least > len(voters):
        raise ConfigError(
            f"expected least of {len(voters)} at most, as there are no more voters, found {settings.least}"
        )
    config = CombineConfig(
        voters=voters,
        rule=rule,
        settings=settings,
        label_map=parse_pairs(options.map, flag="--map"),
        keep_below=options.keep_below,
        model="",
    )
    check_renamed(config.label_map, _list_labels(dataclasses.replace(config, label_map={}), list(runs.values())))
    described = json.dumps(_describe_tagger(config, runs), sort_keys=True)
    return dataclasses.replace(config, model=hashlib.sha256(described.encode()).hexdigest())


def _read_weight(name: str, value: str) -> float:
    """A weight that is given, or the F1 of an evaluation.

    Raises:
      ConfigError: it is neither a number above 0 nor such a report.
    """
    from transforms.corpora.files import open_stream, stat_file

    try:
        weight = float(value)
    except ValueError:
        try:
            with open_stream(stat_file(value)) as stream:
                weight = float(json.loads(stream.read())["exact"]["default"]["micro"]["f1"])
        except Exception as error:
            # Every file system has its own errors, and what is read may be anything.
            raise ConfigError(
                f"expected a number or a report.json of spanmill evaluate as --weight {name}=, found {_show(value)!r}"
            ) from error
    if not (math.isfinite(weight) and weight > 0):
        raise ConfigError(f"expected a weight above 0 in --weight {name}=, found {weight}")
    return weight


def _describe(config: "CombineConfig", runs: Mapping[str, CompleteRun]) -> dict[str, Any]:
    """Everything that changes output; the input is read again, for people to look at, as the first run did."""
    from schemas.annotations import SCHEMA_VERSION

    opened = list(runs.values())
    return {
        "schema_version": SCHEMA_VERSION,
        "corpus": {**opened[0].settings["corpus"], "keep_columns": []},
        "tagger": {
            **_describe_tagger(config, runs),
            "model": config.model,
            "labels": list(_list_labels(config, opened)),
        },
        "entities": {
            "offset_unit": opened[0].unit,
            "max_document_bytes": max(run.settings["entities"]["max_document_bytes"] for run in opened),
            "keep_below": config.keep_below,
        },
        "output": {"format": "parquet", "layout": "document"},
    }


def _describe_tagger(config: "CombineConfig", runs: Mapping[str, CompleteRun]) -> dict[str, Any]:
    """Voters and rule; a voter by what its run wrote, so that a run that was mended votes anew."""
    from schemas.specs import render_spec

    opened = list(runs.values())
    return {
        "tagger": "combination",
        "rule": render_spec(config.rule, config.settings),
        "label_map": dict(config.label_map),
        "voters": [
            {
                "name": voter.name,
                "model": _find_model(opened[voter.run], voter.tagger),
                "wrote": opened[voter.run].digest,
                "weight": voter.weight,
            }
            for voter in config.voters
        ],
    }


def _find_model(run: CompleteRun, tagger: str) -> str:
    described = run.settings["tagger"]
    return str(described["members"][tagger]["model"] if tagger else described["model"])


def _list_labels(config: "CombineConfig", runs: Sequence[CompleteRun]) -> dict[str, None]:
    """Labels that voters may give, renamed, in order."""
    from schemas.annotations import join_label
    from schemas.labels import OUTSIDE

    labels: dict[str, None] = {}
    for voter in config.voters:
        before = join_label(voter.tagger, "")
        own = [label.removeprefix(before) for label in runs[voter.run].labels if label.startswith(before)]
        labels |= dict.fromkeys(config.label_map.get(label, label) for label in own)
    labels.pop(OUTSIDE, None)
    return labels


def _share_slices(runs: Mapping[str, CompleteRun]) -> Iterator["SharedSlice"]:
    """The slices of every file, as the first run cut it that could read it, and where the others have their rows.

    Raises:
      ConfigError: runs share no files, or took one for different numbers of documents.
    """
    from transforms.combining.documents import SharedSlice

    by_source = {name: _group_slices(opened) for name, opened in runs.items()}
    _check_shared(by_source)
    for source in dict.fromkeys(itertools.chain.from_iterable(by_source.values())):
        own = {name: slices[source] for name, slices in by_source.items() if source in slices}
        readable = {name: slices for name, slices in own.items() if not any(slice_.error for slice_ in slices)}
        rows = {sum(slice_.rows for slice_ in slices): name for name, slices in readable.items()}
        if len(rows) > 1:
            found = " and ".join(f"{n:,} in {name!r}" for n, name in rows.items())
            raise ConfigError(
                f"expected runs that read the same documents of {source!r}, found {found}; annotate it again"
            )
        for slice_ in next(iter((readable or own).values())):
            parts = tuple(tuple(each.slice_id for each in own.get(name, ()) if _overlap(each, slice_)) for name in runs)
            yield SharedSlice(slice_, parts)


def _group_slices(run: CompleteRun) -> dict[str, list["Slice"]]:
    groups: dict[str, list[Slice]] = {}
    for slice_ in sorted(run.slices, key=lambda slice_: slice_.first_row):
        groups.setdefault(slice_.file.source, []).append(slice_)
    return {source: groups[source] for source in dict.fromkeys(slice_.file.source for slice_ in run.slices)}


def _overlap(a: "Slice", b: "Slice") -> bool:
    """Whether two slices of a file have a row in common, or neither has any."""
    if not b.rows:
        return not a.rows
    return a.first_row < b.first_row + b.rows and b.first_row < a.first_row + a.rows


def _check_shared(by_source: Mapping[str, Mapping[str, Any]]) -> None:
    n_runs = Counter(itertools.chain.from_iterable(by_source.values()))
    for name, slices in by_source.items():
        if len(by_source) > 1 and slices and all(n_runs[source] == 1 for source in slices):
            raise ConfigError(
                f"expected runs over the same input files, found none of {name!r}, such as "
                f"{next(iter(slices))!r}, in another; give annotate the same --input"
            )


def _conclude(job: _Job, options: CombineOptions, report: Mapping[str, Any]) -> int:
    from rich.console import Console

    from transforms.reports.summary import print_summary

    console = Console(highlight=False)
    print_summary(report, console)
    for name, folder in (("annotations", "data"), ("report", "report/report.html")):
        console.print(f"{name:<12} {_show(job.root)}/{folder}", soft_wrap=True, markup=False)
    limit = options.max_failed_fraction
    unread = job.planned.state.slices.n_unread
    causes = [f"{100 * report['failed_fraction']:.3g} % of the documents"] if report["failed_fraction"] > limit else []
    causes += [f"input files that no run could read: {unread:,}"] if unread and limit < 1 else []
    if causes:
        failed = " and ".join(causes)
        print(
            f"spanmill: failed {failed}; --max-failed-fraction is {limit}, see {_show(job.root)}/dead", file=sys.stderr
        )
    return 3 if causes else 0


def _show(uri: str) -> str:
    from schemas.slices import display_uri

    return display_uri(uri)
