"""Texts to prompts, and the answers to them to entities.

    system       instructions, the same for all texts  ┐
    user         the text of an example                │ shared as far as the examples are the same
    assistant    its entities, in the format           ┘
    user         the text

What differs comes last, so that what a model computed for the beginning of one prompt serves the next one.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.errors import ConfigError, TaggingError
from schemas.prompts import Answer, Message, Prompt
from transforms.prompts.alignment import Aligner, AlignmentConfig
from transforms.prompts.examples import Example
from transforms.prompts.formats.formats import FORMATS, Format
from transforms.prompts.readings import Reading, ReadSpan, drop_overlapping, find_spans
from transforms.prompts.templates import Template


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptWriter:
    """Writes prompts about texts and reads the answers; it holds no state and may be shared.

    Attributes:
      template: what prompts say.
      labels: descriptions by label, in the order in which they are asked for; a description may be empty.
      max_answer_tokens: most tokens of an answer.
      is_constrained: whether answers are to be held to the grammar of the format.
      alignment: what counts as found in the text.
    """

    template: Template
    labels: Mapping[str, str]
    max_answer_tokens: int
    is_constrained: bool
    alignment: AlignmentConfig = dataclasses.field(default_factory=AlignmentConfig)

    def __post_init__(self) -> None:
        if not self.labels or not all(label.strip() for label in self.labels):
            raise ConfigError(f"expected one label at least, and no empty one, found {list(self.labels)}; see --labels")
        if self.max_answer_tokens < 1:
            raise ConfigError(f"expected one token at least for answers, found {self.max_answer_tokens}")

    @property
    def grammar_kind(self) -> str:
        """The kind of the grammars that prompts carry; empty where they carry none."""
        return self._format.constrain("a", self._asked[0]).kind if self.is_constrained else ""

    def write(self, text: str, examples: Sequence[Example] = ()) -> list[Prompt]:
        """A text to its prompts: one, or one per label; none for a text that is all white space.

        Args:
          text: the text; white space at its ends is left out.
          examples: what is shown before it, in this order.
        """
        body = text.strip()
        return [self._write_one(body, examples, asked) for asked in self._asked] if body else []

    def shortest_answers(self, text: str) -> list[str]:
        """What a model has to say at least, for each prompt; where the text is repeated, that needs as many tokens."""
        body = text.strip()
        return [self._format.render(Example(body, ()), asked) for asked in self._asked] if body else []

    def read(self, text: str, answers: Sequence[Answer]) -> Reading:
        """The answers to the prompts of a text, in their order, to its entities.

        An answer that cannot be read is counted; only when none can be, the reading has failed.
        """
        body = text.strip()
        shift = len(text) - len(text.lstrip())
        counts: collections.Counter[str] = collections.Counter()
        spans: list[ReadSpan] = []
        aligner = Aligner(body, self.alignment)
        for asked, answer in zip(self._asked if body else (), answers, strict=True):
            counts["answers/cut"] += answer.is_cut
            parsed = self._format.parse(answer.text, body, asked)
            if parsed is None:
                counts["answers/unparsable"] += 1
                continue
            counts["answers/repaired" if parsed.repairs else "answers/strict"] += 1
            counts.update(f"repairs/{name}" for name in parsed.repairs)
            spans += find_spans(parsed.mentions, answer, aligner, counts)
        kept = drop_overlapping(spans, list(self.labels), counts)
        moved = tuple(span._replace(start=span.start + shift, end=span.end + shift) for span in kept)
        failure = None
        if answers and counts["answers/unparsable"] == len(answers):
            failure = TaggingError(
                "unparsable", f"expected an answer in the format {self.template.format!r}, found none that can be read"
            )
        return Reading(moved, {name: count for name, count in sorted(counts.items()) if count}, failure)

    def describe(self) -> dict[str, Any]:
        """All that changes prompts or what is read out of answers, by name."""
        return {
            "template": self.template.describe(),
            # A list, since their order is that of the prompt.
            "labels": [[label, description] for label, description in self.labels.items()],
            "max_answer_tokens": self.max_answer_tokens,
            "is_constrained": self.is_constrained,
            "alignment": dataclasses.asdict(self.alignment),
        }

    @property
    def _format(self) -> Format:
        return FORMATS[self.template.format]

    @property
    def _asked(self) -> list[list[str]]:
        """The labels that each prompt asks for."""
        return [[label] for label in self.labels] if self._format.is_by_label else [list(self.labels)]

    def _write_one(self, body: str, examples: Sequence[Example], asked: Sequence[str]) -> Prompt:
        messages = []
        if instructions := self.template.render_system(self._shown_labels):
            messages.append(Message("system", instructions))
        for example in examples:
            messages.append(Message("user", self._ask(example.text, asked)))
            messages.append(Message("assistant", self._format.render(example, asked)))
        messages.append(Message("user", self._ask(body, asked)))
        grammar = self._format.constrain(body, asked) if self.is_constrained else None
        return Prompt(tuple(messages), self.max_answer_tokens, grammar)

    def _ask(self, text: str, asked: Sequence[str]) -> str:
        label = next(label for label in self._shown_labels if label["key"] == asked[0])
        return self.template.render_user(self._shown_labels, text=self._format.show(text, asked), label=label)

    @property
    def _shown_labels(self) -> list[dict[str, str]]:
        names = self._format.name_labels(list(self.labels))
        return [
            {"key": label, "name": names[label], "description": description}
            for label, description in self.labels.items()
        ]
