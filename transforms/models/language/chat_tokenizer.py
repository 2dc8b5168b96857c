"""How a conversation becomes tokens, and tokens become an answer.

A model's chat template says how it was taught to read turns. A model without one reads the turns as plain text, one
after the other with a blank line between, so that a template's own words have to say who speaks. Marks of the
vocabulary (such as the end of a turn) that stand in a document are text like any other: they cannot end a turn.
"""

import re
from collections.abc import Sequence
from typing import Any

from schemas.errors import CheckpointError
from schemas.prompts import Message

# Templates may ask for the day, and the same prompt is to be the same every day; or whether to think aloud first.
_DAY = "1 January 2025"
_DAY_MACRO = f"{{% macro strftime_now(form) %}}{_DAY}{{% endmacro %}}"
_PROBE = (Message("user", "question"), Message("assistant", "answer"))


class ChatTokenizer:
    """The tokenizer of a language model; safe for threads.

    Args:
      tokenizer: a fast tokenizer of transformers.
      stops: ids that end an answer, beside the tokenizer's own and the end of a turn in its chat template.
      is_causal: the answer goes on from the prompt, which therefore does not end with an end of its own.

    Attributes:
      stops: ids that end an answer.

    Raises:
      CheckpointError: it is not a fast tokenizer.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[int] = (), *, is_causal: bool = True) -> None:
        from tokenizers import Tokenizer

        if not getattr(tokenizer, "is_fast", False):
            raise CheckpointError("expected a tokenizer that the tokenizers library runs, found one in Python")
        self._tokenizer = tokenizer
        self._is_causal = is_causal
        self._template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
        if "strftime_now" in self._template:
            self._template = _DAY_MACRO + self._template
        self._marked = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._marked.no_padding()
        self._marked.no_truncation()
        self._unmarked = Tokenizer.from_str(self._marked.to_str())
        self._unmarked.encode_special_tokens = True
        marks = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._marks = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))) or r"(?!)")
        ends = (*stops, tokenizer.eos_token_id, self._find_end_of_turn())
        self.stops = frozenset(int(end) for end in ends if end is not None)

    def to_json(self) -> str:
        """The tokenizer as the tokenizers library writes it."""
        return str(self._marked.to_str())

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """A conversation to the ids of a prompt that the model answers."""
        if not self._template:
            text = "\n\n".join(message.content for message in messages) + ("\n\n" if self._is_causal else "")
            ids = list(self._unmarked.encode(text).ids)
            while self._is_causal and ids and ids[-1] in self.stops:
                ids.pop()
            return ids
        contents = [message.content for message in messages]
        if not any(self._marks.search(content) for content in contents):
            return list(self._marked.encode(self._render(messages), add_special_tokens=False).ids)
        return self._encode_apart(messages)

    def split(self, ids: Sequence[int]) -> tuple[str, ...]:
        """The tokens of an answer as text, which together are the answer.

        A character that several tokens spell belongs to the last of them; the others are empty.
        """
        text = self._decode(ids)
        pieces, done = [], 0
        for end in range(1, len(ids) + 1):
            beginning = self._decode(ids[:end])
            # Half a character is decoded to something else than it is in the end.
            known = max(done, _count_common(beginning, text))
            pieces.append(text[done:known])
            done = known
        if pieces:
            pieces[-1] += text[done:]
        return tuple(pieces)

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._marked.decode(list(ids), skip_special_tokens=True))

    def _render(self, messages: Sequence[Message], *, is_open: bool = True) -> str:
        """The chat template's text; what the system says goes to the user where the template has no place for it."""
        import jinja2

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._apply_template(turns, is_open=is_open)
        except jinja2.TemplateError as error:
            if len(turns) < 2 or turns[0]["role"] != "system":
                raise CheckpointError(f"the model's chat template refuses the prompt: {error}") from error
        system, first, *rest = turns
        joined = {"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}
        try:
            return self._apply_template([joined, *rest], is_open=is_open)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"the model's chat template refuses the prompt: {error}") from error

    def _apply_template(self, turns: list[dict[str, str]], *, is_open: bool) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                chat_template=self._template,
                add_generation_prompt=is_open,
                date_string=_DAY,
                enable_thinking=False,
            )
        )

    def _encode_apart(self, messages: Sequence[Message]) -> list[int]:
        """As `encode`, with marks read in what the template writes and not in what the messages say."""
        stand_ins = [Message(message.role, f"\ue000{at}\ue001") for at, message in enumerate(messages)]
        ids: list[int] = []
        for at, part in enumerate(re.split("\ue000(\\d+)\ue001", self._render(stand_ins))):
            if at % 2:
                ids += self._unmarked.encode(messages[int(part)].content, add_special_tokens=False).ids
            else:
                ids += self._marked.encode(part, add_special_tokens=False).ids
        return ids

    def _find_end_of_turn(self) -> int | None:
        """The mark that the chat template writes behind an answer, if it writes one."""
        if not self._template:
            return None
        try:
            _, found, tail = self._render(_PROBE, is_open=False).rpartition(_PROBE[-1].content)
        except CheckpointError:
            return None
        mark = self._marks.match(tail.lstrip()) if found else None
        return self._marked.token_to_id(mark[0]) if mark else None


def _count_common(one: str, other: str) -> int:
    """Characters that two texts begin with in common.

    >>> _count_common("Brü", "Brücke"), _count_common("Br�", "Brücke")
    (3, 2)
    """
    if other.startswith(one):
        return len(one)
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
