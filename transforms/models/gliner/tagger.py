"""GLiNER as a tagger: texts to words, to windows, to spans, to entities."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from schemas.errors import CheckpointError, ConfigError, ModelError, RecordError, TaggingError, TokenizationError
from schemas.slices import display_uri
from transforms.models.backends import BackendConfig
from transforms.models.gliner.checkpoint import find_gliner
from transforms.models.gliner.network import GlinerNetwork, SpanNetwork, Word, check_library
from transforms.models.gliner.options import GlinerOptions
from transforms.models.gliner.windows import WordSpan, WordWindow, cut_words, merge_spans
from transforms.models.tagger import Tagger, Tagging
from transforms.text.tokens import check_coverage
from transforms.workers.heartbeats import beat

_LEAST_TOKENS = 16
_MOST_TOKENS_PER_CHARACTER = 8


class GlinerTagger:
    """Tags texts with a network that finds spans among words.

    Every span at or above the floor that no surer one overlaps is told, with its score, for thresholds to choose from.

    Args:
      network: finds the spans; threads may share it.
      labels: the labels that it was asked for.
      options: how texts are cut, within `max_words`.
      max_words: most words that the network reads at once.
      max_tokens: most tokens that it reads at once, those of its prompt included.
    """

    def __init__(
        self,
        network: SpanNetwork,
        labels: tuple[str, ...],
        options: GlinerOptions,
        *,
        max_words: int,
        max_tokens: int,
    ) -> None:
        self.labels = labels
        self.names = ("",)
        self._network = network
        self._max_words = min(options.window_words, max_words)
        self._overlap_words = min(options.overlap_words, self._max_words // 2)
        self._max_tokens = max_tokens - network.prompt_tokens
        self._batch_windows = options.batch_windows
        check_room(network.prompt_tokens, max_tokens)

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, entities out."""
        started = time.perf_counter()
        work = _Work()
        documents = [self._prepare(text, at, work.failures) for at, text in enumerate(texts)]
        prepared = time.perf_counter()
        for batch in self._batches(documents):
            self._run(batch, work)
        answered = time.perf_counter()
        rows = [
            (at, document.words[span.first].start, document.words[span.last - 1].end, span.label, span.score)
            for at, document in enumerate(documents)
            if at not in work.failures
            for span in merge_spans(work.found.get(at, ()), len(document.words))
        ]
        document, start, end, label, score = np.array(rows, dtype=np.float64).reshape(-1, 5).T
        return Tagging(
            document=document.astype(np.int64),
            start=start.astype(np.int64),
            end=end.astype(np.int64),
            label=label.astype(np.int64),
            score=score.astype(np.float32),
            tokens=np.array([sum(document.tokens) for document in documents], dtype=np.int64),
            windows=np.array([len(document.windows) for document in documents], dtype=np.int64),
            failures=work.failures,
            computed_tokens=work.computed_tokens,
            seconds={
                "tokenize": prepared - started,
                "forward": answered - prepared,
                "decode": time.perf_counter() - answered,
            },
        )

    def begin(self, texts: Sequence[str]) -> Callable[[], Tagging]:
        """Starts on texts when they are waited for."""
        return lambda: self.tag(texts)

    def _prepare(self, text: str, at: int, failures: dict[int, RecordError]) -> "_Document":
        """A text to words and windows; one with a letter in no word, or a word that fits in no window, has failed."""
        words = self._network.split(text)
        tokens = self._network.count_tokens([word.text for word in words])
        if max(tokens, default=0) > self._max_tokens:
            words = _cut_long(words, tokens, self._max_tokens)
            tokens = self._network.count_tokens([word.text for word in words])
        try:
            check_coverage(text, *(np.array([word[i] for word in words], dtype=np.int32) for i in (1, 2)))
        except TokenizationError as error:
            failures[at] = error
        if max(tokens, default=0) > self._max_tokens:
            failures[at] = TaggingError(
                "too_large", f"expected words of at most {self._max_tokens} tokens, found one with {max(tokens)}"
            )
        if at in failures:
            return _Document(words, tokens, [])
        windows = cut_words(
            tokens, max_words=self._max_words, max_tokens=self._max_tokens, overlap_words=self._overlap_words
        )
        return _Document(words, tokens, windows)

    def _batches(self, documents: Sequence["_Document"]) -> list[list["_Item"]]:
        """Windows of all texts in batches, each of about one length, so that little is padding."""
        items = [
            _Item(at, window, [word.text for word in document.words[window.first : window.last]])
            for at, document in enumerate(documents)
            for window in document.windows
        ]
        items.sort(key=lambda item: len(item.words))
        return [items[at : at + self._batch_windows] for at in range(0, len(items), self._batch_windows)]

    def _run(self, items: list["_Item"], work: "_Work") -> None:
        """Runs windows together; those that fail are halved until the one at fault stands alone."""
        try:
            found, computed_tokens = self._network.find([item.words for item in items])
        except ModelError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model raises, its neighbours go on
            if len(items) > 1:
                half = len(items) // 2
                self._run(items[:half], work)
                self._run(items[half:], work)
                return
            code = "too_large" if isinstance(error, MemoryError) else "inference_failed"
            # The error's own words may quote the text, so only its type is told.
            message = f"the model failed on a window of {len(items[0].words)} words: {type(error).__name__}"
            work.failures.setdefault(items[0].document, TaggingError(code, message))
            return
        for item, spans in zip(items, found, strict=True):
            base = item.window.first
            moved = [span._replace(first=span.first + base, last=span.last + base) for span in spans]
            work.found.setdefault(item.document, []).append((item.window, moved))
        work.computed_tokens += computed_tokens
        beat()


