"""JSON as language models write it: read strictly, else mended by named repairs, with the place of every string.

    Sure! {'PER': ['Anna',]}    ->    {"PER": ["Anna"]}    by text-around, quotes, trailing-comma

Repairs work on tokens, so that the characters of a string are known to the end: scores are taken from them.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from transforms.prompts.answers import apply_repairs

_DEEPEST = 20
_CLOSERS = {"{": "}", "[": "]"}
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}

_STRICT = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<mark>[{}\[\]:,])
      | (?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
      | (?P<word>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)
    )""",
    re.VERBOSE | re.ASCII,
)
_STRING_END = re.compile(r"\s*(?:[,:\]}]|$)")
_LOOSE_WORD = re.compile(r"""[^\s,:\[\]{}"'“‘`][^,:\[\]{}\n]*|.""", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Text:
    """A string, or a bare word or number.

    Attributes:
      value: what it says.
      first: where in the answer its characters begin, quotes aside.
      last: where they end.
      is_quoted: whether it is a string.
    """

    value: str
    first: int
    last: int
    is_quoted: bool = True


@dataclasses.dataclass(frozen=True)
class Pairs:
    """An object: its keys and values in order, so that a key may come twice."""

    pairs: "tuple[tuple[Text, Node], ...]"


@dataclasses.dataclass(frozen=True)
class Items:
    """An array."""

    items: "tuple[Node, ...]"


Node = Text | Pairs | Items


class _Token(NamedTuple):
    """A piece of JSON: its kind (a bracket, a comma, a colon, string, loose, open or word), and where it stands."""

    kind: str
    value: str
    first: int
    last: int


class _NotJson(ValueError):
    pass


def read_json(text: str) -> tuple[Node, tuple[str, ...]] | None:
    """An answer to its value and the names of the repairs that it took; None where it holds no JSON.

    | repair         | what it mends                                                       |
    |----------------|---------------------------------------------------------------------|
    | fence          | the JSON stands in a code block                                     |
    | text-around    | there is other text before or after it                              |
    | quotes         | other quotation marks than JSON's, or such a mark within a string   |
    | trailing-comma | a comma before a closing bracket                                    |
    | cut            | the end is missing; a string that was not finished is left out      |
    """
    try:
        return _parse(list(_lex_strictly(text))), ()
    except _NotJson:
        pass
    opening = re.search(r"[{\[]", text)
    if opening is None:
        return None
    tokens = list(_lex_loosely(text, opening.start()))
    end = _find_end(tokens)
    around = [text[: opening.start()].strip(), text[tokens[end - 1].last :].strip() if end else ""]
    outer = _name_surroundings(*around)
    mended, used = apply_repairs(tokens[:end] if end else tokens, _REPAIRS)
    try:
        return _parse(mended), (*outer, *used)
    except _NotJson:
        return None


def _lex_strictly(text: str) -> Iterator[_Token]:
    at = 0
    end = len(text.rstrip(" \t\r\n"))
    while at < end:
        match = _STRICT.match(text, at)
        if match is None:
            raise _NotJson
        kind = str(match.lastgroup)
        first, at = match.span(kind)
        value = match[kind]
        if kind == "string":
            yield _Token(kind, json.loads(value), first + 1, at - 1)
        else:
            yield _Token(value if kind == "mark" else kind, value, first, at)


def _lex_loosely(text: str, at: int) -> Iterator[_Token]:
    """Tokens of anything: strings may be quoted in other ways, unfinished (open) or bare words."""
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif (match := _STRICT.match(text, at)) and match["string"] and _ends_string(text, match.end()):
            yield _Token("string", json.loads(match["string"]), at + 1, match.end() - 1)
            at = match.end()
        elif text[at] in _QUOTES:
            end = _find_quote(text, at)
            kind, last = ("open", len(text)) if end is None else ("loose", end)
            yield _Token(kind, _unescape(text[at + 1 : last]), at + 1, last)
            at = last + 1
        elif text[at] in "{}[]:,":
            yield _Token(text[at], text[at], at, at + 1)
            at += 1
        else:
            word = str(_LOOSE_WORD.match(text, at)[0]).rstrip()  # type: ignore[index]
            yield _Token("word", word, at, at + len(word))
            at += len(word)


def _ends_string(text: str, at: int) -> bool:
    """Whether what follows a quotation mark follows the end of a string."""
    return _STRING_END.match(text, at) is not None


def _find_quote(text: str, at: int) -> int | None:
    """The mark that closes the string which begins at `at`: the first one that something can follow."""
    closing = _QUOTES[text[at]]
    end = text.find(closing, at + 1)
    while end != -1:
        is_escaped = (end - len(text[:end].rstrip("\\"))) % 2 == 1
        if not is_escaped and _ends_string(text, end + 1):
            return end
        end = text.find(closing, end + 1)
    return None


def _unescape(body: str) -> str:
    """The content of a string with escapes as far as they are JSON's; a quotation mark needs none."""
    plain = re.sub(r"(\\.)|\"", lambda match: match[1] or '\\"', body.replace("\\'", "'"), flags=re.DOTALL)
    try:
        return str(json.loads(f'"{plain}"', strict=False))
    except ValueError:
        return body


def _find_end(tokens: list[_Token]) -> int:
    """How many tokens there are up to the bracket that closes the first one; 0 where none does."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token.kind in _CLOSERS) - (token.kind in _CLOSERS.values())
        if depth == 0:
            return at + 1
    return 0


def _name_surroundings(before: str, after: str) -> tuple[str, ...]:
    is_fenced = re.fullmatch(r"(?:.*\n)?```\w*", before, re.DOTALL) is not None
    before = re.sub(r"```\w*$", "", before).strip() if is_fenced else before
    after = after.removeprefix("```").strip() if is_fenced else after
    return ("fence",) * is_fenced + ("text-around",) * bool(before or after)


def _mend_quotes(tokens: list[_Token]) -> list[_Token]:
    return [token._replace(kind="string") if token.kind == "loose" else token for token in tokens]


def _drop_trailing_commas(tokens: list[_Token]) -> list[_Token]:
    following = [*(token.kind for token in tokens[1:]), ""]
    return [
        token
        for token, after in zip(tokens, following, strict=True)
        if token.kind != "," or after not in _CLOSERS.values()
    ]


def _close_cut(tokens: list[_Token]) -> list[_Token]:
    """Leaves out what has only begun, and closes what is open."""
    opened: list[str] = []
    for token in tokens:
        if token.kind in _CLOSERS:
            opened.append(token.kind)
        elif token.kind in _CLOSERS.values() and opened:
            opened.pop()
    if not opened:
        return tokens
    kept = list(tokens)
    while kept and (kept[-1].kind in {",", ":", "open", "word"} or (opened[-1] == "{" and _is_key(kept))):
        kept.pop()
    end = tokens[-1].last
    return [*kept, *(_Token(_CLOSERS[kind], _CLOSERS[kind], end, end) for kind in reversed(opened))]


def _is_key(tokens: list[_Token]) -> bool:
    """Whether the last token is a key that waits for its value."""
    return tokens[-1].kind == "string" and tokens[-2].kind in {"{", ","}


_REPAIRS: tuple[tuple[str, Callable[[list[_Token]], list[_Token]]], ...] = (
    ("quotes", _mend_quotes),
    ("trailing-comma", _drop_trailing_commas),
    ("cut", _close_cut),
)


def _parse(tokens: list[_Token]) -> Node:
    """All of the tokens to one value."""
    node, at = _parse_value(tokens, 0, 0)
    if at != len(tokens):
        raise _NotJson
    return node


def _parse_value(tokens: list[_Token], at: int, depth: int) -> tuple[Node, int]:
    if at >= len(tokens) or depth > _DEEPEST:
        raise _NotJson
    token = tokens[at]
    if token.kind in {"string", "word"}:
        return Text(token.value, token.first, token.last, token.kind == "string"), at + 1
    if token.kind not in _CLOSERS:
        raise _NotJson
    closer = _CLOSERS[token.kind]
    parts: list[tuple[Text, Node]] = []
    at += 1
    while _kind(tokens, at) != closer:
        if parts:
            at = _expect(tokens, at, ",")
        key: Node = Text("", 0, 0)
        if closer == "}":
            key, at = _parse_value(tokens, at, depth + 1)
            at = _expect(tokens, at, ":")
        value, at = _parse_value(tokens, at, depth + 1)
        if not isinstance(key, Text):
            raise _NotJson
        parts.append((key, value))
    return (Pairs(tuple(parts)) if closer == "}" else Items(tuple(value for _, value in parts))), at + 1


def _kind(tokens: list[_Token], at: int) -> str:
    return tokens[at].kind if at < len(tokens) else ""


def _expect(tokens: list[_Token], at: int, kind: str) -> int:
    if _kind(tokens, at) != kind:
        raise _NotJson
    return at + 1
