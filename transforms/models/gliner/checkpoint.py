"""Finding a GLiNER checkpoint, and refusing one that is unsafe or not whole.

It is a folder with `gliner_config.json`, a tokenizer and `model.safetensors`. The library would look elsewhere for
what a folder lacks, and would take pickled weights and an encoder's own code; here all of this is refused.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.errors import CheckpointError
from transforms.models.checkpoint import CONTENT, digest_folder, fetch_model, read_limit, read_object, refuse_unsafe

_CONFIG = "gliner_config.json"
WEIGHTS_NAME = "model.safetensors"
_LABELS_TOKENIZER = "labels_tokenizer"
_OTHER_KINDS = ("labels_decoder", "relations_layer")
_DOWNLOADING_SPLITTERS = ("hanlp", "stanza")


@dataclasses.dataclass(frozen=True)
class GlinerCheckpoint:
    """A GLiNER checkpoint on this machine.

    Attributes:
      reference: what it was asked for by.
      folder: where it is.
      digest: SHA-256 over its files' names and digests.
      max_words: most words that it was trained to read at once.
      max_tokens: most tokens that it reads at once, labels and special tokens included.
    """

    reference: str
    folder: Path
    digest: str
    max_words: int
    max_tokens: int


def find_gliner(reference: str) -> GlinerCheckpoint:
    """A reference to a GLiNER checkpoint that is safe and whole.

    Args:
      reference: folder, URL or hub name.

    Raises:
      CheckpointError: there is none, or it is unsafe, not whole or of another kind.
    """
    if reference in ("", "default"):
        raise CheckpointError("expected a GLiNER checkpoint for --tagger gliner, found none; set --model")
    folder = fetch_model(reference, (*CONTENT, _CONFIG, f"{_LABELS_TOKENIZER}/*"))
    if not (folder / _CONFIG).is_file():
        raise CheckpointError(f"expected {_CONFIG} in model {folder.name!r}, found none; is it a GLiNER checkpoint?")
    config = read_object(folder / _CONFIG)
    _refuse(folder, config)
    max_words = config.get("max_len", 384)
    if not isinstance(max_words, int) or max_words < 1:
        raise CheckpointError(f"expected max_len in {_CONFIG} of model {folder.name!r}, found {max_words!r}")
    limit = read_limit(folder, config["encoder_config"], taken=0)
    return GlinerCheckpoint(reference, folder, _digest(folder), max_words, limit)


def _refuse(folder: Path, config: Mapping[str, Any]) -> None:
    name = folder.name
    tokenizer = folder / "tokenizer_config.json"
    for part in (*_objects(config), *([read_object(tokenizer)] if tokenizer.is_file() else [])):
        refuse_unsafe(folder, part)
    if not (folder / WEIGHTS_NAME).is_file():
        found = sorted(path.name for path in folder.glob("*.safetensors"))
        raise CheckpointError(f"expected {WEIGHTS_NAME} in model {name!r}, found {found}; rename or merge them")
    kinds = [kind for kind in _OTHER_KINDS if config.get(kind)]
    if kinds or config.get("model_type") == "gliner_streaming_span":
        raise CheckpointError(
            f"expected a GLiNER that finds entities in model {name!r}, found one with {kinds or 'streaming'}"
        )
    if (splitter := config.get("words_splitter_type")) in _DOWNLOADING_SPLITTERS:
        raise CheckpointError(
            f"expected a word splitter that is here in model {name!r}, found {splitter!r}, which is fetched from "
            "elsewhere"
        )
    lacking = [_CONFIG + f" {key}" for key in _encoders(config) if not isinstance(config.get(key), dict)]
    tokenizers = ["."] + [_LABELS_TOKENIZER] * bool(config.get("labels_encoder"))
    lacking += [str(Path(at, "tokenizer_config.json")) for at in tokenizers if not _has_tokenizer(folder / at)]
    if lacking:
        raise CheckpointError(
            f"expected a whole GLiNER checkpoint as model {name!r}, found none of {lacking}; load it with gliner "
            "and save it with save_pretrained(FOLDER, safe_serialization=True)"
        )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)


def _encoders(config: Mapping[str, Any]) -> tuple[str, ...]:
    return ("encoder_config", "labels_encoder_config") if config.get("labels_encoder") else ("encoder_config",)


def _has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer_config.json").is_file()


def _digest(folder: Path) -> str:
    folders = [at for at in (folder, folder / _LABELS_TOKENIZER) if at.is_dir()]
    return hashlib.sha256("\n".join(digest_folder(at, (*CONTENT, _CONFIG)) for at in folders).encode()).hexdigest()
