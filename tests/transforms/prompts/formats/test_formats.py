"""What every format of answers promises."""

import json
from collections import Counter

import jsonschema
import pytest
from hypothesis import given

from tests.transforms.prompts.recipes import LABELS, build_answer, examples
from transforms.prompts.alignment import Aligner
from transforms.prompts.examples import Example
from transforms.prompts.formats.formats import FORMATS
from transforms.prompts.readings import drop_overlapping, find_spans


def _asked(name):
    return [[label] for label in LABELS] if FORMATS[name].is_by_label else [LABELS]


@pytest.mark.parametrize("name", FORMATS)
@given(example=examples())
def test_the_right_answer_is_read_as_the_entities_of_the_example(name, example):
    spans, counts = [], Counter()
    for asked in _asked(name):
        answer = FORMATS[name].render(example, asked)
        parsed = FORMATS[name].parse(answer, example.text, asked)
        assert parsed.repairs == ()
        spans += find_spans(parsed.mentions, build_answer(answer), Aligner(example.text), counts)
    found = drop_overlapping(spans, LABELS, counts)
    assert tuple(span[:3] for span in found) == example.spans
    assert {span.status for span in found} <= {"exact"}
    assert counts["spans/overlapping"] == 0


@pytest.mark.parametrize("name", FORMATS)
@given(example=examples())
def test_a_mention_is_where_the_answer_says_it_is(name, example):
    for asked in _asked(name):
        answer = FORMATS[name].render(example, asked)
        for mention in FORMATS[name].parse(answer, example.text, asked).mentions:
            spelled = answer[mention.first : mention.last]
            if name == "marks":
                assert spelled.startswith("<")
                assert spelled.endswith(">")
            else:
                assert json.loads(f'"{spelled}"') == mention.text


@pytest.mark.parametrize("name", ["json", "questions"])
@given(example=examples())
def test_the_right_answer_fits_the_schema(name, example):
    for asked in _asked(name):
        grammar = FORMATS[name].constrain(example.text, asked)
        assert grammar.kind == "json_schema"
        jsonschema.validate(json.loads(FORMATS[name].render(example, asked)), json.loads(grammar.text))


@pytest.mark.parametrize("name", FORMATS)
def test_labels_that_are_not_asked_for_are_left_out(name):
    example = Example("Anna met Otto.", ((0, 4, "PER"), (9, 13, "OTHER")))
    answer = FORMATS[name].render(example, ["PER"])
    assert "Anna" in answer
    assert [m.text for m in FORMATS[name].parse(answer, example.text, ["PER"]).mentions] == ["Anna"]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("answer", ["", "I cannot help with that.", "\0", "<", "{", "```"])
def test_what_says_nothing_of_entities_is_not_read(name, answer):
    parsed = FORMATS[name].parse(answer, "Anna met Otto in the old town.", ["PER"])
    assert parsed is None or (answer == "{" and not parsed.mentions)
