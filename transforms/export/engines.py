"""Making an engine of a checkpoint, and putting it into a model folder whole or not at all."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from schemas.engines import ENGINE_CARD, EngineCard, Parity
from schemas.errors import CheckpointError, ConfigError, PipelineError
from transforms.export.fusion import fuse_attention
from transforms.export.graphs import OPSET, trace_onnx, trace_openvino
from transforms.export.quantization import Calibration, quantize_onnx, quantize_openvino
from transforms.models import onnx_classifier, openvino_classifier
from transforms.models.adapters.stored import read_adapter
from transforms.models.backends import PRECISIONS
from transforms.models.checkpoint import ENGINES_FOLDER, PICKLES, Checkpoint, digest_file, digest_model
from transforms.models.engines import Engine

BACKENDS = ("onnx", "openvino")
_PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino", "nncf")}


@dataclasses.dataclass(frozen=True)
class Target:
    """Which engine is made, and where it goes.

    Attributes:
      backend: onnx or openvino.
      precision: fp32, bf16 or int8.
      folder: the model folder that gets it.
    """

    backend: str
    precision: str
    folder: Path

    @property
    def engine_folder(self) -> Path:
        """Where the engine will be."""
        return self.folder / ENGINES_FOLDER / f"{self.backend}-{self.precision}"

    @property
    def workspace(self) -> Path:
        """Where it is made: within a model folder that is there, else beside the one that will be."""
        if self.folder.is_dir():
            return self.folder / ".export"
        return self.folder.with_name(f".{self.folder.name}.export")


def check_target(target: Target, checkpoint: Checkpoint) -> None:
    """Refuses what cannot be made, or has no place to go, before anything is loaded.

    Raises:
      ConfigError: the backend has no such precision, its packages are not installed, or the folder holds other things
        than this checkpoint.
    """
    if target.backend not in BACKENDS:
        raise ConfigError(f"expected --backend to be one of {BACKENDS}, found {target.backend!r}")
    if target.precision not in PRECISIONS[target.backend]:
        raise ConfigError(
            f"expected --precision of backend {target.backend} to be one of {PRECISIONS[target.backend]}, "
            f"found {target.precision!r}"
        )
    packages = _PACKAGES[target.backend]
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f"expected {', '.join(packages)} for --backend {target.backend}, found no {', '.join(missing)}; "
            f"pip install 'spanmill[{target.backend}]'"
        )
    if checkpoint.base and not (adapter := read_adapter(checkpoint.folder)).is_folded:
        raise CheckpointError(
            f"expected an adapter that folds into its base, found one of type {adapter.kind} in "
            f"{checkpoint.folder.name!r}; run it with --backend torch"
        )
    folder = target.folder
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"expected --output to be a folder, found a file at {str(folder)!r}")
    held = [path.name for path in folder.iterdir() if path != target.workspace]
    if held and digest_model(folder, checkpoint.base_digest) != checkpoint.digest:
        raise ConfigError(
            f"expected --output to be new, empty or a copy of the model, found {sorted(held)[:4]} in {str(folder)!r}; "
            "choose another"
        )


@contextlib.contextmanager
def open_workspace(target: Target) -> Iterator[Path]:
    """An empty folder that is gone afterwards; what an export that was killed left there goes first.

    Raises:
      ConfigError: it cannot be written to.
    """
    workspace = target.workspace
    shutil.rmtree(workspace, ignore_errors=True)
    try:
        workspace.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"cannot write to --output {str(target.folder)!r}: {error.strerror}") from error
    try:
        yield workspace
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def build_engine(
    target: Target,
    checkpoint: Checkpoint,
    folder: Path,
    calibration: Calibration | None,
    tell: Callable[[str], None],
) -> Engine:
    """Traces the checkpoint, quantizes it where that is wanted, and writes the engine's files.

    Args:
      target: which engine.
      checkpoint: the model.
      folder: an empty folder for the files.
      calibration: what OpenVINO's int8 is calibrated on.
      tell: called with each step, as words.

    Raises:
      CheckpointError: the model cannot be loaded or traced.
    """
    tell("tracing")
    options: dict[str, object]
    if target.backend == "onnx":
        path = folder / onnx_classifier.MODEL_FILE
        trace_onnx(checkpoint.folder, path, base=checkpoint.base)
        options = {"opset": OPSET, "fused_attentions": fuse_attention(path)}
        if target.precision == "int8":
            tell("quantizing")
            quantize_onnx(path)
    else:
        options = {}
        _write_openvino(checkpoint, folder / openvino_classifier.MODEL_FILE, calibration, tell)
    files = sorted(path.name for path in folder.iterdir())
    card = EngineCard(
        backend=target.backend,
        precision=target.precision,
        checkpoint=checkpoint.digest,
        files={name: digest_file(folder / name) for name in files},
        options=options,
        calibration=calibration.describe() if calibration else {},
        versions={
            name: importlib.metadata.version(name) for name in ("torch", "transformers", *_PACKAGES[target.backend])
        },
    )
    return Engine(folder, card)


def judge_parity(engine: Engine, parity: Parity, *, most_lost: float) -> None:
    """Refuses an engine that strays too far from its checkpoint.

    Raises:
      PipelineError: it loses more points of F1 than `most_lost`, or it is fp32 and a tag differs.
    """
    name = engine.card.name
    if engine.card.precision == "fp32" and parity.equal_tags < 1:
        differing = round((1 - parity.equal_tags) * parity.tokens)
        raise PipelineError(
            f"expected every tag of {name} to be the checkpoint's, found {differing} of {parity.tokens} tokens that "
            "differ; nothing was written"
        )
    if not parity.lost_f1 <= most_lost:
        kind, remedy = (
            "of F1",
            "give other --calibration texts" if engine.card.calibration else "choose another precision",
        )
        if parity.checkpoint_f1 is None:
            kind, remedy = "of agreement with the checkpoint", "give --gold, so that F1 itself is compared"
        raise PipelineError(
            f"expected {name} to lose {most_lost:g} points {kind} at most, found {parity.lost_f1:.2f}; nothing was "
            f"written; {remedy}, or set a higher --max-f1-loss"
        )


def publish_engine(engine: Engine, target: Target, checkpoint: Checkpoint) -> None:
    """Moves an engine with its card to its place, with the checkpoint's files where they are not there yet.

    Args:
      engine: the engine, in the workspace of the target.
      target: where it goes.
      checkpoint: the model.

    Raises:
      ConfigError: the place cannot be written to.
    """
    (engine.folder / ENGINE_CARD).write_text(engine.card.to_json(), encoding="utf-8")
    try:
        if target.folder.is_dir() and digest_model(target.folder, checkpoint.base_digest) == checkpoint.digest:
            _replace(engine.folder, target.engine_folder, target.workspace / "replaced")
            return
        model = target.workspace / "model"
        _copy_checkpoint(checkpoint, model)
        (model / ENGINES_FOLDER).mkdir()
        engine.folder.rename(model / ENGINES_FOLDER / engine.card.name)
        if target.folder.is_dir():
            # The folder is empty but for the workspace.
            for path in sorted(model.iterdir()):
                path.rename(target.folder / path.name)
        else:
            model.rename(target.folder)
    except OSError as error:
        raise ConfigError(f"cannot write to --output {str(target.folder)!r}: {error.strerror}") from error


def _write_openvino(
    checkpoint: Checkpoint, path: Path, calibration: Calibration | None, tell: Callable[[str], None]
) -> None:
    openvino = openvino_classifier.import_openvino()
    model = trace_openvino(checkpoint.folder, base=checkpoint.base)
    if calibration:
        tell("quantizing")
        model = quantize_openvino(model, calibration, lambda done: tell(f"quantizing, {done:,} windows run"))
    openvino.save_model(model, path, compress_to_fp16=False)


def _copy_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Copies the files of a checkpoint, its cards among them, but no pickles and no engines."""
    folder.mkdir()
    for path in checkpoint.folder.iterdir():
        if path.is_file() and not any(map(path.match, (*PICKLES, ".*"))):
            shutil.copyfile(path, folder / path.name)
    if digest_model(folder, checkpoint.base_digest) != checkpoint.digest:
        raise CheckpointError(
            f"expected model {checkpoint.folder.name!r} to stay as it is, found it changed; try again"
        )


def _replace(new: Path, place: Path, aside: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        place.rename(aside)
    new.rename(place)
