"""GLiNER on lists of words: the only place that talks to its library.

Zaratiana et al. 2024, GLiNER: Generalist Model for Named Entity Recognition using Bidirectional Transformer.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from safetensors import safe_open

from schemas.errors import CheckpointError, ConfigError, ModelError
from transforms.models.backends import BackendConfig, check_device, torch_errors_told, torch_type
from transforms.models.gliner.checkpoint import WEIGHTS_NAME, GlinerCheckpoint
from transforms.models.gliner.windows import WordSpan


class Word(NamedTuple):
    """A word of a text: itself and its code points, half-open."""

    text: str
    start: int
    end: int


class SpanNetwork(Protocol):
    """Finds labelled spans among words; shared by the threads of a process."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens that the labels and special tokens take from every window."""

    def split(self, text: str) -> list[Word]:
        """A text to its words."""

    def count_tokens(self, words: Sequence[str]) -> list[int]:
        """Tokens of each word."""

    def find(self, windows: Sequence[Sequence[str]]) -> tuple[list[list[WordSpan]], int]:
        """Windows of words to the spans in each, which do not overlap, and the tokens that were computed.

        Raises:
          MemoryError: the batch is too large.
          ModelError: the model or its device is broken for good.
        """


class GlinerNetwork:
    """A GLiNER checkpoint that was asked for some labels; see `SpanNetwork`.

    Args:
      checkpoint: the checkpoint.
      prompts: what each label is asked for by: its description, or itself.
      floor: least score of a span.
      backend: device, precision and threads.

    Raises:
      CheckpointError: the library cannot load it.
      ConfigError: the library or the device is not there.
    """

    def __init__(
        self, checkpoint: GlinerCheckpoint, prompts: Mapping[str, str], *, floor: float, backend: BackendConfig
    ) -> None:
        check_device(backend)
        self._model = _load(checkpoint, backend)
        self._tokenizer = self._model.data_processor.transformer_tokenizer
        self._collator = self._model.create_collator()
        self._prompts = list(prompts.values())
        self._numbers = {label: number for number, label in enumerate(prompts)}
        self._floor = floor
        # The tokenizer cannot be used by two threads at once.
        self._lock = threading.Lock()
        word = "a"
        self.prompt_tokens = int(self._collate([[word]])["input_ids"].shape[1]) - sum(self.count_tokens([word]))

    def split(self, text: str) -> list[Word]:
        """A text to its words, as the checkpoint was trained on."""
        return [Word(*word) for word in self._model.data_processor.words_splitter(text)]

    def count_tokens(self, words: Sequence[str]) -> list[int]:
        """Tokens of each word."""
        counts = [0] * len(words)
        if not words:
            return counts
        with self._lock:
            encoded = self._tokenizer(
                list(words), is_split_into_words=True, add_special_tokens=False, truncation=False, verbose=False
            )
        for word in encoded.word_ids():
            if word is not None:
                counts[word] += 1
        return counts

    def find(self, windows: Sequence[Sequence[str]]) -> tuple[list[list[WordSpan]], int]:
        """Windows of words to the spans in each; see `SpanNetwork.find`."""
        with torch_errors_told(), self._lock:
            batch = self._collate(windows)
            output = self._model.run_batch(batch, threshold=self._floor)
            if output[0].isnan().any():
                raise ModelError(
                    "expected scores that are numbers, found NaN: the weights are damaged, or the --precision is too "
                    "coarse for them"
                )
            decoded = self._model.decode_batch(output, batch, threshold=self._floor, flat_ner=True)
        spans = [
            [WordSpan(span.start, span.end + 1, self._numbers[span.entity_type], span.score) for span in found]
            for found in decoded
        ]
        return spans, int(batch["input_ids"].numel())

    def _collate(self, windows: Sequence[Sequence[str]]) -> Any:
        inputs = self._model.prepare_base_input([list(words) for words in windows])
        return self._model.collate_batch(inputs, self._prompts, self._collator, label_names=list(self._numbers))


def check_library() -> None:
    """Refuses to go on without the library.

    Raises:
      ConfigError: it is not installed, or does not get along with what is.
    """
    try:
        import gliner  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"expected gliner for --tagger gliner, found none that imports ({error}); pip install "
            "'spanmill[gliner]', in an environment of its own, as it needs transformers below 5.17"
        ) from error


def _load(checkpoint: GlinerCheckpoint, backend: BackendConfig) -> Any:
    check_library()
    import torch
    from gliner import GLiNER

    if backend.threads:
        torch.set_num_threads(backend.threads)
    try:
        model = GLiNER.from_pretrained(
            str(checkpoint.folder), local_files_only=True, map_location=backend.device, dtype=torch_type(backend)
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"cannot load GLiNER model {checkpoint.folder.name!r}: {reason}") from error
    _check_weights(checkpoint, model.model)
    return model.eval()


def _check_weights(checkpoint: GlinerCheckpoint, module: Any) -> None:
    """Refuses a checkpoint without some of the weights, which the library would leave as they are at random."""
    with safe_open(checkpoint.folder / WEIGHTS_NAME, framework="numpy") as file:
        # What the library has left out as the same as another is named in the metadata.
        stored = {*file.keys(), *(file.metadata() or {})}
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    if missing := sorted(same[0] for same in names.values() if stored.isdisjoint(same)):
        raise CheckpointError(
            f"expected every weight in GLiNER model {checkpoint.folder.name!r}, found none for {missing[:4]}; fetch "
            "the model again"
        )
