"""A language model as a tagger: it is asked in words, and what it names is looked for in the text.

    text ──cut──> passages ──write, with examples──> prompts ──model──> answers ──read──> entities ──join──> of the text

A text longer than the model reads at once is cut into passages, each asked about by itself. Examples are chosen for the
whole text, so that the prompts about its passages begin alike. A text about which an answer is missing, or about a
passage of which none can be read, has failed, since entities would be missing.
"""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from schemas.errors import ConfigError, RecordError
from schemas.prompts import Answer, Message, Prompt
from transforms.models.language.language_model import LanguageModel, LanguageModelConfig, Outcome
from transforms.models.language.usage import Prices, count_usage
from transforms.models.tagger import Tagging
from transforms.prompts.examples import Example, ExamplePool
from transforms.prompts.passages import cut_passages
from transforms.prompts.rankings import RANKINGS, Encoder
from transforms.prompts.readings import Reading, ReadSpan, join_readings
from transforms.prompts.writer import PromptWriter
from transforms.workers.heartbeats import beat

_ROOM_FOR_MARKS = 1.5
"""Tokens that an answer may need for each of the shortest one, which names no entity."""

UNPARSABLE = ("dead-letter", "empty")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShotConfig:
    """Which examples prompts show.

    Attributes:
      examples: what is chosen from.
      n: how many each prompt shows, if there are as many.
      choice: how they are chosen, one of RANKINGS.
      seed: of the random choice.
      is_balanced: whether each label is to be shown before one is shown again.
      encoder: reference of the encoder for the choice by embeddings.
    """

    examples: tuple[Example, ...] = ()
    n: int = 0
    choice: str = "fixed"
    seed: int = 0
    is_balanced: bool = True
    encoder: str = ""

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ConfigError(f"expected 0 shots or more, found {self.n}")
        if self.choice not in RANKINGS:
            raise ConfigError(f"expected choice of examples to be one of {sorted(RANKINGS)}, found {self.choice!r}")
        if self.n and not self.examples:
            raise ConfigError(f"expected labelled examples for {self.n} shots, found none; give files as --examples")
        if self.n > len(self.examples) > 0:
            raise ConfigError(f"expected {self.n} labelled examples for as many shots, found {len(self.examples)}")

    def open(self, encode: Encoder | None) -> ExamplePool:
        """The examples, ranked anew for each text.

        Args:
          encode: the encoder, where the choice needs one.
        """
        kind = RANKINGS[self.choice]
        given = {"seed": self.seed, "encode": encode}
        rank = kind.rank(self.examples, **{name: given[name] for name in kind.needs})
        return ExamplePool(self.examples, rank, is_balanced=self.is_balanced, is_nearest_last=kind.is_by_text)

    def describe(self) -> dict[str, Any]:
        """All that changes which examples are shown, by name; the examples by their digest."""
        if not self.n:
            return {"n": 0}
        settings = {name: getattr(self, name) for name in ("n", "choice", "is_balanced")}
        needs = {"seed": self.seed, "encode": self.encoder}
        chosen = {name: needs[name] for name in RANKINGS[self.choice].needs}
        return {**settings, **chosen, "digest": ExamplePool(self.examples, lambda _: iter(())).digest}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptTaggerConfig:
    """A language model, and what it is asked; see `TaggerConfig`.

    Attributes:
      language: the language model.
      writer: what prompts say and how answers are read.
      shots: the examples that prompts show.
      unparsable: what becomes of a document whose answer cannot be read: dead-letter or empty.
      prices: what tokens cost, for the report.
    """

    language: LanguageModelConfig
    writer: PromptWriter
    shots: ShotConfig = dataclasses.field(default_factory=ShotConfig)
    unparsable: str = "dead-letter"
    prices: Prices | None = None

    def __post_init__(self) -> None:
        if self.unparsable not in UNPARSABLE:
            raise ConfigError(f"expected unparsable to be one of {UNPARSABLE}, found {self.unparsable!r}")

    @property
    def digest(self) -> str:
        """The digest of the language model."""
        return self.language.digest

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it is asked for."""
        return tuple(self.writer.labels)

    @property
    def is_remote(self) -> bool:
        """Whether the language model is behind an endpoint."""
        return self.language.is_remote

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes output, by name."""
        return {
            "tagger": "prompt",
            "model": self.digest,
            "labels": list(self.labels),
            "language": self.language.describe(),
            "prompt": self.writer.describe(),
            "shots": self.shots.describe(),
            "unparsable": self.unparsable,
        }

    def load(self) -> "LoadedPrompting":
        """Loads the language model and the examples."""
        if not self.shots.n:
            return LoadedPrompting(self.language.load(), None)
        encode = None
        if "encode" in RANKINGS[self.shots.choice].needs:
            from transforms.models.embeddings import SentenceEncoder

            encode = SentenceEncoder(self.shots.encoder).encode
        return LoadedPrompting(self.language.load(), self.shots.open(encode))

    def build(self, shared: "LoadedPrompting") -> "PromptTagger":
        """A tagger for one thread, around what `load` gave."""
        return PromptTagger(shared, self)


@dataclasses.dataclass(eq=False)
class LoadedPrompting:
    """What the threads of a process share.

    Attributes:
      model: the language model.
      pool: the examples, or None where prompts show none.
    """

    model: LanguageModel
    pool: ExamplePool | None


