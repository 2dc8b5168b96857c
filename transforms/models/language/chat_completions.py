"""The chat completions protocol: what goes to the server for a prompt, and what comes back made an answer.

OpenAI's servers, vLLM, llama.cpp's server and Ollama speak it. They differ in how a grammar is sent:

    json_schema   response_format   all of them
    gbnf          grammar           llama.cpp
    gbnf          structured_outputs.grammar   vLLM, from 0.12 on

What a server says of an error may quote the prompt, so that only codes that are single words are passed on.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from schemas.errors import RecordError
from schemas.prompts import Answer, Grammar, Prompt

GrammarStyle = Literal["json_schema", "llama.cpp", "vllm", "none"]
GRAMMAR_KINDS: dict[str, frozenset[str]] = {
    "json_schema": frozenset({"json_schema"}),
    "llama.cpp": frozenset({"json_schema", "gbnf"}),
    "vllm": frozenset({"json_schema", "gbnf"}),
    "none": frozenset(),
}
"""Kinds of grammar that can be sent in each style; in style none they are left out."""

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_TOO_LONG = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_TOO_LONG_WORDS = ("maximum context length", "context size", "context window")
_FILTERED = frozenset({"content_filter", "content_policy_violation"})


def build_request(prompt: Prompt, *, model: str, seed: int, style: GrammarStyle, log_probs: bool) -> dict[str, Any]:
    """A prompt to the body of its request.

    Args:
      prompt: what is asked.
      model: what the server calls the model.
      seed: for servers that break ties at random.
      style: how a grammar is sent.
      log_probs: whether to ask for the probabilities of the answer's tokens.
    """
    request: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in prompt.messages],
        "max_tokens": prompt.max_answer_tokens,
        "temperature": 0,
        "top_p": 1,
        "seed": seed,
    }
    if log_probs:
        # One alternative is asked for, since llama.cpp gives nothing at all for none and twenty when it is left open.
        request |= {"logprobs": True, "top_logprobs": 1}
    if prompt.grammar and style != "none":
        request |= _write_grammar(prompt.grammar, style)
    return request


def _write_grammar(grammar: Grammar, style: GrammarStyle) -> dict[str, Any]:
    if grammar.kind == "json_schema":
        schema = {"name": "answer", "strict": True, "schema": json.loads(grammar.text)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"grammar": grammar.text} if style == "llama.cpp" else {"structured_outputs": {"grammar": grammar.text}}


def read_answer(body: bytes) -> Answer:
    """The body of a response to an answer; token counts are 0 where the server does not tell.

    Raises:
      RecordError: the server withheld the answer because of what it says.
      ValueError: the body is no answer.
    """
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        is_text = isinstance(text, str)
        is_withheld = choice.get("finish_reason") == "content_filter" or bool(message.get("refusal"))
        usage = reply.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        cached = _count(details.get("cached_tokens"))
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("expected a chat completion") from error
    if not is_text:
        raise ValueError("expected a chat completion of text")
    if is_withheld:
        raise RecordError("content_filter", "expected an answer, found that the server withholds it")
    pieces, log_probs = _read_pieces(choice.get("logprobs"), text)
    return Answer(text, pieces, log_probs, choice.get("finish_reason") == "length", tokens[0], cached, tokens[1])


def _count(value: Any) -> int:
    return max(value, 0) if isinstance(value, int) else 0


def _read_pieces(log_probs: Any, text: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Tokens of an answer and their log probabilities; none where they do not make up the text."""
    try:
        tokens = [
            (token["token"].encode() if token.get("bytes") is None else bytes(token["bytes"]), float(token["logprob"]))
            for token in log_probs["content"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        return (), ()
    if not all(math.isfinite(log_prob) for _, log_prob in tokens):
        return (), ()
    return _cut_pieces(_join_characters(tokens), text)


def _join_characters(tokens: Sequence[tuple[bytes, float]]) -> list[tuple[str, float]]:
    """Tokens to text; those that share a character become one, and those without any text are left out."""
    pieces = []
    pending, total = b"", 0.0
    for raw, log_prob in tokens:
        pending, total = pending + raw, total + min(log_prob, 0.0)
        try:
            text = pending.decode()
        except UnicodeDecodeError:
            continue
        if text:
            pieces.append((text, total))
        pending, total = b"", 0.0
    return pieces


def _cut_pieces(pieces: Sequence[tuple[str, float]], text: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The pieces that lie in the text; servers may take a fence or a leading space off it. None where it is unclear."""
    joined = "".join(piece for piece, _ in pieces)
    first = joined.find(text)
    if not text or first < 0 or (joined != text and joined.find(text, first + 1) >= 0):
        return (), ()
    last = first + len(text)
    found = []
    start = 0
    for piece, log_prob in pieces:
        inside = piece[max(first - start, 0) : max(last - start, 0)]
        if inside:
            found.append((inside, log_prob))
        start += len(piece)
    return tuple(piece for piece, _ in found), tuple(log_prob for _, log_prob in found)


def read_error(body: bytes) -> tuple[frozenset[str], str]:
    """The body of an error to its codes, and its message in lower case, which may quote the prompt."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset(), ""
    error = value.get("error", value) if isinstance(value, dict) else {}
    if not isinstance(error, Mapping):
        return frozenset(), error.lower() if isinstance(error, str) else ""
    words = (error.get(name) for name in ("code", "type"))
    codes = frozenset(word for word in words if isinstance(word, str) and _CODE.fullmatch(word))
    message = error.get("message")
    return codes, message.lower() if isinstance(message, str) else ""


def explain_refusal(status: int, body: bytes) -> RecordError:
    """Why a server refuses one prompt: it is too long, its content is filtered, or something else is wrong with it."""
    codes, message = read_error(body)
    if codes & _TOO_LONG or any(words in message for words in _TOO_LONG_WORDS):
        return RecordError("too_long", "expected a prompt that fits the model, found a longer one")
    if codes & _FILTERED:
        return RecordError("content_filter", "expected an answer, found that the server's filter refuses the prompt")
    named = f" ({', '.join(sorted(codes))})" if codes else ""
    return RecordError(
        "prompt_refused",
        f"expected an answer, found status {status}{named}; a server that takes no response_format needs grammars=none",
    )
