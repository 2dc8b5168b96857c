"""`spanmill select`: a run in, the documents that are worth labelling out, as files for labelling tools."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option, parse_options, quiet_beam
from pipelines.console.progress import watch_clock
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.opening import CompleteRun, open_complete_run, run_option
from schemas.errors import ConfigError, suggest
from schemas.selections import RANDOM

if TYPE_CHECKING:
    from schemas.selections import SelectedDocument, Selection
    from transforms.selection.candidates import SelectedRun
    from transforms.selection.setting import Setting
    from transforms.selection.surfaces import KnownSurfaces
    from transforms.selection.ways import Share
    from transforms.storage.store import Store

DESCRIPTION = "Choose documents of a run that are worth labelling and write them for labelling tools, with suggestions."
SELECTION, DOCUMENTS = "selection.json", "documents.jsonl"
_FORMATS = ("label-studio", "doccano", "prodigy", "conll")
_NOVELTY = "novelty"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectOptions:
    """Everything a person can ask of the job."""

    run: str = run_option()
    output: str = option("folder or URL for the files", metavar="DIR")
    n: int = option("how many documents to choose", 200)
    by: str = option(
        "how: uncertainty, margin, disagreement, novelty, diverse or mixed, with options such as "
        "mixed:uncertainty=0.5,novelty=0.5 or diverse:among=uncertainty",
        "mixed",
        metavar="SPEC",
    )
    random: float = option("share that is drawn by chance, so that labels also tell of the whole", 0.1, metavar="SHARE")
    other: str = option("for disagreement: another run over the same input", "", metavar="RUN")
    known: tuple[str, ...] = option("for novelty: CoNLL files that the model was trained on", (), metavar="FILE")
    tagger: str = option(
        "of a run of several taggers, the one whose entities are suggested (default: that named first to annotate)",
        "",
    )
    max_tokens: int = option("leave out documents longer than this, 0 for none", 2000)
    seed: int = option("another number draws other documents and decides otherwise between equals", 0)
    formats: tuple[str, ...] = option("what to write", _FORMATS, metavar="FORMAT")
    progress: bool = option("show progress", default=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        SelectOptions, arguments, prog="spanmill select", description=DESCRIPTION, has_beam=False
    )
    with stopping_on_signals("no selection was written"):
        return run(options)


def run(options: SelectOptions) -> int:
    """Chooses documents, writes them and returns the exit status.

    Raises:
      ConfigError: options are wrong, there is no such run, or no document can be chosen.
    """
    quiet_beam()
    job = _plan(options)
    with watch_clock("selecting", is_shown=options.progress):
        selection, documents = _select(job)
    _write(job, selection, documents)
    _show(options, selection)
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """A planned selection.

    Attributes:
      options: what was asked.
      run: the run.
      other: another run over the same input, if one is compared.
      tagger: the tagger whose entities are suggested.
      shares: how many documents each way chooses.
      known: what the model was trained on; None where that is not told.
      settings: what is asked, as it is written down.
      store: where files go.
    """

    options: SelectOptions
    run: CompleteRun
    other: CompleteRun | None
    tagger: str
    shares: tuple["Share", ...]
    known: "KnownSurfaces | None"
    settings: Mapping[str, Any]
    store: "Store"

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the tagger."""
        from schemas.annotations import join_label

        prefix = join_label(self.tagger, "")
        return tuple(label.removeprefix(prefix) for label in self.run.labels if label.startswith(prefix))


def _plan(options: SelectOptions) -> _Job:
    from schemas.manifest import fingerprint
    from schemas.specs import parse_spec, render_spec
    from transforms.selection.candidates import check_units
    from transforms.selection.ways import WAYS, plan_shares

    way, config = parse_spec(options.by, WAYS, flag="--by")
    _check(options)
    opened = open_complete_run(options.run, flag="RUN")
    other = open_complete_run(options.other, flag="--other") if options.other else None
    if other:
        check_units(opened.unit, other.unit)
    if hidden := opened.slices.filter(opened.slices.column("lacks_secret")):
        raise ConfigError(
            f"expected input that can be read again, found {hidden[0].file.source!r}, which was given with a password "
            "or query that a run does not keep"
        )
    # Where more is asked for than there is, chance draws its share of what there is.
    n_documents = sum(opened.slices.column("rows").to_pylist())
    shares = plan_shares(way, config, options.n, options.random * min(1.0, n_documents / options.n))
    known, files = _read_known(options.known) if options.known else (None, [])
    settings = {
        "by": render_spec(way, config),
        "n": options.n,
        "random": options.random,
        "seed": options.seed,
        "max_tokens": options.max_tokens,
        "other": fingerprint(other.settings) if other else None,
        "known": files,
        "formats": list(options.formats),
    }
    return _Job(
        options=options,
        run=opened,
        other=other,
        tagger=_choose_tagger(opened, options.tagger),
        shares=tuple(shares),
        known=known,
        settings=settings,
        store=_open_output(options.output),
    )


