"""`spanmill export`: a checkpoint in, an engine for ONNX Runtime or OpenVINO out, compared with the checkpoint."""

import dataclasses
import importlib.resources
import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipelines.console.options import option, parse_options, parse_pairs
from pipelines.console.signals import stopping_on_signals
from schemas.engines import Parity
from schemas.errors import ConfigError, FileError
from schemas.labels import OUTSIDE

if TYPE_CHECKING:
    from schemas.slices import FileRef
    from transforms.corpora.documents import CorpusConfig
    from transforms.export.engines import Target
    from transforms.export.parity import Labelled
    from transforms.export.quantization import Calibration
    from transforms.models.checkpoint import Checkpoint
    from transforms.models.engines import Engine

DESCRIPTION = "Export a model to an engine that runs faster, and compare the two."
_SLICE_BYTES = 64 << 20
_LINE_S = 10.0
_NAMED_FILES = 4
_SAMPLE_LABELS = frozenset({"PER", "ORG", "LOC"})
"""Labels of the gold in the corpus that comes along."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Everything a person can ask of the job."""

    backend: str = option("what will run the engine", choices=("onnx", "openvino"))
    output: str = option("the model's own folder, a copy of it, or a new folder for one", metavar="DIR")
    model: str = option("model folder, URL, hub name, or default for the one that comes along", "default")
    base: str = option("base model of an adapter, where it is not where it was at training", "", metavar="MODEL")
    precision: str = option("precision of the engine", "fp32", choices=("fp32", "bf16", "int8"))
    calibration: tuple[str, ...] = option("files like those to be annotated, for int8 of openvino", (), metavar="GLOB")
    calibration_windows: int = option("windows to calibrate on", 300)
    gold: tuple[str, ...] = option(
        "labelled files to score model and engine on; without any, the corpus that comes along", (), metavar="GLOB"
    )
    max_f1_loss: float = option("most points of entity F1 that the engine may lose", 0.3, metavar="POINTS")
    parity_documents: int = option("documents to compare model and engine on, 0 for all", 500)
    format: str = option(
        "format of gold and calibration files", "auto", choices=("auto", "parquet", "jsonl", "text", "conll")
    )
    text_column: str = option("column or key of the text", "text")
    gold_column: str = option("column or key of gold spans or tags", "gold")
    tokens_column: str = option("column or key of the tokens that gold tags belong to", "")
    conll_columns: str = option("token and tag columns of CoNLL files, such as 0,3", "auto", metavar="TOKEN,TAG")
    scheme: str = option("tag scheme of the model", "auto", metavar="auto|BIO|IOB1|BIOES|BILOU|BMES|IO")
    map: tuple[str, ...] = option("rename labels on all sides, such as corporation=ORG", (), metavar="LABEL=LABEL")
    ignore_labels: tuple[str, ...] = option("labels to leave out on all sides", (), metavar="LABEL")
    progress: bool = option("show progress", default=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status.

    Raises:
      ConfigError: options or input are wrong; nothing was written.
      PipelineError: the engine strays too far from its checkpoint; nothing was written.
    """
    options, _ = parse_options(
        ExportOptions, arguments, prog="spanmill export", description=DESCRIPTION, has_beam=False
    )
    # Not before, so that --help is instant.
    from transforms.export.engines import Target

    _check_ranges(options)
    target = Target(options.backend, options.precision, Path(options.output).expanduser().absolute())
    with stopping_on_signals("nothing was written", scratch=target.workspace):
        return run(options, target)


@dataclasses.dataclass(frozen=True)
class _Corpus:
    """Texts, with gold or without.

    Attributes:
      files: their files.
      config: how they are read.
      has_gold: whether they are there to be scored against.
      names: what labels are called on all sides; `O` leaves one out.
    """

    files: tuple["FileRef", ...]
    config: "CorpusConfig"
    has_gold: bool = False
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> str:
        """Names of the files, the first few of many."""
        names = [PurePosixPath(file.source).name for file in self.files]
        return ", ".join([*names[:_NAMED_FILES], *(["..."] if len(names) > _NAMED_FILES else [])])

    def read(self) -> Iterator["Labelled"]:
        """The documents, in order.

        Raises:
          ConfigError: a file cannot be read, or not every document of gold.
        """
        from transforms.corpora.formats import cut_files, read_parts
        from transforms.export.parity import Labelled

        try:
            for slice_ in cut_files(self.files, self.config, _SLICE_BYTES):
                for part in read_parts(slice_, self.config):
                    for reject in part.rejects if self.has_gold else ():
                        raise ConfigError(
                            f"cannot read gold document in {slice_.file.source!r} row {reject['row']}: "
                            f"{reject['message']}; mend or remove it"
                        )
                    table = part.documents
                    gold = table.column("gold").to_pylist() if self.has_gold and "gold" in table.column_names else []
                    for text, spans in itertools.zip_longest(table.column("text").to_pylist(), gold):
                        yield Labelled(text or "", None if spans is None else tuple(map(_to_span, spans)))
        except FileError as error:
            raise ConfigError(f"{error}; mend the file, or check --format and --conll-columns") from error


def run(options: ExportOptions, target: "Target") -> int:
    """Exports, compares, publishes and returns the exit status.

    Raises:
      ConfigError: options or input are wrong.
      PipelineError: the engine strays too far from its checkpoint.
    """
    from transforms.export.engines import (
        build_engine,
        check_target,
        judge_parity,
        open_workspace,
        publish_engine,
    )
    from transforms.models.checkpoint import find_checkpoint

    started = time.monotonic()
    checkpoint = find_checkpoint(options.model, scheme=options.scheme, base=options.base)
    check_target(target, checkpoint)
    calibration_texts = _open_corpus(options, "calibration") if options.calibration else None
    texts = _choose_texts(options, checkpoint, calibration_texts)
    if options.gold:
        _check_gold(options, texts, checkpoint.tag_set.labels)
    steps = _Steps(is_shown=options.progress)
    with open_workspace(target) as workspace:
        steps.tell("reading")
        calibration = _calibrate(options, checkpoint, calibration_texts)
        folder = workspace / "engine"
        folder.mkdir()
        engine = build_engine(target, checkpoint, folder, calibration, steps.tell)
        parity = _compare(options, checkpoint, engine, texts, steps)
        engine = dataclasses.replace(engine, card=dataclasses.replace(engine.card, parity=parity))
        judge_parity(engine, parity, most_lost=options.max_f1_loss)
        publish_engine(engine, target, checkpoint)
    _show(target, parity, time.monotonic() - started)
    return 0


class _Steps:
    """Says on standard error what is being done: a line per step, and how far a long one is now and then."""

    def __init__(self, *, is_shown: bool) -> None:
        # Kept, as the exporters' own words are caught on the way to it.
        self._stream = sys.stderr if is_shown else None
        self._step = ""
        self._told = 0.0

    def tell(self, text: str) -> None:
        """Says a step, or where it is after a comma, unless that was said a moment ago."""
        step, now = text.partition(",")[0], time.monotonic()
        if step == self._step and now - self._told < _LINE_S:
            return
        self._step, self._told = step, now
        if self._stream:
            print(text, file=self._stream, flush=True)


def _check_ranges(options: ExportOptions) -> None:
    from transforms.corpora.conll import parse_columns

    parse_columns(options.conll_columns)
    if options.calibration_windows < 1:
        raise ConfigError(f"expected --calibration-windows of 1 or more, found {options.calibration_windows}")
    if options.parity_documents < 0:
        raise ConfigError(f"expected --parity-documents of 0 or more, found {options.parity_documents}")
    if not 0 <= options.max_f1_loss <= 100:
        raise ConfigError(f"expected --max-f1-loss between 0 and 100 points, found {options.max_f1_loss}")
    if "://" in options.output:
        raise ConfigError(
            "expected a folder of this machine as --output, found a URL; copy the folder there afterwards"
        )
    if (options.backend, options.precision) == ("openvino", "int8") and not options.calibration:
        raise ConfigError(
            "expected --calibration for --backend openvino --precision int8, found none; "
            "give files like those to be annotated"
        )


def _open_corpus(options: ExportOptions, flag: str) -> _Corpus:
    """The files that a flag names, and how they are read: columns where there are columns, gold where it is wanted."""
    from transforms.corpora.documents import CorpusConfig
    from transforms.corpora.files import list_files
    from transforms.corpora.formats import format_of

    files = tuple(list_files(getattr(options, flag), flag=f"--{flag}"))
    config = CorpusConfig(format=options.format, conll_columns=options.conll_columns)
    has_gold = flag == "gold"
    formats = {format_of(file, config): file.source for file in files}
    if has_gold and "text" in formats:
        raise ConfigError(
            f"expected labelled files as --gold, found plain text {PurePosixPath(formats['text']).name!r}; "
            "set --format conll if it has a token and its tag on each line"
        )
    if not formats.keys().isdisjoint({"parquet", "jsonl"}):
        config = dataclasses.replace(
            config,
            text_column=options.text_column,
            gold_column=options.gold_column if has_gold or options.tokens_column else "",
            tokens_column=options.tokens_column,
        )
    return _Corpus(files, config, has_gold)


def _choose_texts(options: ExportOptions, checkpoint: "Checkpoint", calibration: _Corpus | None) -> _Corpus:
    """What model and engine are compared on.

    Gold of the user's, the gold that comes along where the model knows its labels, or texts without any.
    """
    names = {**parse_pairs(options.map, flag="--map"), **dict.fromkeys(options.ignore_labels, OUTSIDE)}
    if options.gold:
        return dataclasses.replace(_open_corpus(options, "gold"), names=names)
    found = {label: names.get(label, label) for label in checkpoint.tag_set.labels}
    if _SAMPLE_LABELS.issubset(found.values()):
        others = {label: OUTSIDE for label, name in found.items() if name not in _SAMPLE_LABELS}
        return dataclasses.replace(_open_sample(has_gold=True), names=names | others)
    return dataclasses.replace(calibration or _open_sample(has_gold=False), names=names)


def _check_gold(options: ExportOptions, texts: _Corpus, labels: Sequence[str]) -> None:
    """Reads gold once, as far as model and engine will be compared on it, so that nothing is exported in vain.

    Raises:
      ConfigError: a document cannot be read, or none has an entity with a label of the model.
    """
    documents = itertools.islice(texts.read(), options.parity_documents or None)
    found = {label for document in documents for _, _, label in document.gold or ()}
    named, known = ({texts.names.get(label, label) for label in some} - {OUTSIDE} for some in (found, labels))
    if not named:
        raise ConfigError(
            f"expected gold spans in --gold {texts.source}, found none; check --gold-column, --tokens-column, "
            "--conll-columns and --ignore-labels"
        )
    if not named & known:
        raise ConfigError(
            f"expected --gold with labels of the model, {sorted(known)}, found {sorted(named)[:9]}; "
            "set --map, such as corporation=ORG, or --gold-column or --conll-columns"
        )


def _open_sample(*, has_gold: bool) -> _Corpus:
    """The corpus that comes along."""
    from transforms.corpora.documents import CorpusConfig
    from transforms.corpora.files import list_files

    folder = Path(str(importlib.resources.files("assets"))) / "corpus"
    files = tuple(list_files([str(folder / "*.parquet")]))
    return _Corpus(files, CorpusConfig(gold_column="gold" if has_gold else ""), has_gold)


def _calibrate(options: ExportOptions, checkpoint: "Checkpoint", corpus: _Corpus | None) -> "Calibration | None":
    """The windows that OpenVINO's int8 is calibrated on; nothing else is."""
    from transforms.export.quantization import take_windows
    from transforms.text.windows import WindowConfig

    if corpus is None or (options.backend, options.precision) != ("openvino", "int8"):
        return None
    return take_windows(
        checkpoint,
        (document.text for document in corpus.read()),
        WindowConfig().within(checkpoint.max_tokens),
        source=corpus.source,
        most=options.calibration_windows,
    )


def _compare(
    options: ExportOptions, checkpoint: "Checkpoint", engine: "Engine", texts: _Corpus, steps: _Steps
) -> Parity:
    from transforms.export.parity import Comparison
    from transforms.models.backends import BackendConfig
    from transforms.models.catalog import load_classifier, load_engine
    from transforms.models.checkpoint import read_tokenizer
    from transforms.text.windows import WindowConfig

    steps.tell("comparing")
    comparison = Comparison(
        read_tokenizer(checkpoint.folder),
        load_classifier(checkpoint, BackendConfig()),
        load_engine(engine, checkpoint),
        WindowConfig().within(checkpoint.max_tokens),
    )
    parity = comparison.run(
        itertools.islice(texts.read(), options.parity_documents or None),
        source=texts.source,
        names=texts.names,
        tell=lambda done: steps.tell(f"comparing, {done:,} documents done"),
    )
    if parity.checkpoint_f1:
        return parity
    if options.gold:
        raise ConfigError(
            f"expected --gold with labels of the model, {list(checkpoint.tag_set.labels)}, found no entity that it "
            "finds; set --gold-column, --conll-columns, --format or --map"
        )
    # A model that finds nothing of the corpus that comes along has no F1 to lose.
    return dataclasses.replace(parity, checkpoint_f1=None, engine_f1=None)


def _to_span(span: dict[str, int | str]) -> tuple[int, int, str]:
    return int(span["start"]), int(span["end"]), str(span["label"])


def _show(target: "Target", parity: Parity, seconds: float) -> None:
    from rich.console import Console

    from schemas.slices import display_uri
    from transforms.reports.summary import make_table

    console = Console(highlight=False)
    rows = [
        ("documents compared", f"{parity.documents:,}"),
        ("tokens", f"{parity.tokens:,}"),
        ("equal tags", f"{parity.equal_tags:.4%}"),
        ("documents with equal entities", f"{parity.equal_entities:.2%}"),
        ("largest difference of a probability", f"{parity.largest_difference:.2g}"),
        ("F1 of agreement", f"{parity.agreement_f1:.2f}"),
    ]
    if parity.checkpoint_f1 is not None and parity.engine_f1 is not None:
        rows += [
            ("F1 of the checkpoint, torch fp32", f"{parity.checkpoint_f1:.2f}"),
            ("F1 of the engine", f"{parity.engine_f1:.2f}"),
        ]
    name = f"{target.backend} {target.precision} beside its checkpoint, on {parity.source}"
    console.print(make_table(name, ("", "value"), rows))
    size = sum(path.stat().st_size for path in target.engine_folder.iterdir()) / (1 << 20)
    console.print(f"engine       {display_uri(str(target.engine_folder))}", soft_wrap=True, markup=False)
    console.print(f"             {size:,.1f} MiB, made in {seconds:,.1f} s", markup=False)
    if target.precision == "bf16" and not _has_bf16():
        print(
            "spanmill: this processor has no bf16, so OpenVINO computed in fp32 and that is what was compared",
            file=sys.stderr,
        )


def _has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor."""
    from transforms.models.openvino_classifier import import_openvino

    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
