"""Finding a checkpoint, refusing an unsafe one, and telling it by its content.

A checkpoint is a folder with `config.json`, `tokenizer.json` and weights in safetensors. It is named by a folder, a
URL that fsspec reads, a name on the Hugging Face hub, or `default`, the model that comes with spanmill. Pickled
weights and remote code are refused before anything is loaded. One with a conditional random field has the scores that
it has learned in `crf.safetensors` beside its weights; other tools read it as a plain token classifier.

An adapter is a small checkpoint: it holds what was trained, and names the base that the rest lies in.
"""

import dataclasses
import fnmatch
import hashlib
import importlib.resources
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from schemas.checkpoints import CARD_NAME, MEMORY_FOLDER, UNFINISHED, CheckpointCard
from schemas.errors import CheckpointError, ConfigError
from schemas.labels import TagSet, Transitions
from schemas.slices import display_uri
from transforms.corpora.files import list_files, open_stream
from transforms.models.adapters import stored
from transforms.models.adapters.stored import Adapter, is_adapter, read_adapter
from transforms.models.torch_encoder import check_shapes
from transforms.tags.schemes import SCHEMES, build_tag_set
from transforms.text.tokens import ColumnTokenizer

CONTENT = ("config.json", "tokenizer*.json", "special_tokens_map.json", "vocab*", "merges.txt", "*.model",
            "*.safetensors", "*.safetensors.index.json", stored.CONFIG_NAME)  # fmt: skip
