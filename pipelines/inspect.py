"""`spanmill inspect`: annotated documents with their entities in colour, or labelled files and what ails them."""

import dataclasses
import difflib
import importlib.metadata
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.console.options import option, parse_options
from pipelines.console.signals import stopping_on_signals
from pipelines.labelled.labels import inspect_labels
from pipelines.runs.opening import Run, open_run, run_option
from schemas.errors import ConfigError, suggest

if TYPE_CHECKING:
    from schemas.receipts import Receipt
    from schemas.slices import Slice
    from transforms.reports.excerpts import Sample
    from transforms.storage.annotations import AnnotatedDocument, EntityFilter

DESCRIPTION = (
    "Show annotated documents of a run, finished or not, with their entities in colour; "
    "or with --labels tell what to mend in labelled files before training on them."
)
_OF_A_RUN = ("id", "label", "below", "source", "html")
_OF_LABELS = ("model", "max_tokens", "output")
_MOST_COMPARED = 100_000
_NEAR = 0.6
_FLAT = "in the flat layout they have no row"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Everything a person can ask of the job."""

    run: str = run_option(is_optional=True)
    id: tuple[str, ...] = option("show the documents with these ids", ())
    label: tuple[str, ...] = option("show documents with an entity of one of these labels", ())
    below: float = option("show documents with an entity that scores less, and let it stand out", 0.0, metavar="SCORE")
    source: tuple[str, ...] = option("show documents of these input files", (), metavar="FILE")
    limit: int = option("most documents to show, or rows of a table, 0 for all; --id shows all that it names", 20)
    html: str = option("write a page instead", "", metavar="FILE")
    labels: tuple[str, ...] = option(
        "look at labelled files instead of a run, as train reads them, and for sentences that several have",
        (),
        metavar="FILE",
    )
    model: str = option("with --labels: count pieces of this model's tokenizer", "")
    max_tokens: int = option("with --model: most pieces in a window (default: as in train)", 0)
    output: str = option("with --labels: write report.html and report.json too", "", metavar="DIR")


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        InspectOptions, arguments, prog="spanmill inspect", description=DESCRIPTION, has_beam=False
    )
    _check_job(options)
    with stopping_on_signals("nothing was changed"):
        if options.labels:
            return inspect_labels(
                options.labels,
                model=options.model,
                max_tokens=options.max_tokens,
                output=options.output,
                limit=options.limit,
            )
        return run(options)


def _check_job(options: InspectOptions) -> None:
    """Makes sure that it is clear what is to be looked at.

    Raises:
      ConfigError: both a run and labelled files are asked for, or neither, or an option is not for what is asked for.
    """
    if not options.run and not options.labels:
        raise ConfigError("expected RUN, found none; name one, or labelled files with --labels")
    if options.run and options.labels:
        raise ConfigError(f"expected RUN or --labels, found both, {options.run!r} and {options.labels[0]!r}")
    if options.limit < 0:
        raise ConfigError(f"expected --limit of 0 or more, found {options.limit}")
    strange = _OF_A_RUN if options.labels else _OF_LABELS
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    if found := [name for name in strange if getattr(options, name) != defaults[name]]:
        flag = "--" + found[0].replace("_", "-")
        raise ConfigError(f"expected {flag} with {'RUN' if options.labels else '--labels'} only, found it without")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OpenRun(Run):
    """A run that is looked at.

    Attributes:
      committed: ids of the slices that are committed.
    """

    committed: frozenset[str]

    @property
    def progress(self) -> str:
        """How far a run has come that is not finished; empty for one that is."""
        done = sum(slice_.slice_id in self.committed for slice_ in self.slices)
        total = len(self.slices)
        return "" if done == total else f"{done:,} of {total:,} slices are annotated so far; only those are read"

    def read_receipts(self) -> Iterator[tuple["Slice", "Receipt"]]:
        """The slices that are committed, each with what it left behind."""
        from transforms.storage.commits import read_receipt

        for slice_ in self.slices:
            receipt = read_receipt(self.store, slice_.slice_id) if slice_.slice_id in self.committed else None
            if receipt:
                yield slice_, receipt


def run(options: InspectOptions) -> int:
    """Shows the documents that are asked for and returns the exit status.

    Raises:
      ConfigError: options are wrong, there is no run, or an id is not in it.
    """
    from transforms.storage.annotations import EntityFilter

    if not 0 <= options.below <= 1:
        raise ConfigError(f"expected --below between 0 and 1, found {options.below}")
    opened = _choose_sources(_open_run(options.run), options.source)
    if unknown := [label for label in options.label if opened.labels and label not in opened.labels]:
        raise ConfigError(f"expected --label of {opened.labels}, found {unknown[0]!r}")
    wanted = EntityFilter(labels=frozenset(options.label), below=options.below)
    missing = set(options.id)
    samples = _read_samples(opened, wanted, missing)
    if options.limit and not options.id:
        samples = itertools.islice(samples, options.limit)
    if opened.progress:
        _say(opened.progress)
    n_shown = _write_page(opened, samples, wanted, options.html) if options.html else _print(opened, samples, wanted)
    if missing:
        raise ConfigError(_describe_missing(opened, sorted(missing)))
    _conclude(opened, wanted, options, n_shown)
    return 0


def _open_run(name: str) -> _OpenRun:
    from transforms.storage.commits import COMMITS

    run = open_run(name, flag="RUN")
    return _OpenRun(**vars(run), committed=frozenset(run.store.list(COMMITS)))


def _choose_sources(opened: _OpenRun, names: Sequence[str]) -> _OpenRun:
    """The run with the slices of some input files only, which may be named by the last parts of their paths."""
    from schemas.tables import SliceTable

    if not names:
        return opened
    sources = dict.fromkeys(slice_.file.source for slice_ in opened.slices)
    chosen = set()
    for name in names:
        found = {source for source in sources if source == name or source.endswith(f"/{name}")}
        if not found:
            hint = suggest(name, [*sources, *(Path(source).name for source in sources)])
            raise ConfigError(f"expected --source to be an input file of this run, found {name!r}{hint}")
        chosen |= found
    return dataclasses.replace(opened, slices=SliceTable.of(s for s in opened.slices if s.file.source in chosen))


def _read_samples(opened: _OpenRun, wanted: "EntityFilter", missing: set[str]) -> Iterator["Sample"]:
    """The documents to show, in the run's order; ids that are found leave `missing`, and the last one ends it."""
    from transforms.reports.samples import read_samples
    from transforms.storage.annotations import read_annotations

    ids = frozenset(missing)
    for slice_, receipt in opened.read_receipts():
        documents = read_annotations(opened.store, receipt, ids)
        if ids:
            documents = _take_missing(documents, missing)
        unit = opened.unit
        yield from read_samples(slice_, filter(wanted.selects, documents), opened.corpus, unit)
        if ids and not missing:
            return


