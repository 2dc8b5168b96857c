"""`spanmill distill`: a run's confident spans in, a small tagger that was trained on them out.

run ──> confident documents ──> DIR/data/train.conll ──> train ──> DIR/student
gold ──> annotate with the student ──> beside the teacher's run on gold ──> DIR/comparison
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import train
from pipelines.console.options import option, parse_options, parse_pairs
from pipelines.console.signals import stopping_on_signals
from pipelines.runs.opening import CompleteRun, check_renamed, open_complete_run, run_option
from pipelines.training.options import TrainOptions
from schemas.checkpoints import CARD_NAME, UNFINISHED, CheckpointCard
from schemas.errors import ConfigError
from training.encoders import open_encoder
from training.silver import (
    EMPTY,
    LABELLED,
    count_empty,
    forget_doubtful,
    judge_document,
    label_text,
    map_spans,
    rank_document,
    render_conll,
)

if TYPE_CHECKING:
    from transforms.storage.annotations import AnnotatedDocument

DESCRIPTION = "Train a small tagger on what another was sure of, and compare the two on gold."
_SPLIT = "0.9/0.1"
_HELD_OUT, _BLANK, _LOST, _USED = "held out for gold", "without words", "without text", "used"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillOptions(TrainOptions):
    """Everything a person can ask of the job: what is taught, and all that `train` takes."""

    run: str = run_option()
    output: str = option("directory for the data, the student and the comparison", metavar="DIR")
    train: tuple[str, ...] = option("labelled files to train on as well", (), metavar="FILE")
    split: str = option(
        f"how the training files are cut where no --dev is given (default: {_SPLIT})", "", metavar="TRAIN/DEV[/TEST]"
    )
    map: tuple[str, ...] = option("rename a label of the run, or drop it with O", (), metavar="LABEL=LABEL")
    confidence: float = option("least score of every span of a document to train on", 0.9, metavar="SCORE")
    doubtful: str = option(
        "documents with a doubtful span are left out, or that span is taken for text",
        "leave-out",
        choices=("leave-out", "as-text"),
    )
    share_empty: float = option("most documents without entities, as a share of those to train on", 0.5)
    gold: tuple[str, ...] = option(
        "gold files to compare teacher and student on, as compare takes them", (), metavar="GLOB"
    )
    gold_run: str = option("the teacher's run over the gold files", "", metavar="RUN")
    replicates: int = option("bootstrap replicates for the intervals on gold, 0 for none", 1000)
    progress: bool = option("show progress", default=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        DistillOptions, arguments, prog="spanmill distill", description=DESCRIPTION, has_beam=False
    )
    with stopping_on_signals("the same command with --resume goes on from the last whole epoch"):
        return run(options)


def run(options: DistillOptions) -> int:
    """Writes training data, trains the student, compares it with its teacher and returns the exit status.

    Raises:
      ConfigError: options, runs or files are wrong; no weights have been loaded then.
      PipelineError: the comparison failed; the student stays.
    """
    _check_options(options)
    source = _open_run(options.run, "RUN")
    check_renamed(parse_pairs(options.map, flag="--map"), source.labels)
    examined = _open_run(options.gold_run, "--gold-run") if options.gold else None
    folder = Path(options.output)
    student = folder / "student"
    if (student / CARD_NAME).exists() and not options.resume:
        raise ConfigError(
            f"expected a new --output, found a student in {str(folder)!r}; choose another, or add --resume"
        )
    open_encoder(train.pin_bases(options)[0].base)  # Refuses what is no encoder before a long run is read.
    teacher = _write_data(options, source, _read_digests(examined) if examined else frozenset(), folder / "data")
    if not (options.resume and _is_taught(student, teacher)):
        train.run(_configure_training(options, folder), teacher)
    if examined:
        return _compare(options, examined, folder)
    return 0


def _check_options(options: DistillOptions) -> None:
    for name in ("confidence", "share_empty"):
        if not 0 <= getattr(options, name) <= 1:
            raise ConfigError(f"expected --{name.replace('_', '-')} between 0 and 1, found {getattr(options, name)}")
    if bool(options.gold) != bool(options.gold_run):
        raise ConfigError(
            f"expected --gold with --gold-run, the teacher's run over the gold files, found "
            f"{'--gold' if options.gold else '--gold-run'} alone"
        )


def _open_run(name: str, flag: str) -> CompleteRun:
    opened = open_complete_run(name, flag=flag)
    if opened.taggers != ("",):
        raise ConfigError(
            f"expected a run with one set of entities as {flag}, found those of {list(opened.taggers)}; make one of "
            "them with spanmill combine"
        )
    return opened


def _read_documents(opened: CompleteRun) -> Iterator[tuple[int, Iterator["AnnotatedDocument"]]]:
    """The documents of each slice, with its position."""
    from transforms.storage.annotations import read_annotations
    from transforms.storage.commits import read_receipt

    for at, slice_ in enumerate(opened.slices):
        if receipt := read_receipt(opened.store, slice_.slice_id):
            yield at, read_annotations(opened.store, receipt)


def _read_digests(opened: CompleteRun) -> frozenset[str]:
    """Digests of the texts of a run, which are not to be trained on."""
    return frozenset(document.digest for _, documents in _read_documents(opened) for document in documents)


def _write_data(
    options: DistillOptions, source: CompleteRun, held_out: Collection[str], folder: Path
) -> dict[str, Any]:
    """Writes the documents to train on, and returns what the student's card tells of them.

    Raises:
      ConfigError: there are none, or a label is none that CoNLL can hold.
    """
    from schemas.manifest import dump_json, fingerprint
    from schemas.slices import display_uri

    label_map = parse_pairs(options.map, flag="--map")
    chooser = _Chooser(options, label_map, held_out)
    for _, documents in _read_documents(source):
        chooser.look(chooser.prepare(documents))
    chooser.decide()
    path = folder / "train.conll"
    partial = path.with_suffix(".partial")
    counts: Counter[str] = Counter()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", newline="") as file:
            for text in _render_documents(source, chooser, label_map, counts):
                file.write(text)
    except OSError as error:
        raise ConfigError(f"cannot write to --output {str(folder.parent)!r}: {error.strerror}") from error
    counts += chooser.counts
    found = ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))
    print(f"documents: {found}")
    if not counts[_USED]:
        raise ConfigError(
            f"expected documents of {display_uri(source.root)!r} to train on, found none ({found}); "
            "lower --confidence, or bring its input back where texts are missing"
        )
    partial.rename(path)
    teacher = {
        "run": f"run={fingerprint(source.settings)}",
        "model": source.settings["tagger"]["model"],
        "wrote": source.digest,
        "confidence": options.confidence,
        "doubtful": options.doubtful,
        "share_empty": options.share_empty,
        "label_map": label_map,
        "documents": counts[_USED],
        "counts": dict(sorted(counts.items())),
    }
    path.with_suffix(".json").write_bytes(dump_json(teacher))
    return teacher


class _Chooser:
    """Looks at the documents of a run once, and then knows which are to be trained on."""

    def __init__(self, options: DistillOptions, label_map: Mapping[str, str], held_out: Collection[str]) -> None:
        self._options = options
        self._label_map = label_map
        self._held_out = held_out
        self._ranks: list[int] = []
        self._limit = 0
        self.counts: Counter[str] = Counter()
        """Documents that are not chosen, by what they are."""
        self._n_labelled = 0

    def prepare(self, documents: Iterable["AnnotatedDocument"]) -> Iterator["AnnotatedDocument"]:
        """Documents as they are to be looked at: without doubtful spans, where these are taken for text."""
        if self._options.doubtful == "leave-out":
            return iter(documents)
        return (forget_doubtful(document, confidence=self._options.confidence) for document in documents)

    def look(self, documents: Iterator["AnnotatedDocument"]) -> None:
        """Takes note of some documents."""
        for document in documents:
            kind = self._judge(document)
            if kind == EMPTY:
                self._ranks.append(rank_document(document, self._options.seed))
            elif kind == LABELLED:
                self._n_labelled += 1
            else:
                self.counts[kind] += 1

    def decide(self) -> None:
        """Decides which of the documents without entities are chosen, once all were looked at."""
        ranks = sorted(self._ranks)
        n_kept = count_empty(self._n_labelled, len(ranks), self._options.share_empty)
        self._limit = ranks[n_kept] if n_kept < len(ranks) else 1 << 64
        self.counts[EMPTY] = sum(rank >= self._limit for rank in ranks)
        self.counts = +self.counts

    def chooses(self, document: "AnnotatedDocument") -> bool:
        """Whether a document is to be trained on."""
        kind = self._judge(document)
        return kind == LABELLED or (kind == EMPTY and rank_document(document, self._options.seed) < self._limit)

    def _judge(self, document: "AnnotatedDocument") -> str:
        if document.digest in self._held_out:
            return _HELD_OUT
        return judge_document(document, confidence=self._options.confidence, label_map=self._label_map)


def _render_documents(
    source: CompleteRun, chooser: _Chooser, label_map: Mapping[str, str], counts: Counter[str]
) -> Iterator[str]:
    """The chosen documents as CoNLL, their texts read from the run's input again; what became of each is counted."""
    from transforms.reports.samples import read_samples

    for at, documents in _read_documents(source):
        chosen = filter(chooser.chooses, chooser.prepare(documents))
        for sample in read_samples(source.slices[at], chosen, source.corpus, source.unit):
            spans = map_spans(sample.entities, label_map)
            _check_labels(spans)
            sentences = [] if sample.problem else label_text(sample.text, spans)
            counts[_LOST if sample.problem else _USED if sentences else _BLANK] += 1
            if sentences:
                yield render_conll(sample.id, sentences)


