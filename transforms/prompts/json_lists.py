"""Lists of mentions in JSON: how they are asked for, and the shapes that models give them instead.

    "Anna"    null    [{"text": "Anna"}]    [1996, ""]    ->    ["Anna"]    []    ["Anna"]    ["1996"]

| repair          | what it mends                                        |
|-----------------|------------------------------------------------------|
| string-for-list | one string in place of a list                        |
| null-for-list   | null in place of a list                              |
| objects         | objects with the mention among their values          |
| no-quotes       | words or numbers without quotation marks             |
| empty-string    | strings without a word                               |
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from transforms.prompts.examples import Example
from transforms.prompts.json_answers import Items, Node, Pairs, Text
from transforms.text.words import find_words

MENTION_KEYS = ("text", "mention", "entity", "name", "word", "value", "span")
"""Keys under which models put a mention when they answer with objects; the first that is there counts."""

_LONGEST_MENTION = 200
_MOST_MENTIONS = 50


def find_mentions(example: Example, label: str) -> list[str]:
    """The different mentions of a label, in the order of the text."""
    return list(dict.fromkeys(example.text[start:end] for start, end, own in example.spans if own == label))


def list_schema(text: str) -> dict[str, Any]:
    """JSON schema of the mentions of one label: no longer than the text, and not more than it has words."""
    items: dict[str, Any] = {"type": "string"}
    # xgrammar allows no escapes in strings of limited length, so where there may be need of one, there is no limit.
    if json.dumps(text, ensure_ascii=False) == f'"{text}"':
        items |= {"minLength": 1, "maxLength": min(len(text), _LONGEST_MENTION)}
    return {"type": "array", "items": items, "maxItems": min(len(find_words(text)), _MOST_MENTIONS)}


def read_list(node: Node) -> tuple[Text, ...] | None:
    """The mentions of a list that is as it should be, else None."""
    if not isinstance(node, Items):
        return None
    mentions = tuple(item for item in node.items if isinstance(item, Text) and item.is_quoted and item.value.strip())
    return mentions if len(mentions) == len(node.items) else None


def find_value(node: Pairs, keys: tuple[str, ...]) -> Node | None:
    """The value of the first of some keys that an object has, in whatever case."""
    values = {key.value.casefold(): value for key, value in node.pairs}
    return next((values[key] for key in keys if key in values), None)


def _wrap_string(node: Node) -> Node:
    return Items((node,)) if isinstance(node, Text) and (node.is_quoted or node.value != "null") else node


def _replace_null(node: Node) -> Node:
    return Items(()) if isinstance(node, Text) and not node.is_quoted and node.value == "null" else node


def _unwrap_objects(node: Node) -> Node:
    if not isinstance(node, Items):
        return node
    found = (find_value(item, MENTION_KEYS) if isinstance(item, Pairs) else None for item in node.items)
    return Items(tuple(item if value is None else value for item, value in zip(node.items, found, strict=True)))


def _quote_words(node: Node) -> Node:
    if not isinstance(node, Items):
        return node
    return Items(tuple(dataclasses.replace(i, is_quoted=True) if isinstance(i, Text) else i for i in node.items))


def _drop_empty(node: Node) -> Node:
    if not isinstance(node, Items):
        return node
    return Items(tuple(item for item in node.items if not isinstance(item, Text) or item.value.strip()))


LIST_REPAIRS: tuple[tuple[str, Callable[[Node], Node]], ...] = (
    ("null-for-list", _replace_null),
    ("string-for-list", _wrap_string),
    ("objects", _unwrap_objects),
    ("no-quotes", _quote_words),
    ("empty-string", _drop_empty),
)