def _check(options: SelectOptions) -> None:
    """Refuses values out of range before a run is opened."""
    if options.n < 1:
        raise ConfigError(f"expected --n of 1 or more, found {options.n}")
    if not 0 <= options.random <= 1:
        raise ConfigError(f"expected --random between 0 and 1, found {options.random}")
    if options.max_tokens < 0:
        raise ConfigError(f"expected --max-tokens of 0 or more, found {options.max_tokens}")
    for name in options.formats:
        if name not in _FORMATS:
            raise ConfigError(f"expected --formats of {list(_FORMATS)}, found {name!r}{suggest(name, _FORMATS)}")


def _choose_tagger(opened: CompleteRun, name: str) -> str:
    """The tagger whose entities are suggested, the run's first unless told; an empty name where there is but one."""
    names = [name for name in opened.taggers if name]
    if name and name not in names:
        found = f"{names}" if names else "a run of one tagger without a name"
        raise ConfigError(f"expected --tagger {name!r} among the taggers of RUN, found {found}{suggest(name, names)}")
    return name or (names[0] if names else "")


def _read_known(patterns: Sequence[str]) -> tuple["KnownSurfaces", list[dict[str, str]]]:
    """What training files hold, and their names and digests."""
    from training.examples import read_files
    from transforms.selection.surfaces import KnownSurfaces, normalise_surface, split_surface

    files = read_files(patterns, flag="--known")
    sentences = [sentence for file in files for sentence in file.sentences]
    surfaces = {
        normalise_surface("".join(sentence.words[first:last]))
        for sentence in sentences
        for first, last, _ in sentence.spans
    }
    distinct = {word for sentence in sentences for word in sentence.words}
    words = {part for word in distinct for part in split_surface(word)}
    known = KnownSurfaces(frozenset(surfaces), frozenset(words))
    return known, [{"name": file.name, "digest": file.digest} for file in files]


def _open_output(output: str) -> "Store":
    from schemas.slices import display_text, display_uri
    from transforms.storage.store import open_store

    try:
        return open_store(output)
    except ConfigError:
        raise
    except Exception as error:
        # Every client has its own errors: no credentials, no such host, no such protocol.
        raise ConfigError(f"cannot write to --output {display_uri(output)!r}: {display_text(str(error))}") from error


def _select(job: _Job) -> tuple["Selection", list["SelectedDocument"]]:
    from schemas.manifest import fingerprint
    from schemas.selections import SelectedDocument, Selection
    from schemas.slices import display_uri
    from transforms.selection.candidates import Limits, read_candidates
    from transforms.selection.choosing import Chooser
    from transforms.selection.suggestions import suggest_entities
    from transforms.selection.texts import TextReader

    run = _to_rows(job.run)
    counts: Counter[str] = Counter(
        dict.fromkeys(("documents", "empty", "too_long", "unpaired", "eligible", "unreadable", "overlapping"), 0)
    )
    chooser = Chooser(job.shares, _describe_setting(job, run), seed=job.options.seed)
    limits = Limits(max_tokens=job.options.max_tokens)
    chooser.add(read_candidates(run, _to_rows(job.other) if job.other else None, limits, counts))
    if not counts["eligible"]:
        raise ConfigError(f"expected documents to choose from, found none: {_describe_left_out(counts)}")
    texts = TextReader(run, job.run.corpus, job.run.unit)
    choices = chooser.choose(texts)
    if not choices:
        raise ConfigError(
            f"expected documents that --by {job.options.by} has something to say about, found none among "
            f"{counts['eligible']:,}; choose --by random, or annotate with --keep-below"
        )
    chosen = texts.read(choice.candidate for choice in choices)
    samples = {candidate.document.digest: sample for candidate, sample in chosen}
    documents = []
    for choice in choices:
        document = choice.candidate.document
        sample = samples[document.digest]
        if sample.problem:
            counts["unreadable"] += 1
            continue
        suggestions, n_overlapping = suggest_entities(sample.entities, job.tagger)
        counts["overlapping"] += n_overlapping
        documents.append(
            SelectedDocument(
                digest=document.digest,
                id=document.id,
                source=document.source,
                row=document.row,
                text=sample.text,
                tokens=choice.candidate.tokens,
                suggestions=suggestions,
                chosen_by=choice.way,
                rank=choice.rank,
                score=choice.score,
            )
        )
    if not documents:
        raise ConfigError(f"expected documents with texts, found none: {_describe_left_out(counts)}")
    selection = Selection(
        run={
            "root": display_uri(job.run.root),
            "fingerprint": fingerprint(job.run.settings),
            "model": str(job.run.settings["tagger"]["model"]),
        },
        tagger=job.tagger,
        labels=job.labels,
        settings=job.settings,
        counts={**counts, "chosen": dict(Counter(document.chosen_by for document in documents))},
    )
    return selection, documents


