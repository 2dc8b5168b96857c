"""What a language model is to the rest of spanmill: something that answers prompts."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from schemas.errors import RecordError
from schemas.prompts import Answer, Message, Prompt

Outcome = Answer | RecordError
OnAnswer = Callable[[int, Outcome], None]


class LanguageModel(Protocol):
    """Answers prompts; shared by the threads of a process."""

    @property
    def max_tokens(self) -> int:
        """Most tokens of a prompt and its answer together."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a prompt with these messages, or an upper bound of them where the tokenizer is not known."""

    def answer(self, prompts: Sequence[Prompt], *, on_answer: OnAnswer | None = None) -> list[Outcome]:
        """Answers each prompt, or says why it cannot be; one that fails costs its neighbours nothing.

        The most probable token is taken each time, so that the same prompt has the same answer.

        Args:
          prompts: what is asked.
          on_answer: is told each prompt's position and outcome once, as soon as it is known and from any thread.

        Raises:
          ModelError: the model, its device or its server is broken for good.
        """


class LanguageModelConfig(Protocol):
    """What travels to the workers in place of a language model."""

    @property
    def digest(self) -> str:
        """SHA-256 over everything about the model that changes its answers, hex."""

    @property
    def is_remote(self) -> bool:
        """Whether a server answers, and not this process."""

    def describe(self) -> dict[str, Any]:
        """The same by name, without secrets."""

    def load(self) -> LanguageModel:
        """Loads the model, or opens the connection; called once per process."""
