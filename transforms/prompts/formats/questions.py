"""Answers to one question per label: a JSON array with the mentions of that label.

    Which persons are named?    ->    ["Anna", "Otto"]

An answer is as it should be when it is an array of strings. What else is mended, beside what `json_answers` and
`json_lists` mend:

| repair  | what it mends                                                    |
|---------|------------------------------------------------------------------|
| wrapped | the array is the only value of an object, or that of the label   |
"""

import functools
import json
from collections.abc import Sequence

from schemas.prompts import Grammar
from transforms.prompts.answers import Mention, Parsed, apply_repairs, match_label
from transforms.prompts.examples import Example
from transforms.prompts.json_answers import Items, Node, Pairs, read_json
from transforms.prompts.json_lists import LIST_REPAIRS, find_mentions, list_schema, read_list


def name_labels(labels: Sequence[str]) -> dict[str, str]:
    """How each label is written in prompts and answers: as it is."""
    return {label: label for label in labels}


def show(text: str, labels: Sequence[str]) -> str:  # noqa: ARG001  every format has the same functions
    """A text as prompts show it: as it is."""
    return text


def render(example: Example, labels: Sequence[str]) -> str:
    """The right answer for an example and the one label that is asked for.

    >>> render(Example("Anna met Otto.", ((0, 4, "PER"), (9, 13, "PER"))), ["PER"])
    '["Anna", "Otto"]'
    """
    (label,) = labels
    return json.dumps(find_mentions(example, label), ensure_ascii=False)


def constrain(text: str, labels: Sequence[str]) -> Grammar:  # noqa: ARG001
    """The answers that a text may have, as a JSON schema."""
    return Grammar("json_schema", json.dumps(list_schema(text)))


def parse(answer: str, text: str, labels: Sequence[str]) -> Parsed | None:  # noqa: ARG001
    """An answer to its mentions; None where it cannot be read."""
    (label,) = labels
    found = read_json(answer)
    if found is None:
        return None
    node, repairs = found
    texts = read_list(node)
    if texts is None:
        node, shape_repairs = apply_repairs(node, (("wrapped", functools.partial(_unwrap, label=label)), *LIST_REPAIRS))
        repairs = (*repairs, *shape_repairs)
        texts = read_list(node)
    if texts is None:
        return None
    return Parsed(tuple(Mention(text.value, label, text.first, text.last) for text in texts), repairs)


def _unwrap(node: Node, label: str) -> Node:
    if not isinstance(node, Pairs):
        return node
    values = [value for key, value in node.pairs if match_label(key.value, [label])]
    if not values and len(node.pairs) == 1:
        values = [value for _, value in node.pairs if isinstance(value, Items)]
    return values[0] if len(values) == 1 else node
