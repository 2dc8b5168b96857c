"""Finding a checkpoint, refusing an unsafe one, and telling it by its content.

A checkpoint is a folder with `config.json`, `tokenizer.json` and weights in safetensors. It is named by a folder, a
URL that fsspec reads, a name on the Hugging Face hub, or `default`, the model that comes with spanmill. Pickled
weights and remote code are refused before anything is loaded. One with a conditional random field has the scores that
it has learned in `crf.safetensors` beside its weights; other tools read it as a plain token classifier.
"""

import dataclasses
import fnmatch
import hashlib
import importlib.resources
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from schemas.errors import CheckpointError, ConfigError
from schemas.labels import TagSet, Transitions
from schemas.slices import display_uri
from transforms.corpora.files import list_files, open_stream
from transforms.tags.schemes import SCHEMES, build_tag_set
from transforms.text.tokens import ColumnTokenizer

_CONTENT = ("config.json", "tokenizer*.json", "special_tokens_map.json", "vocab*", "merges.txt", "*.model",
            "*.safetensors", "*.safetensors.index.json")  # fmt: skip
_VOCABULARIES = ("vocab*", "merges.txt", "*.model")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_UNLIMITED = 1_000_000
ENGINES_FOLDER = "engines"
CRF_NAME = "crf.safetensors"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
      reference: what it was asked for by.
      folder: where it is.
      digest: SHA-256 over its files' names and digests.
      tag_set: its tags and scheme.
      max_tokens: most tokens it reads at once, special tokens included.
    """

    reference: str
    folder: Path
    digest: str
    tag_set: TagSet
    max_tokens: int


def find_checkpoint(reference: str, *, scheme: str = "auto") -> Checkpoint:
    """A reference to a checkpoint that is safe and complete.

    Args:
      reference: folder, URL, hub name or `default`.
      scheme: the tag scheme, or auto to recognise it from the labels.

    Raises:
      CheckpointError: there is none, or it is unsafe, incomplete or no tagger.
    """
    folder = _fetch(reference)
    config = _read_json(folder / "config.json")
    _refuse_unsafe(folder, config)
    ColumnTokenizer(read_tokenizer(folder))
    tags = _read_tags(folder, config)
    tag_set = build_tag_set(tags) if scheme == "auto" else TagSet(tags, scheme)
    if tag_set.scheme not in SCHEMES:
        raise ConfigError(f"expected --scheme auto or one of {sorted(SCHEMES)}, found {scheme!r}")
    tag_set = dataclasses.replace(tag_set, transitions=read_transitions(folder, len(tags)))
    return Checkpoint(reference, folder, digest_folder(folder), tag_set, _read_limit(folder, config))


def digest_folder(folder: Path) -> str:
    """SHA-256, in hex, over the names and contents of the files that make a model what it is."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in _CONTENT):
            total.update(f"{path.name} {digest_file(path)}\n".encode())
    return total.hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as content:
        digest = hashlib.sha256()
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def cache_folder(name: str) -> Path:
    """The folder of that name in the user's cache, which may not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "spanmill" / name


def read_tokenizer(folder: Path) -> str:
    """The fast tokenizer of a checkpoint as JSON; slow ones are converted by transformers.

    Raises:
      CheckpointError: there is no tokenizer.
    """
    path = folder / "tokenizer.json"
    if path.exists():
        return path.read_text(encoding="utf-8")
    if not any(any(folder.glob(pattern)) for pattern in _VOCABULARIES):
        # transformers would make up an empty tokenizer from the model type alone.
        raise CheckpointError(f"expected tokenizer.json in model {folder.name!r}, found none")
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return str(tokenizer.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise CheckpointError(f"expected tokenizer.json in model {folder.name!r}, found none that loads") from error


def read_transitions(folder: Path, n_tags: int) -> Transitions | None:
    """What the checkpoint in a folder has learned of the order of its tags, or None where it has no such file.

    Raises:
      CheckpointError: the file holds something else than finite scores of so many tags.
    """
    path = folder / CRF_NAME
    if not path.exists():
        return None
    shapes = {"steps": (n_tags, n_tags), "first": (n_tags,), "last": (n_tags,)}
    try:
        with safe_open(path, framework="numpy") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path.name} of model {folder.name!r}: {error}") from error
    if {name: scores.shape for name, scores in found.items()} != shapes:
        raise CheckpointError(
            f"expected scores of {n_tags} tags in {path.name} of model {folder.name!r}, found "
            f"{ {name: list(scores.shape) for name, scores in found.items()} }"
        )
    if not all(np.isfinite(scores).all() for scores in found.values()):
        raise CheckpointError(f"expected finite scores in {path.name} of model {folder.name!r}, found others")
    steps, first, last = (found[name].astype(np.float64).tolist() for name in shapes)
    return Transitions(tuple(map(tuple, steps)), tuple(first), tuple(last))


def _fetch(reference: str) -> Path:
    if reference == "default":
        return Path(str(importlib.resources.files("assets"))) / "model"
    if "://" in reference:
        return _download(reference)
    folder = Path(reference).expanduser().absolute()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"expected a model folder at {reference!r}, found a file")
    if not _HUB_NAME.fullmatch(reference) or reference.startswith("."):
        raise CheckpointError(f"expected a model folder at {reference!r}, found none; check --model")
    return _download_from_hub(reference)


def _download(url: str) -> Path:
    """Copies the files under a URL into the cache, once per version of them."""
    files = list_files([url])
    key = hashlib.sha256(repr(files).encode()).hexdigest()[:32]
    cache = cache_folder("models")
    target = cache / key
    if target.is_dir():
        return target
    partial = cache / f"{key}.{os.getpid()}"
    partial.mkdir(parents=True, exist_ok=True)
    for file in files:
        *_, grandparent, parent, name = ["", "", *file.source.split("/")]
        inside = Path(ENGINES_FOLDER, parent) if grandparent == ENGINES_FOLDER else Path()
        if inside.parts or any(fnmatch.fnmatch(name, pattern) for pattern in (*_CONTENT, *PICKLES)):
            (partial / inside).mkdir(parents=True, exist_ok=True)
            with open_stream(file) as source, (partial / inside / name).open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
    try:
        partial.rename(target)
    except OSError:
        # Another process was faster; its copy is as good.
        shutil.rmtree(partial, ignore_errors=True)
    if not target.is_dir():
        raise CheckpointError(f"cannot keep a copy of model {display_uri(url)!r} in {str(cache)!r}")
    return target


def _download_from_hub(name: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=[*_CONTENT, f"{ENGINES_FOLDER}/*"]))
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        reason = type(error).__name__
        raise CheckpointError(
            f"expected a model folder or hub name, found neither a folder {name!r} here nor a model of that name "
            f"on the hub ({reason}); check --model"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"expected {path.name} in model {path.parent.name!r}, found none; check --model"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path.name} of model {path.parent.name!r}: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"expected an object in {path.name} of model {path.parent.name!r}, found a list or value")
    return value


def _refuse_unsafe(folder: Path, config: Mapping[str, Any]) -> None:
    if "auto_map" in config:
        raise CheckpointError(f"refused model {folder.name!r}: its config.json asks for remote code (auto_map)")
    if all(path.name == CRF_NAME for path in folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        remedy = "; convert the weights to safetensors" if pickles else "; check --model"
        raise CheckpointError(
            f"expected *.safetensors in model {folder.name!r}, found {pickles or 'no weights'}{remedy}"
        )
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read {path.name} of model {folder.name!r}: {error}") from error


def _read_tags(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    labels = config.get("id2label")
    if not isinstance(labels, dict) or not labels:
        raise CheckpointError(f"expected id2label in config.json of model {folder.name!r}, found none; is it a tagger?")
    try:
        tags = tuple(str(labels[str(index)]) for index in range(len(labels)))
    except KeyError as error:
        raise CheckpointError(
            f"expected id2label keys 0 to {len(labels) - 1} in {folder.name!r}, lacks {error}"
        ) from None
    if all(re.fullmatch(r"LABEL_\d+", tag) for tag in tags):
        raise CheckpointError(f"expected named labels in id2label of model {folder.name!r}, found {list(tags)[:3]}")
    if "O" not in tags:
        raise CheckpointError(f"expected a tag 'O' in id2label of model {folder.name!r}, found {list(tags)[:8]}")
    return tags


def _read_limit(folder: Path, config: Mapping[str, Any]) -> int:
    path = folder / "tokenizer_config.json"
    limits = []
    if path.exists():
        limits.append(_read_json(path).get("model_max_length"))
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in (
        "roberta",
        "xlm-roberta",
        "camembert",
        "xlm-roberta-xl",
    ):
        # RoBERTa counts positions from the padding index on.
        positions -= int(config.get("pad_token_id") or 0) + 1
    limits.append(positions)
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _UNLIMITED]
    return min(known, default=_UNLIMITED)