def _take_missing(documents: Iterable["AnnotatedDocument"], missing: set[str]) -> Iterator["AnnotatedDocument"]:
    for document in documents:
        missing.discard(document.id)
        yield document
        if not missing:
            return


def _print(opened: _OpenRun, samples: Iterable["Sample"], wanted: "EntityFilter") -> int:
    from rich.console import Console

    from transforms.reports.terminal import Tones, print_sample

    console, tones = Console(highlight=False), Tones(opened.labels)
    n_shown = 0
    for sample in samples:
        print_sample(sample, console, wanted, tones)
        n_shown += 1
    return n_shown


def _write_page(opened: _OpenRun, samples: Iterable["Sample"], wanted: "EntityFilter", name: str) -> int:
    from schemas.slices import display_uri
    from transforms.reports.inspection import render_inspection, shorten
    from transforms.reports.terminal import Tones

    excerpts = [shorten(sample, wanted) for sample in samples]
    about = {
        "run": display_uri(opened.root),
        "progress": opened.progress,
        "versions": {"spanmill": importlib.metadata.version("spanmill")},
    }
    page = render_inspection(excerpts, wanted, Tones(opened.labels), about)
    try:
        Path(name).write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write --html {name!r}: {error.strerror}") from error
    print(f"{len(excerpts):,} document{'' if len(excerpts) == 1 else 's'} in {name}")
    return len(excerpts)


def _describe_missing(opened: _OpenRun, missing: Sequence[str]) -> str:
    from schemas.receipts import sum_tallies
    from transforms.storage.annotations import read_annotations

    tally = sum_tallies(receipt.tally for _, receipt in opened.read_receipts())
    named = []
    for name in missing[:3]:
        documents = (read_annotations(opened.store, receipt) for _, receipt in opened.read_receipts())
        near = _find_nearest(name, (document.id for documents_ in documents for document in documents_))
        named.append(f"{name!r} (the nearest is {near!r})" if near else repr(name))
    if len(missing) > 3:
        named.append(f"{len(missing) - 3:,} more")
    found = f"expected --id of the {tally.documents:,} documents of this run, found none called {', '.join(named)}"
    dead = f"; {tally.dead_rows:,} more could not be annotated" if tally.dead_rows else ""
    return f"{found}{dead}" + (f"; documents without entities: {_FLAT}" if opened.is_flat else "")


def _find_nearest(name: str, ids: Iterable[str]) -> str:
    """The id that is most like a name, of the first _MOST_COMPARED; an empty string when none is like it."""
    nearest, ratio = "", _NEAR
    ids = itertools.islice(ids, _MOST_COMPARED)
    while block := list(itertools.islice(ids, 1000)):
        for found in difflib.get_close_matches(name, block, n=1, cutoff=ratio):
            nearest, ratio = found, difflib.SequenceMatcher(None, found, name).ratio()
    return nearest


def _conclude(opened: _OpenRun, wanted: "EntityFilter", options: InspectOptions, n_shown: int) -> None:
    if not n_shown:
        _say("no documents with such entities" if wanted.is_active else "no documents")
    elif n_shown == options.limit and not options.id:
        _say(f"stopped after {n_shown:,} documents; --limit 0 shows all")
    if opened.is_flat and not wanted.is_active and not options.id:
        _say(f"documents without entities are not among them: {_FLAT}")


def _say(text: str) -> None:
    print(f"spanmill: {text}", file=sys.stderr)
