"""What a language model is asked and what it answers."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclasses.dataclass(frozen=True)
class Grammar:
    """What an answer has to look like.

    Attributes:
      kind: `json_schema`, a JSON schema as JSON; or `gbnf`, a grammar as llama.cpp writes it, from `root`.
      text: the schema or grammar.
    """

    kind: Literal["json_schema", "gbnf"]
    text: str


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A conversation that a language model is to continue.

    Attributes:
      messages: the turns so far, the last of them the user's.
      max_answer_tokens: most tokens of the answer.
      grammar: what the answer has to look like, where decoding is to be constrained.
    """

    messages: tuple[Message, ...]
    max_answer_tokens: int
    grammar: Grammar | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a language model says.

    Attributes:
      text: the answer.
      pieces: the tokens of the answer as text; together they are `text`. Empty where the model does not tell.
      log_probs: natural logarithm of the probability of each piece.
      is_cut: the answer was still going on when its tokens ran out; one in JSON may have been brought to an end.
      prompt_tokens: tokens of the prompt.
      cached_tokens: those of them that were computed before, for another prompt with the same beginning.
      answer_tokens: tokens of the answer.
      requests: how often the model was asked for it; 0 for an answer that was kept from an earlier time.
    """

    text: str
    pieces: tuple[str, ...]
    log_probs: tuple[float, ...]
    is_cut: bool
    prompt_tokens: int
    cached_tokens: int
    answer_tokens: int
    requests: int = 1