class _Document(NamedTuple):
    """Words of a text, the tokens of each, and the windows over them."""

    words: list[Word]
    tokens: list[int]
    windows: list[WordWindow]


class _Item(NamedTuple):
    """A window of a text, on its way."""

    document: int
    window: WordWindow
    words: list[str]


@dataclasses.dataclass(eq=False)
class _Work:
    """What has come of texts so far: spans by window of each text, and texts that failed."""

    found: dict[int, list[tuple[WordWindow, list[WordSpan]]]] = dataclasses.field(default_factory=dict)
    failures: dict[int, RecordError] = dataclasses.field(default_factory=dict)
    computed_tokens: int = 0


def check_room(prompt_tokens: int, max_tokens: int) -> None:
    """Refuses labels that leave no room for a text.

    Raises:
      ConfigError: they take too many tokens.
    """
    if max_tokens - prompt_tokens < _LEAST_TOKENS:
        raise ConfigError(
            f"expected labels of gliner that leave {_LEAST_TOKENS} of {max_tokens} tokens to the text, found labels "
            f"of {prompt_tokens} tokens; give fewer, or shorter descriptions"
        )


def _cut_long(words: Sequence[Word], tokens: Sequence[int], max_tokens: int) -> list[Word]:
    """Words with more tokens than a window holds, such as encoded data, to pieces; the others as they are."""
    size = max(max_tokens // _MOST_TOKENS_PER_CHARACTER, 1)
    return [
        Word(word.text[at : at + size], word.start + at, min(word.start + at + size, word.end))
        if n_tokens > max_tokens
        else word
        for word, n_tokens in zip(words, tokens, strict=True)
        for at in range(0, len(word.text) if n_tokens > max_tokens else 1, size)
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlinerConfig:
    """A GLiNER checkpoint and its labels on their way to the workers; see `TaggerConfig`.

    Attributes:
      options: the checkpoint, and how it is run.
      prompts: (label, what it is asked for by) of each label.
      checkpoint: what the digest of the checkpoint's files must be.
      backend: device, precision and threads.
    """

    options: GlinerOptions
    prompts: tuple[tuple[str, str], ...]
    checkpoint: str
    backend: BackendConfig

    @property
    def digest(self) -> str:
        """SHA-256 over the checkpoint, the labels and the options, hex."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it is asked for."""
        return tuple(label for label, _ in self.prompts)

    @property
    def is_remote(self) -> bool:
        """Whether a server does the work: no."""
        return False

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name."""
        return {"tagger": "gliner", "model": self.digest, **self._content()}

    def load(self) -> "LoadedGliner":
        """Loads the checkpoint.

        Raises:
          CheckpointError: it is not the one that the run was planned with.
        """
        checkpoint = find_gliner(self.options.model)
        if checkpoint.digest != self.checkpoint:
            raise CheckpointError(
                f"expected model {display_uri(self.options.model)!r} with digest {self.checkpoint[:16]}, found "
                f"{checkpoint.digest[:16]}; it changed since the run was planned"
            )
        network = GlinerNetwork(checkpoint, dict(self.prompts), floor=self.options.floor, backend=self.backend)
        return LoadedGliner(network, checkpoint.max_words, checkpoint.max_tokens)

    def build(self, shared: "LoadedGliner") -> Tagger:
        """A tagger for one thread, around the model that all share."""
        return GlinerTagger(
            shared.network, self.labels, self.options, max_words=shared.max_words, max_tokens=shared.max_tokens
        )

    def _content(self) -> dict[str, Any]:
        options = dataclasses.asdict(self.options)
        return {
            "checkpoint": self.checkpoint,
            "labels": list(self.labels),
            "prompts": [prompt for _, prompt in self.prompts],
            "precision": self.backend.resolved_precision,
            **{name: options[name] for name in ("floor", "window_words", "overlap_words")},
        }


@dataclasses.dataclass(eq=False)
class LoadedGliner:
    """What the threads of a process share: the model and its limits."""

    network: SpanNetwork
    max_words: int
    max_tokens: int


def configure_gliner(options: GlinerOptions, labels: Mapping[str, str], *, backend: BackendConfig) -> GlinerConfig:
    """Options and labels to a config.

    Args:
      options: the checkpoint, and how it is run.
      labels: the labels, each with a description, or an empty one where the label says it.
      backend: device, precision and threads; PyTorch is what runs it.

    Raises:
      CheckpointError: there is no such checkpoint, or it is unsafe, not whole or of another kind.
      ConfigError: there are no labels, two are asked for by the same words, or the library is not installed.
    """
    if backend.backend != "torch":
        raise ConfigError(f"expected backend torch for gliner, found {backend.backend!r}")
    prompts = tuple((label, description or label) for label, description in labels.items())
    if not prompts:
        raise ConfigError("expected labels for --tagger gliner, found none; set --labels")
    asked = [prompt for _, prompt in prompts]
    if twice := sorted({prompt for prompt in asked if asked.count(prompt) > 1}):
        raise ConfigError(f"expected labels of gliner with different descriptions, found {twice} twice")
    checkpoint = find_gliner(options.model)
    check_library()
    return GlinerConfig(options=options, prompts=prompts, checkpoint=checkpoint.digest, backend=backend)
