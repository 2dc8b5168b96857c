"""Engines: a checkpoint translated for another backend, kept in the folder `engines` beside its weights.

    my-model/
      config.json  tokenizer.json  model.safetensors     the checkpoint
      engines/openvino-int8/  engine.json  model.xml  model.bin
      engines/onnx-fp32/      engine.json  model.onnx

`spanmill export` writes them. An engine goes with the very weights that it was exported from, and says so by digest.
"""

import dataclasses
from pathlib import Path

from schemas.engines import ENGINE_CARD, EngineCard
from schemas.errors import CheckpointError, ConfigError
from transforms.models.backends import PRECISIONS
from transforms.models.checkpoint import ENGINES_FOLDER, Checkpoint, digest_file
from transforms.models.processor import read_flags


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine on this machine.

    Attributes:
      folder: where it is.
      card: what it is.
    """

    folder: Path
    card: EngineCard


def find_engines(checkpoint: Checkpoint) -> list[Engine]:
    """The engines of a checkpoint, by name.

    Raises:
      CheckpointError: a card cannot be read.
    """
    cards = sorted((checkpoint.folder / ENGINES_FOLDER).glob(f"*/{ENGINE_CARD}"))
    return [Engine(path.parent, _read_card(path)) for path in cards]


def open_engine(checkpoint: Checkpoint, backend: str, precision: str) -> Engine:
    """The engine of a backend and precision, whole and made from this checkpoint.

    Raises:
      CheckpointError: there is none, or it belongs to other weights, or a file of it changed.
    """
    engines = {engine.card.name: engine for engine in find_engines(checkpoint)}
    engine = engines.get(f"{backend}-{precision}")
    title = checkpoint.title
    if engine is None:
        raise CheckpointError(
            f"expected an engine {backend}-{precision} in {title}, found {sorted(engines) or 'none'}; "
            f"{_tell_export(checkpoint, backend, precision)}"
        )
    if engine.card.checkpoint != checkpoint.digest:
        raise CheckpointError(
            f"expected engine {engine.card.name} of {title} to be made from its weights, "
            f"{checkpoint.digest[:16]}, found one made from {engine.card.checkpoint[:16]}; export it anew"
        )
    for file, digest in engine.card.files.items():
        path = engine.folder / file
        found = digest_file(path) if path.is_file() else "none"
        if found != digest:
            raise CheckpointError(
                f"expected {file} of engine {engine.card.name} with digest {digest[:16]}, found {found[:16]}; "
                "export it anew"
            )
    return engine


def choose_backend(checkpoint: Checkpoint, *, device: str, precision: str) -> str:
    """The backend that `auto` stands for: the fastest on this machine with an engine of the wanted precision.

    The choice follows from the folder and the processor: OpenVINO is ahead where it multiplies bytes (VNNI, AMX), by
    far in int8; elsewhere ONNX Runtime is. Both start sooner than PyTorch.

    Args:
      checkpoint: the model.
      device: cpu or cuda.
      precision: auto, which wants fp32 on the CPU, or another.

    Raises:
      ConfigError: nothing has that precision.
    """
    if device != "cpu":
        return "torch"
    wanted = "fp32" if precision == "auto" else precision
    found = {engine.card.backend for engine in find_engines(checkpoint) if engine.card.precision == wanted}
    found |= {"torch"} if wanted in PRECISIONS["torch"] else set()
    order = ("openvino", "onnx", "torch") if _multiplies_bytes() else ("onnx", "openvino", "torch")
    for backend in order:
        if backend in found:
            return backend
    raise ConfigError(
        f"expected an engine for precision {precision} in {checkpoint.title}, found none; "
        f"{_tell_export(checkpoint, order[0], precision)}"
    )


def _tell_export(checkpoint: Checkpoint, backend: str, precision: str) -> str:
    """The command that makes an engine; that of the default model goes into a folder of one's own."""
    command = f"make one with spanmill export --backend {backend} --precision {precision}"
    is_default = checkpoint.reference == "default"
    return f"{command} --output DIR, and name DIR as the model" if is_default else command


def _read_card(path: Path) -> EngineCard:
    try:
        return EngineCard.from_json(path.read_text(encoding="utf-8"))
    except (CheckpointError, OSError, UnicodeDecodeError) as error:
        name = f"{ENGINES_FOLDER}/{path.parent.name}/{path.name}"
        reason = error if isinstance(error, CheckpointError) else f"{error}; export it anew"
        raise CheckpointError(f"cannot read {name} of model {path.parents[2].name!r}: {reason}") from error


def _multiplies_bytes() -> bool:
    """Whether the processor has instructions for products of bytes; taken to have them where it cannot be told."""
    flags = read_flags()
    return "avx2" not in flags or any("vnni" in flag or flag == "amx_int8" for flag in flags)
