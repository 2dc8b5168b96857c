import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.prompts.examples import Example
from transforms.prompts.formats.json_object import constrain, parse, render

LABELS = ["PER", "ORG"]
TEXT = "Anna and Otto met at the UN."


def _read(answer):
    parsed = parse(answer, TEXT, LABELS)
    return None if parsed is None else ([(m.text, m.label) for m in parsed.mentions], parsed.repairs)


ANNA = [("Anna", "PER")]


@pytest.mark.parametrize(
    ("answer", "mentions", "repairs"),
    [
        ('{"PER": ["Anna"], "ORG": []}', ANNA, ()),
        ('{"ORG": [], "PER": ["Anna"]}', ANNA, ()),
        ('{"PER": "Anna", "ORG": null}', ANNA, ("null-for-list", "string-for-list")),
        ('{"Person": ["Anna"], "org": []}', ANNA, ("label-name",)),
        ('{"PER": ["Anna"], "ORG": [], "DATE": ["1996"]}', ANNA, ("unknown-label",)),
        ('{"PER": ["Anna"], "ORG": [], "PER": ["Otto"]}', [*ANNA, ("Otto", "PER")], ("duplicate-label",)),
        ('{"PER": ["Anna"]}', ANNA, ("missing-label",)),
        ("{}", [], ("missing-label",)),
        ('{"entities": {"PER": ["Anna"], "ORG": []}}', ANNA, ("nested",)),
        ('{"PER": [{"text": "Anna"}], "ORG": []}', ANNA, ("objects",)),
        ('[{"Text": "Anna", "label": "PER"}]', ANNA, ("objects", "missing-label")),
        ('[{"PER": ["Anna"]}, {"ORG": []}]', ANNA, ("objects",)),
        (
            '{"entities": [{"name": "Anna", "type": "person"}]}',
            ANNA,
            ("nested", "objects", "label-name", "missing-label"),
        ),
        ('{"PER": [1996, ""], "ORG": []}', [("1996", "PER")], ("no-quotes", "empty-string")),
        ("{PER: [Anna], ORG: []}", ANNA, ("no-quotes",)),
        ('Yes: {"PER": ["Anna"], "ORG": []}', ANNA, ("text-around",)),
    ],
)
def test_what_models_write_instead_is_mended_and_named(answer, mentions, repairs):
    assert _read(answer) == (mentions, repairs)


@pytest.mark.parametrize(
    "answer",
    [
        "null",
        '"Anna"',
        '["Anna"]',
        '{"DATE": ["1996"]}',
        '{"PER": {"ORG": {}}, "ORG": []}',
        '{"PER": [["Anna"]], "ORG": []}',
    ],
)
def test_what_has_another_shape_is_not_read(answer):
    assert _read(answer) is None


@given(st.text(alphabet='{}[]:,"PERORG Anna', max_size=40))
def test_only_answers_that_the_schema_allows_need_no_repair(answer):
    schema = json.loads(constrain(TEXT, LABELS).text)
    parsed = parse(answer, TEXT, LABELS)
    if parsed is not None and parsed.repairs == ():
        jsonschema.validate(json.loads(answer), schema)


def test_the_schema_wants_every_label_in_order_and_no_other():
    schema = json.loads(constrain(TEXT, LABELS).text)
    assert list(schema["properties"]) == schema["required"] == LABELS
    for wrong in (
        {"PER": []},
        {"PER": [], "ORG": [], "X": []},
        {"PER": [""], "ORG": []},
        {"PER": [TEXT + "!"], "ORG": []},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_strings_are_as_long_as_they_like_where_the_text_needs_escapes():
    for text in ('the "UN"', "two\nlines", "C:\\"):
        schema = json.loads(constrain(text, LABELS).text)
        assert [mentions["items"] for mentions in schema["properties"].values()] == [{"type": "string"}] * 2


def test_a_mention_that_comes_twice_is_said_once():
    assert render(Example("Anna, Anna", ((0, 4, "PER"), (6, 10, "PER"))), ["PER"]) == '{"PER": ["Anna"]}'