@dataclasses.dataclass(frozen=True)
class _Passage:
    """A passage and which of all prompts are about it: those from `first` on, before `last`."""

    start: int
    text: str
    first: int
    last: int


class PromptTagger:
    """Asks a language model for the entities of texts.

    Args:
      shared: the model and the examples.
      config: what is asked.
    """

    def __init__(self, shared: LoadedPrompting, config: PromptTaggerConfig) -> None:
        self._model = shared.model
        self._pool = shared.pool
        self._config = config
        self._writer = config.writer
        self._empty_tokens = self._model.count_tokens([Message("user", "")])
        if not self._fits("a", ()):
            [needed] = {self._model.count_tokens(prompt.messages) for prompt in self._writer.write("a")[:1]}
            raise ConfigError(
                f"expected room for instructions of {needed} tokens, a text, and answers of "
                f"{self._writer.max_answer_tokens} in a model that reads {self._model.max_tokens}; set answer_tokens, "
                "shorten the template, or for an endpoint set context_tokens and tokenizer"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it is asked for."""
        return self._config.labels

    @property
    def names(self) -> tuple[str, ...]:
        """One tagger without a name."""
        return ("",)

    def begin(self, texts: Sequence[str]) -> Callable[[], Tagging]:
        """Does its work when it is waited for; see `Tagger.begin`."""
        return lambda: self.tag(texts)

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, entities out; see `Tagger.tag`. A window is a passage; tokens are those of the text alone."""
        times = [time.perf_counter()]
        dropped: list[Example] = []
        prompts: list[Prompt] = []
        passages: dict[int, list[_Passage]] = {}
        failures: dict[int, RecordError] = {}
        for at, text in enumerate(texts):
            try:
                passages[at] = self._write(text, prompts, dropped)
            except RecordError as error:
                failures[at] = error
        times.append(time.perf_counter())
        outcomes = self._model.answer(prompts, on_answer=lambda *_: beat())
        times.append(time.perf_counter())
        counts = Counter(count_usage(outcomes, self._config.prices))
        counts["answers/without-probabilities"] = sum(
            isinstance(outcome, Answer) and bool(outcome.text) and not outcome.pieces for outcome in outcomes
        )
        counts["shots/no-room"] = len(dropped)
        spans: list[tuple[int, ReadSpan]] = []
        for at, own in passages.items():
            reading = self._read(own, outcomes)
            counts.update(reading.counts)
            if reading.failure:
                failures[at] = reading.failure
            spans += [(at, span) for span in reading.spans]
        times.append(time.perf_counter())
        stages = zip(("tokenize", "forward", "decode"), times[1:], times, strict=False)
        return Tagging(
            document=np.array([at for at, _ in spans], dtype=np.int64),
            start=np.array([span.start for _, span in spans], dtype=np.int64),
            end=np.array([span.end for _, span in spans], dtype=np.int64),
            label=np.array([self.labels.index(span.label) for _, span in spans], dtype=np.int64),
            score=np.array([span.score for _, span in spans], dtype=np.float32),
            tokens=np.array([self._count(text) for text in texts], dtype=np.int64),
            windows=np.array([len(passages.get(at, ())) for at in range(len(texts))], dtype=np.int64),
            failures=failures,
            computed_tokens=counts["tokens/prompt"] + counts["tokens/answer"] - counts["tokens/prompt-cached"],
            seconds={stage: end - start for stage, end, start in stages},
            counts={name: count for name, count in counts.items() if count},
        )

    def _write(self, text: str, prompts: list[Prompt], dropped: list[Example]) -> list[_Passage]:
        """Adds the prompts about a text to all of them, and examples without room to those; returns its passages."""
        examples = self._pool.select(text, self._config.shots.n) if self._pool else []
        while examples and not self._fits("a", examples):
            # The nearest stand last.
            dropped.append(examples.pop(0))
        passages = []
        for start, end in cut_passages(text, lambda passage: self._fits(passage, examples)):
            first = len(prompts)
            prompts += self._writer.write(text[start:end], examples)
            passages.append(_Passage(start, text[start:end], first, len(prompts)))
        return passages

    def _fits(self, passage: str, examples: Sequence[Example]) -> bool:
        """Whether the model has room for the prompts about a passage and their answers."""
        prompts, shortest = self._writer.write(passage, examples), self._writer.shortest_answers(passage)
        return all(
            self._model.count_tokens(prompt.messages) + prompt.max_answer_tokens <= self._model.max_tokens
            and self._count(answer) * _ROOM_FOR_MARKS <= prompt.max_answer_tokens
            for prompt, answer in zip(prompts, shortest, strict=True)
        )

    def _count(self, text: str) -> int:
        """Tokens of a text by itself."""
        return self._model.count_tokens([Message("user", text)]) - self._empty_tokens if text else 0

    def _read(self, passages: Sequence[_Passage], outcomes: Sequence[Outcome]) -> Reading:
        """The entities of a text from the answers about its passages."""
        pieces = []
        for passage in passages:
            own = outcomes[passage.first : passage.last]
            if error := next((outcome for outcome in own if isinstance(outcome, RecordError)), None):
                return Reading((), {}, error)
            answers = [outcome for outcome in own if isinstance(outcome, Answer)]
            reading = self._writer.read(passage.text, answers)
            if self._config.unparsable == "empty":
                reading = dataclasses.replace(reading, failure=None)
            pieces.append((passage.start, reading))
        return join_readings(pieces, self.labels)