_VOCABULARIES = ("vocab*", "merges.txt", "*.model")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
_UNLIMITED = 1_000_000
ENGINES_FOLDER = "engines"
CRF_NAME = "crf.safetensors"
_MEMORY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
      reference: what it was asked for by.
      folder: where it is.
      digest: SHA-256 over its files' names and digests, and over the weights of its base.
      tag_set: its tags and scheme.
      max_tokens: most tokens it reads at once, special tokens included.
      base: where the base is, where it is an adapter.
      base_digest: that of the base's weights; empty where there is none.
      base_reference: what the base was asked for by; empty where the adapter names it.
    """

    reference: str
    folder: Path
    digest: str
    tag_set: TagSet
    max_tokens: int
    base: Path | None = None
    base_digest: str = ""
    base_reference: str = ""

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return "the default model" if self.reference == "default" else f"model {self.folder.name!r}"


def refuse_unfinished(folder: Path) -> None:
    """Refuses a folder that holds the state of a training and no checkpoint.

    Raises:
      CheckpointError: it is one.
    """
    if (folder / UNFINISHED).is_dir() and not (folder / "config.json").exists():
        raise CheckpointError(
            f"expected a model, found the unfinished training {folder.name!r}; finish it with train --resume"
        )


def find_checkpoint(reference: str, *, scheme: str = "auto", base: str = "") -> Checkpoint:
    """A reference to a checkpoint that is safe and complete.

    Args:
      reference: folder, URL, hub name or `default`.
      scheme: the tag scheme, or auto to recognise it from the labels.
      base: reference of the base of an adapter; empty for the one that the adapter names.

    Raises:
      CheckpointError: there is none, or it is unsafe, incomplete or no tagger, or its base is another.
    """
    folder = fetch_model(reference)
    refuse_unfinished(folder)
    config = read_object(folder / "config.json")
    refuse_unsafe(folder, config)
    _check_tokenizer(folder)
    adapter = read_adapter(folder) if is_adapter(folder) else None
    if base and not adapter:
        raise CheckpointError(f"expected an adapter as the model for a base, found the whole model {folder.name!r}")
    base_folder, base_digest = _find_base(adapter, base) if adapter else (None, "")
    tags = _read_tags(folder, config)
    check_shapes(folder, config, n_tags=len(tags), base=base_folder)
    tag_set = build_tag_set(tags) if scheme == "auto" else TagSet(tags, scheme)
    if tag_set.scheme not in SCHEMES:
        raise ConfigError(f"expected --scheme auto or one of {sorted(SCHEMES)}, found {scheme!r}")
    tag_set = dataclasses.replace(tag_set, transitions=read_transitions(folder, len(tags)))
    limit = read_limit(folder, config, taken=adapter.virtual_tokens if adapter else 0)
    digest = digest_model(folder, base_digest)
    return Checkpoint(reference, folder, digest, tag_set, limit, base_folder, base_digest, base)


def list_contents(folder: Path, content: Sequence[str] = CONTENT) -> list[Path]:
    """The files in a folder that make a model what it is, by name.

    Args:
      folder: the model.
      content: patterns of their names.
    """
    return sorted(path for path in folder.iterdir() if any(fnmatch.fnmatch(path.name, pattern) for pattern in content))


def digest_folder(folder: Path, content: Sequence[str] = CONTENT) -> str:
    """SHA-256, in hex, over the names and contents of those files."""
    return digest_contents({path.name: digest_file(path) for path in list_contents(folder, content)})


def digest_contents(digests: Mapping[str, str]) -> str:
    """Digests of these files by name, which are sorted, to the digest of the folder."""
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()).hexdigest()


def digest_model(folder: Path, base_digest: str = "") -> str:
    """The digest of a checkpoint: that of its folder, and of the weights of its base where it has one."""
    return join_digests(digest_folder(folder), base_digest)


def join_digests(own: str, base_digest: str = "") -> str:
    """The digest of a folder and that of the weights of its base, where it has one, to the digest of the checkpoint."""
    return hashlib.sha256(f"{own} {base_digest}".encode()).hexdigest() if base_digest else own


def digest_weights(folder: Path) -> str:
    """SHA-256 of a model's weights in safetensors, hex; of their digests where there are several files.

    Raises:
      CheckpointError: it has none.
    """
    digests = [digest_file(path) for path in sorted(folder.glob("*.safetensors"))]
    if not digests:
        raise CheckpointError(f"expected weights in safetensors in model {folder.name!r}, found none")
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


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
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"cannot read tokenizer.json of model {folder.name!r}: {error}; fetch the model again"
            ) from error
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


def fetch_model(reference: str, content: Sequence[str] = CONTENT) -> Path:
    """The folder of a model on this machine, copied into the cache where the reference is a URL or hub name.

    Args:
      reference: folder, URL, hub name or `default`.
      content: patterns of the names of files that are copied.

    Raises:
      CheckpointError: there is none.
    """
    if reference == "default":
        return Path(str(importlib.resources.files("assets"))) / "model"
    if "://" in reference:
        return _download(reference, content)
    folder = Path(reference).expanduser().absolute()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"expected a model folder at {reference!r}, found a file")
    if not _HUB_NAME.fullmatch(reference) or reference.startswith("."):
        raise CheckpointError(f"expected a model folder at {reference!r}, found none; check the model (--model)")
    return _download_from_hub(reference, content)


def fetch_memory(reference: str) -> Path:
    """The folder of a model as `fetch_model` gives it, with what the model keeps beside its weights there too.

    Args:
      reference: folder, URL, hub name or `default`.

    Raises:
      CheckpointError: there is no such model.
    """
    folder = fetch_model(reference)
    if "://" in reference:
        for file in list_files([reference]):
            *_, parent, name = file.source.split("/")
            target = folder / MEMORY_FOLDER / name
            if parent == MEMORY_FOLDER and _MEMORY_NAME.fullmatch(name) and not target.exists():
                target.parent.mkdir(exist_ok=True)
                partial = target.with_name(f".{name}.{os.getpid()}")
                with open_stream(file) as source, partial.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
                partial.replace(target)
    elif reference != "default" and not Path(reference).expanduser().exists():
        return _download_from_hub(reference, (*CONTENT, f"{MEMORY_FOLDER}/*"))
    return folder


def list_memory(folder: Path) -> dict[str, Path]:
    """What a checkpoint keeps beside its weights: files by their names below its folder.

    Raises:
      CheckpointError: there is something else than plain files with plain names.
    """
    paths = sorted((folder / MEMORY_FOLDER).glob("*"))
    for path in paths:
        if path.is_symlink() or not path.is_file() or not _MEMORY_NAME.fullmatch(path.name):
            raise CheckpointError(
                f"expected plain files with names of letters, digits, _, . and - in {MEMORY_FOLDER} of model "
                f"{folder.name!r}, found {path.name!r}; move it away"
            )
    return {f"{MEMORY_FOLDER}/{path.name}": path for path in paths}


def _find_base(adapter: Adapter, reference: str) -> tuple[Path, str]:
    """The folder of an adapter's base, which must hold the weights that it was trained on, and their digest.

    Args:
      adapter: the adapter.
      reference: where the base is, or empty to ask where it was at training.
    """
    name = adapter.folder.name
    card_path = adapter.folder / CARD_NAME
    if not card_path.is_file():
        raise CheckpointError(f"expected {CARD_NAME} with the digest of the base in adapter {name!r}, found none")
    card = CheckpointCard.from_json(card_path.read_text(encoding="utf-8"))
    if (found := digest_weights(adapter.folder)) != card.weights_digest:
        raise CheckpointError(
            f"expected the weights of adapter {name!r} with digest {card.weights_digest[:16]}, found "
            f"{found[:16]}; it changed since training"
        )
    if card.tags != _read_tags(adapter.folder, read_object(adapter.folder / "config.json")):
        raise CheckpointError(
            f"expected config.json of adapter {name!r} with the tags of its {CARD_NAME}, found others; it changed "
            "since training"
        )
    if not reference and "://" in adapter.base:
        # What a stranger's file names is not asked for over the network, but on the hub.
        raise CheckpointError(
            f"expected a folder or hub name as base in adapter {name!r}, found a URL; give it as base"
        )
    try:
        folder = fetch_model(reference or adapter.base)
        config = read_object(folder / "config.json")
    except CheckpointError as error:
        raise CheckpointError(
            f"expected the base of adapter {name!r} at {display_uri(reference or adapter.base)!r}, found none; "
            "give its folder, URL or hub name as base"
        ) from error
    refuse_unsafe(folder, config)
    if is_adapter(folder):
        raise CheckpointError(f"expected a whole model as base of adapter {name!r}, found an adapter")
    if (found := digest_weights(folder)) != card.base_digest:
        raise CheckpointError(
            f"expected the base of adapter {name!r} with weights of digest {card.base_digest[:16]}, found "
            f"{found[:16]} at {display_uri(reference or adapter.base)!r}; give the base it was trained on"
        )
    return folder, found


def _download(url: str, content: Sequence[str]) -> Path:
    """Copies the files under a URL into the cache, once per version of them, but for what the model keeps besides."""
    memory = f"/{url.rstrip('/').rpartition('/')[2]}/{MEMORY_FOLDER}"
    files = [file for file in list_files([url]) if not file.source.rpartition("/")[0].endswith(memory)]
    key = hashlib.sha256(repr((files, content)).encode()).hexdigest()[:32]
    cache = cache_folder("models")
    target = cache / key
    if target.is_dir():
        return target
    partial = cache / f"{key}.{os.getpid()}"
    partial.mkdir(parents=True, exist_ok=True)
    for file in files:
        *_, grandparent, parent, name = ["", "", *file.source.split("/")]
        inside = Path(ENGINES_FOLDER, parent) if grandparent == ENGINES_FOLDER else Path()
        if inside.parts or any(fnmatch.fnmatch(name, pattern) for pattern in (*content, CARD_NAME, *PICKLES)):
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


def _download_from_hub(name: str, content: Sequence[str]) -> Path:
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(name, allow_patterns=[*content, CARD_NAME, f"{ENGINES_FOLDER}/*"])
        )
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        reason = type(error).__name__
        raise CheckpointError(
            f"expected a model folder or hub name, found neither a folder {name!r} here nor a model of that name "
            f"on the hub ({reason}); check the model (--model)"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model.

    Raises:
      CheckpointError: there is no such file, or something else in it.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"expected {path.name} in model {path.parent.name!r}, found none; check the model (--model)"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path.name} of model {path.parent.name!r}: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"expected an object in {path.name} of model {path.parent.name!r}, found a list or value")
    return value


def refuse_unsafe(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuses what would run code of the model's own: remote code, and weights that are no safetensors.

    Args:
      folder: the model.
      config: what its config.json holds.

    Raises:
      CheckpointError: the model is unsafe, or its weights cannot be read.
    """
    if "auto_map" in config:
        raise CheckpointError(f"refused model {folder.name!r}: its config.json asks for remote code (auto_map)")
    if all(path.name == CRF_NAME for path in folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        remedy = "; convert the weights to safetensors" if pickles else "; check the model (--model)"
        raise CheckpointError(
            f"expected *.safetensors in model {folder.name!r}, found {pickles or 'no weights'}{remedy}"
        )
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot read {path.name} of model {folder.name!r}: {error}") from error


def _check_tokenizer(folder: Path) -> None:
    serialized = read_tokenizer(folder)
    try:
        ColumnTokenizer(serialized)
    except CheckpointError as error:
        raise CheckpointError(
            f"cannot use tokenizer.json of model {folder.name!r}: {error}; fetch the model again, or save its "
            "tokenizer anew"
        ) from error


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


def read_limit(folder: Path, config: Mapping[str, Any], *, taken: int) -> int:
    """Most tokens of a window, of whose positions some are taken by others."""
    path = folder / "tokenizer_config.json"
    limits = []
    if path.exists():
        limits.append(read_object(path).get("model_max_length"))
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and config.get("model_type") in (
        "roberta",
        "xlm-roberta",
        "camembert",
        "xlm-roberta-xl",
    ):
        # RoBERTa counts positions from the padding index on.
        positions -= int(config.get("pad_token_id") or 0) + 1
    limits.append(positions - taken if isinstance(positions, int) else positions)
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _UNLIMITED]
    return min(known, default=_UNLIMITED)
