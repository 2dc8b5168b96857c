"""Finding a language model, refusing what is none, and telling it by its content.

A language model is a checkpoint in safetensors with its tokenizer (see `transforms.models.checkpoint`), or one GGUF
file, which holds everything; what lies beside that is not read. transformers unpacks the weights of a GGUF when it
loads them, so that they take as much memory as any others and are as exact as the file.
"""

import contextlib
import dataclasses
import io
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from schemas.errors import CheckpointError
from transforms.models.adapters.stored import CONFIG_NAME as ADAPTER_CONFIG
from transforms.models.checkpoint import (
    CONTENT,
    digest_file,
    digest_folder,
    fetch_model,
    read_limit,
    read_object,
    read_tokenizer,
    refuse_unsafe,
)

_LANGUAGE_CONTENT = (*CONTENT, "generation_config.json", "chat_template.*")
_HUB_FILE = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w.-]+)/(?P<file>[\w./-]+\.gguf)")
# What transformers raises at configs, tokenizers and GGUF files that are damaged or not known to it.
_LOADING_ERRORS = (
    *(OSError, ValueError, RuntimeError, ImportError),
    *(LookupError, AttributeError, TypeError, struct.error),
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


@dataclasses.dataclass(frozen=True)
class LanguageCheckpoint:
    """A language model on this machine.

    Attributes:
      reference: what it was asked for by.
      path: its folder, or its GGUF file.
      digest: SHA-256 over its files.
      kind: causal, which goes on with the prompt; or seq2seq, which reads it first and then answers.
      max_tokens: most tokens of a prompt and its answer together.
    """

    reference: str
    path: Path
    digest: str
    kind: Literal["causal", "seq2seq"]
    max_tokens: int

    def load_tokenizer(self) -> Any:
        """The tokenizer, as transformers has it.

        Raises:
          CheckpointError: there is none, or it cannot be loaded.
        """
        import transformers

        return _load(transformers.AutoTokenizer, self.path, what="the tokenizer")

    def load_model(self, dtype: Any) -> Any:
        """The weights, to compute in a type of PyTorch.

        Raises:
          CheckpointError: transformers cannot load them, or some are missing.
        """
        import transformers

        auto = transformers.AutoModelForCausalLM if self.kind == "causal" else transformers.AutoModelForSeq2SeqLM
        options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        if self.path.is_file() and hasattr(transformers, "GgufConfig"):
            # Else packages that happen to be there decide whether weights stay packed, and fetch code for it.
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        model, info = _load(auto, self.path, what="the weights", **options)
        if missing := sorted(info["missing_keys"]):
            raise CheckpointError(f"expected every weight in model {self.path.name!r}, found none for {missing[:4]}")
        return model.eval()


def find_language_checkpoint(reference: str) -> LanguageCheckpoint:
    """A reference to a language model that is safe and complete.

    Args:
      reference: folder, URL or hub name of a checkpoint in safetensors; a `.gguf` file, a folder with one, or one on
        the hub as `owner/name/file.gguf`.

    Raises:
      CheckpointError: there is none, or it is unsafe, incomplete or no language model.
    """
    path = _find_path(reference)
    if path.is_file():
        return _find_gguf(reference, path)
    if (path / ADAPTER_CONFIG).is_file():
        # transformers would look for its base of its own accord.
        raise CheckpointError(
            f"expected a whole language model, found the adapter {path.name!r}; merge it into its base"
        )
    content = read_object(path / "config.json")
    refuse_unsafe(path, content)
    read_tokenizer(path)
    config = _load_config(path)
    kind = _read_kind(path, content.get("architectures") or [])
    return LanguageCheckpoint(reference, path, digest_folder(path, _LANGUAGE_CONTENT), kind, _read_limit(path, config))


def _find_path(reference: str) -> Path:
    """The folder of a checkpoint, or a GGUF file."""
    path = Path(reference).expanduser().absolute()
    if reference.endswith(".gguf") and "://" not in reference:
        if path.is_file():
            return path
        if not (named := _HUB_FILE.fullmatch(reference)):
            raise CheckpointError(f"expected a GGUF file at {reference!r}, found none; check the model (--model)")
        return _download_file(named["repository"], named["file"])
    folder = fetch_model(reference, _LANGUAGE_CONTENT)
    if any(folder.glob("*.safetensors")):
        return folder
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        raise CheckpointError(
            f"expected one GGUF file in {folder.name!r}, found {[file.name for file in files[:4]]}; name one of them"
        )
    return files[0] if files else folder


def _download_file(repository: str, name: str) -> Path:
    import huggingface_hub

    try:
        return Path(huggingface_hub.hf_hub_download(repository, name))
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise CheckpointError(
            f"expected a GGUF file, found neither {repository + '/' + name!r} here nor a file of that name on the hub "
            f"({type(error).__name__}); check the model (--model)"
        ) from error


def _find_gguf(reference: str, path: Path) -> LanguageCheckpoint:
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise CheckpointError(
            f"expected the package gguf to read {path.name!r}, found none; pip install 'spanmill[prompt]'"
        ) from error
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise CheckpointError(f"expected a GGUF file, found another in {path.name!r}; fetch it again")
    if _SHARD.search(path.name):
        raise CheckpointError(
            f"expected a GGUF file with all weights, found the part {path.name!r}; "
            "merge the parts with llama-gguf-split"
        )
    config = _load_config(path)
    kind: Literal["causal", "seq2seq"] = "seq2seq" if config.is_encoder_decoder else "causal"
    return LanguageCheckpoint(reference, path, digest_file(path), kind, _read_limit(path, config))


def _load_config(path: Path) -> Any:
    import transformers

    return _load(transformers.AutoConfig, path, what="the config")


def _load(auto: Any, path: Path, *, what: str, **options: Any) -> Any:
    """What an auto class of transformers makes of a checkpoint, from here and without code of its own.

    Raises:
      CheckpointError: it cannot.
    """
    import transformers

    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        # The bar of a GGUF file's tensors is not transformers' own, and knows no such switch.
        with _as_folder(path) as (folder, named), contextlib.redirect_stderr(io.StringIO()):
            return auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **named, **options)
    except _LOADING_ERRORS as error:
        raise CheckpointError(
            f"cannot load {what} of model {path.name!r}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    finally:
        transformers.logging.set_verbosity(level)


@contextlib.contextmanager
def _as_folder(path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder, and the options that name the file in it; a GGUF gets an empty one, lest its neighbours be read."""
    if path.is_dir():
        yield path, {}
        return
    with tempfile.TemporaryDirectory() as empty:
        yield Path(empty), {"gguf_file": str(path)}


def _read_kind(folder: Path, architectures: list[str]) -> Literal["causal", "seq2seq"]:
    from transformers.models.auto import modeling_auto

    if set(architectures) & set(modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()):
        return "seq2seq"
    if set(architectures) & set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        return "causal"
    raise CheckpointError(
        f"expected a language model that writes text (a causal or seq2seq one) in {folder.name!r}, found "
        f"{', '.join(architectures) or 'no architecture in config.json'}"
    )


def _read_limit(path: Path, config: Any) -> int:
    """Most tokens of a prompt and its answer, by the config and, where there is a folder, its tokenizer's."""
    positions = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return read_limit(path, {"max_position_embeddings": positions}, taken=0)