def _to_rows(run: CompleteRun) -> "SelectedRun":
    from transforms.selection.candidates import SelectedRun

    return SelectedRun(run.store, tuple((files.slice_, files.data) for files in run.files))


def _describe_setting(job: _Job, run: "SelectedRun") -> "Setting":
    from transforms.selection.candidates import read_entities
    from transforms.selection.setting import Setting
    from transforms.selection.surfaces import SurfaceCounts

    entities = job.run.settings["entities"]
    thresholds = {**entities.get("thresholds", {}), **dict(entities["label_thresholds"])}
    surfaces: KnownSurfaces | SurfaceCounts | None = job.known
    is_asked = any(_NOVELTY in (share.way, getattr(share.config, "among", "")) for share in job.shares)
    if surfaces is None and is_asked:
        surfaces = SurfaceCounts()
        for entity in read_entities(run):
            surfaces.add(entity["text"])
    return Setting(
        thresholds={label: threshold or 0.0 for label, threshold in thresholds.items()},
        threshold=entities["threshold"],
        surfaces=surfaces,
        n_readings=2 if job.other else max(1, len(job.run.settings["tagger"].get("members", {}))),
    )


def _write(job: _Job, selection: "Selection", documents: Sequence["SelectedDocument"]) -> None:
    """Writes the files, the selection last, so that where it is, all is.

    Raises:
      ConfigError: another selection is there, which may be out for labelling, or nothing can be written.
    """
    from schemas.manifest import dump_json
    from schemas.slices import display_uri
    from transforms.labelling.formats import FORMATS
    from transforms.labelling.records import dump_lines

    content = dump_json(selection.to_json())
    listed = dump_lines(document.to_json() for document in documents)
    shown = display_uri(job.options.output)
    try:
        before = [job.store.read(name) for name in (SELECTION, DOCUMENTS)]
    except FileNotFoundError:
        before = []
    if before and before != [content, listed]:
        raise ConfigError(f"expected no other selection in --output {shown!r}, found one; choose another folder")
    files = {DOCUMENTS: listed}
    for name in job.options.formats:
        files.update(FORMATS[name].write(selection, documents))
    try:
        for name, written in {**files, SELECTION: content}.items():
            job.store.put(name, written)
    except OSError as error:
        raise ConfigError(f"cannot write to --output {shown!r}: {error.strerror}") from error


def _show(options: SelectOptions, selection: "Selection") -> None:
    counts = selection.counts
    chosen = counts["chosen"]
    total = sum(chosen.values())
    parts = ", ".join(f"{number:,} by {'chance' if way == RANDOM else way}" for way, number in chosen.items())
    print(f"chosen       {total:,} of {counts['documents']:,} documents: {parts}")
    if left_out := _describe_left_out(counts):
        print(f"left out     {left_out}")
    print(f"selection    {options.output.rstrip('/')}/{SELECTION}")
    if chosen.get(_NOVELTY) and not options.known:
        print(
            "spanmill: without --known, novelty looks for names that are rare in the run; give the files that the "
            "model was trained on to look for those it has not seen",
            file=sys.stderr,
        )
    if total < options.n:
        left = "; the others have the same texts or score 0" if counts["eligible"] > total else ""
        print(f"spanmill: chose {total:,} of the {options.n:,} documents asked for{left}", file=sys.stderr)


def _describe_left_out(counts: Mapping[str, int]) -> str:
    reasons = {
        "empty": "empty",
        "too_long": "too long (--max-tokens)",
        "unpaired": "not in --other with the same text",
        "unreadable": "chosen but not to be read any more",
    }
    return ", ".join(f"{counts[name]:,} {text}" for name, text in reasons.items() if counts[name])


def read_selection(name: str, *, flag: str) -> tuple["Selection", list["SelectedDocument"], bytes]:
    """A selection, its documents, and its bytes, by which it is known.

    Args:
      name: its folder or URL.
      flag: where the name came from, for messages.

    Raises:
      ConfigError: there is none that can be read.
    """
    from schemas.manifest import explain_json
    from schemas.selections import SelectedDocument, Selection
    from schemas.slices import display_uri
    from transforms.storage.store import open_store

    shown = display_uri(name)
    try:
        store = open_store(name)
        content, listed = store.read(SELECTION), store.read(DOCUMENTS)
        selection = Selection.from_json(json.loads(content))
        lines = [line for line in listed.decode().split("\n") if line]
        return selection, [SelectedDocument.from_json(json.loads(line)) for line in lines], content
    except OSError as error:
        raise ConfigError(f"expected the output of spanmill select as {flag}, found none at {shown!r}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"expected a selection in {flag} {shown!r}, found {explain_json(error)}; select again"
        ) from error
