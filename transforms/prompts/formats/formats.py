"""The formats of answers by name. A format is a file with the same five functions, and a row here."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas.prompts import Grammar
from transforms.prompts.answers import Parsed
from transforms.prompts.examples import Example
from transforms.prompts.formats import json_object, marks, questions


class Format(NamedTuple):
    """How entities are written in an answer.

    Attributes:
      name_labels: labels to how each is written in prompts and answers.
      show: a text and the labels to the text as prompts show it.
      render: an example and the labels to the right answer.
      constrain: a text and the labels to the grammar of the answers that it may have.
      parse: an answer, its text and the labels to what was read; None where nothing can be.
      is_by_label: whether each label is asked for by itself; then `labels` holds one.
    """

    name_labels: Callable[[Sequence[str]], dict[str, str]]
    show: Callable[[str, Sequence[str]], str]
    render: Callable[[Example, Sequence[str]], str]
    constrain: Callable[[str, Sequence[str]], Grammar]
    parse: Callable[[str, str, Sequence[str]], Parsed | None]
    is_by_label: bool = False


FORMATS = {
    "json": Format(
        json_object.name_labels, json_object.show, json_object.render, json_object.constrain, json_object.parse
    ),
    "marks": Format(marks.name_labels, marks.show, marks.render, marks.constrain, marks.parse),
    "questions": Format(
        questions.name_labels,
        questions.show,
        questions.render,
        questions.constrain,
        questions.parse,
        is_by_label=True,
    ),
}