def _check_labels(spans: Sequence[tuple[int, int, str]]) -> None:
    for _, _, label in spans:
        if not label or label.split() != [label]:
            raise ConfigError(
                f"expected labels without white space to train on, found {label!r}; rename it, as in "
                f"--map '{label}={'-'.join(label.split()) or 'NAME'}'"
            )


def _configure_training(options: DistillOptions, folder: Path) -> TrainOptions:
    """What `train` is asked for; labels of the run are renamed already."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(TrainOptions)}
    return TrainOptions(
        **{
            **given,
            "train": (str(folder / "data" / "train.conll"), *options.train),
            "split": options.split or ("" if options.dev else _SPLIT),
            "map": (),
            "output": str(folder / "student"),
        }
    )


def _is_taught(student: Path, teacher: Mapping[str, Any]) -> bool:
    """Whether a student is there that was taught all this."""
    path = student / CARD_NAME
    if not path.exists() or (student / UNFINISHED).exists():
        return False
    found = CheckpointCard.from_json(path.read_text(encoding="utf-8")).options.get("teacher")
    return bool(found == json.loads(json.dumps(teacher)))


def _compare(options: DistillOptions, examined: CompleteRun, folder: Path) -> int:
    """Annotates the gold texts with the student and compares it with its teacher there."""
    from pipelines import annotate, compare
    from pipelines.runs.options import AnnotateOptions

    asked = AnnotateOptions(
        input=options.gold,
        output=str(folder / "gold"),
        model=str(folder / "student"),
        max_failed_fraction=1.0,
        progress=options.progress,
    )
    annotate.run(asked, ())
    print("\nteacher (A) and student (B) on gold\n")
    return compare.run(
        compare.CompareOptions(
            run_a=examined.root,
            run_b=str(folder / "gold"),
            gold=options.gold,
            map=options.map,
            output=str(folder / "comparison"),
            replicates=options.replicates,
            progress=options.progress,
        ),
        (),
    )
