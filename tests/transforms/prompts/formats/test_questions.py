import pytest

from transforms.prompts.formats.questions import parse


@pytest.mark.parametrize(
    ("answer", "mentions", "repairs"),
    [
        ('["Anna", "Otto"]', ["Anna", "Otto"], ()),
        ("[]", [], ()),
        ("null", [], ("null-for-list",)),
        ('"Anna"', ["Anna"], ("string-for-list",)),
        ('{"PER": ["Anna"]}', ["Anna"], ("wrapped",)),
        ('{"person": "Anna", "org": "UN"}', ["Anna"], ("wrapped", "string-for-list")),
        ('{"answer": ["Anna"]}', ["Anna"], ("wrapped",)),
        ('[{"text": "Anna", "label": "PER"}]', ["Anna"], ("objects",)),
        ("The persons are ['Anna', 'Otto", ["Anna"], ("text-around", "quotes", "cut")),
        ("[Anna Smith, Otto]", ["Anna Smith", "Otto"], ("no-quotes",)),
    ],
)
def test_what_models_write_instead_is_mended_and_named(answer, mentions, repairs):
    parsed = parse(answer, "Anna met Otto.", ["PER"])
    assert ([mention.text for mention in parsed.mentions], parsed.repairs) == (mentions, repairs)
    assert {mention.label for mention in parsed.mentions} <= {"PER"}


@pytest.mark.parametrize("answer", ["Anna", '{"a": 1}', '{"answer": "Anna"}', '[["Anna"]]', '{"a": [], "b": []}'])
def test_what_has_another_shape_is_not_read(answer):
    assert parse(answer, "Anna met Otto.", ["PER"]) is None
