"""Answers that are one JSON object, with a list of mentions for each label.

    {"PER": ["Anna"], "ORG": []}

An answer is as it should be when it has every label once, in any order, and strings only. What else is mended, beside
what `json_answers` and `json_lists` mend:

| repair          | what it mends                                                               |
|-----------------|-----------------------------------------------------------------------------|
| nested          | the object is the only value of another one                                 |
| objects         | a list of objects, with a mention and its label each, or with a label each  |
| label-name      | a label in other letters, such as `person` for PER                          |
| unknown-label   | labels that nobody asked for, beside those that were                        |
| duplicate-label | a label that comes twice                                                    |
| missing-label   | a label that is left out has no mentions                                    |
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence

from schemas.prompts import Grammar
from transforms.prompts.answers import Mention, Parsed, apply_repairs, match_label
from transforms.prompts.examples import Example
from transforms.prompts.json_answers import Items, Node, Pairs, Text, read_json
from transforms.prompts.json_lists import LIST_REPAIRS, MENTION_KEYS, find_mentions, find_value, list_schema, read_list

_LABEL_KEYS = ("label", "type", "category", "class", "entity_type", "tag")


def name_labels(labels: Sequence[str]) -> dict[str, str]:
    """How each label is written in prompts and answers: as it is."""
    return {label: label for label in labels}


def show(text: str, labels: Sequence[str]) -> str:  # noqa: ARG001  every format has the same functions
    """A text as prompts show it: as it is."""
    return text


def render(example: Example, labels: Sequence[str]) -> str:
    """The right answer for an example.

    >>> render(Example("Anna met Anna.", ((0, 4, "PER"), (9, 13, "PER"))), ["PER", "ORG"])
    '{"PER": ["Anna"], "ORG": []}'
    """
    return json.dumps({label: find_mentions(example, label) for label in labels}, ensure_ascii=False)


def constrain(text: str, labels: Sequence[str]) -> Grammar:
    """The answers that a text may have, as a JSON schema."""
    schema = {
        "type": "object",
        "properties": {label: list_schema(text) for label in labels},
        "required": list(labels),
        "additionalProperties": False,
    }
    return Grammar("json_schema", json.dumps(schema, ensure_ascii=False))


def parse(answer: str, text: str, labels: Sequence[str]) -> Parsed | None:  # noqa: ARG001
    """An answer to its mentions; None where it cannot be read."""
    found = read_json(answer)
    if found is None:
        return None
    node, repairs = found
    if (mentions := _read(node, labels)) is not None:
        return Parsed(mentions, repairs)
    node, shape_repairs = apply_repairs(
        node,
        (
            ("nested", functools.partial(_unnest, labels=labels)),
            ("objects", _group_objects),
            ("no-quotes", _quote_labels),
            ("label-name", functools.partial(_rename_labels, labels=labels)),
            ("unknown-label", functools.partial(_drop_unknown, labels=labels)),
            *((name, functools.partial(_mend_values, mend=mend)) for name, mend in LIST_REPAIRS),
            ("duplicate-label", _merge_duplicates),
            ("missing-label", functools.partial(_add_missing, labels=labels)),
        ),
    )
    mentions = _read(node, labels)
    # Some repairs mend the object and its lists under one name.
    return None if mentions is None else Parsed(mentions, tuple(dict.fromkeys((*repairs, *shape_repairs))))


def _read(node: Node, labels: Sequence[str]) -> tuple[Mention, ...] | None:
    """The mentions of an object that is as it should be, else None."""
    if not isinstance(node, Pairs) or sorted(key.value for key, _ in node.pairs if key.is_quoted) != sorted(labels):
        return None
    mentions: list[Mention] = []
    for key, value in node.pairs:
        texts = read_list(value)
        if texts is None:
            return None
        mentions += [Mention(text.value, key.value, text.first, text.last) for text in texts]
    return tuple(mentions)


def _unnest(node: Node, labels: Sequence[str]) -> Node:
    if isinstance(node, Pairs) and len(node.pairs) == 1:
        ((key, value),) = node.pairs
        holds_all = isinstance(value, Pairs) or (
            isinstance(value, Items) and any(isinstance(item, Pairs) for item in value.items)
        )
        if holds_all and match_label(key.value, labels) is None:
            return value
    return node


def _group_objects(node: Node) -> Node:
    if not isinstance(node, Items):
        return node
    pairs: list[tuple[Text, Node]] = []
    for item in node.items:
        if not isinstance(item, Pairs):
            return node
        label, mention = find_value(item, _LABEL_KEYS), find_value(item, MENTION_KEYS)
        if isinstance(label, Text) and mention is not None:
            pairs.append((label, mention if isinstance(mention, Items) else Items((mention,))))
        else:
            pairs += item.pairs
    return Pairs(tuple(pairs))


def _quote_labels(node: Node) -> Node:
    if not isinstance(node, Pairs):
        return node
    return Pairs(tuple((dataclasses.replace(key, is_quoted=True), value) for key, value in node.pairs))


def _rename_labels(node: Node, labels: Sequence[str]) -> Node:
    if not isinstance(node, Pairs):
        return node
    return Pairs(tuple((_rename(key, labels), value) for key, value in node.pairs))


def _rename(key: Text, labels: Sequence[str]) -> Text:
    known = key.value if key.value in labels else match_label(key.value, labels)
    return key if known is None else dataclasses.replace(key, value=known)


def _drop_unknown(node: Node, labels: Sequence[str]) -> Node:
    """Leaves an object alone that has no label that is known: it says something else."""
    if not isinstance(node, Pairs):
        return node
    known = tuple((key, value) for key, value in node.pairs if key.value in labels)
    return Pairs(known) if known else node


def _mend_values(node: Node, mend: Callable[[Node], Node]) -> Node:
    return Pairs(tuple((key, mend(value)) for key, value in node.pairs)) if isinstance(node, Pairs) else node


def _merge_duplicates(node: Node) -> Node:
    if not isinstance(node, Pairs):
        return node
    merged: dict[str, tuple[Text, Node]] = {}
    for key, value in node.pairs:
        known = merged.get(key.value, (key, Items(())))[1]
        if not isinstance(value, Items) or not isinstance(known, Items):
            return node
        merged[key.value] = key, Items((*known.items, *value.items))
    # Of a label that comes once, nothing has changed.
    return node if len(merged) == len(node.pairs) else Pairs(tuple(merged.values()))


def _add_missing(node: Node, labels: Sequence[str]) -> Node:
    if not isinstance(node, Pairs):
        return node
    found = {key.value for key, _ in node.pairs}
    added = tuple((Text(label, 0, 0), Items(())) for label in labels if label not in found)
    return Pairs((*node.pairs, *added)) if found or not node.pairs else node
