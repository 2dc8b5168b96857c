"""How many tokens a conversation has for a model that is elsewhere: by its tokenizer, or at most."""

import contextlib
from collections.abc import Callable, Sequence

from schemas.errors import ConfigError
from schemas.prompts import Message
from schemas.slices import display_uri

# What a chat template puts around a message, and before the first: roles, marks, a system text of its own.
_TOKENS_AROUND_MESSAGE = 16
_TOKENS_BEFORE_MESSAGES = 64


def load_counter(tokenizer: str) -> Callable[[Sequence[Message]], int]:
    """A tokenizer to what counts the tokens of messages, in the chat template where it has one.

    Raises:
      ConfigError: there is no such tokenizer.
    """
    from jinja2.exceptions import TemplateError
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    try:
        loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected a tokenizer at {display_uri(tokenizer)!r}, found none that loads") from error

    def count(messages: Sequence[Message]) -> int:
        if loaded.chat_template:
            turns = [{"role": message.role, "content": message.content} for message in messages]
            # A template may refuse a role, which the server then words in its own way.
            with contextlib.suppress(TemplateError):
                return len(loaded.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))
        return _surround(messages, sum(len(loaded(message.content)["input_ids"]) for message in messages))

    return count


def bound_tokens(messages: Sequence[Message]) -> int:
    """The most tokens that messages can have.

    No token of byte-level BPE, or of SentencePiece with byte fallback, is less than a byte.

    >>> bound_tokens([Message("user", "Zürich")])
    87
    """
    return _surround(messages, sum(len(message.content.encode(errors="replace")) for message in messages))


def _surround(messages: Sequence[Message], n_tokens: int) -> int:
    return n_tokens + _TOKENS_BEFORE_MESSAGES + _TOKENS_AROUND_MESSAGE * len(messages)
