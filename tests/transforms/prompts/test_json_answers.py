import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.prompts.json_answers import Items, Pairs, Text, read_json

VALUES = st.recursive(
    st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


def _plain(node):
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Items):
        return [_plain(item) for item in node.items]
    return {key.value: _plain(value) for key, value in node.pairs}


def _texts(node):
    if isinstance(node, Text):
        return [node]
    if isinstance(node, Items):
        return [text for item in node.items for text in _texts(item)]
    return [text for key, value in node.pairs for text in (key, *_texts(value))]


@given(value=VALUES, is_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_json_is_read_as_it_is_with_the_place_of_every_string(value, is_ascii, indent):
    answer = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
    node, repairs = read_json(answer)
    assert (_plain(node), repairs) == (value, ())
    for text in _texts(node):
        assert json.loads(answer[text.first - 1 : text.last + 1]) == text.value


@pytest.mark.parametrize(
    ("answer", "value", "repairs"),
    [
        ('```json\n["a"]\n```', ["a"], ("fence",)),
        ('Here you are:\n```\n["a"]\n```\nAnything else?', ["a"], ("fence", "text-around")),
        ('The answer is {"PER": ["a"]}. Bye', {"PER": ["a"]}, ("text-around",)),
        ('["a"] ["b"]', ["a"], ("text-around",)),
        ("{'PER': ['a']}", {"PER": ["a"]}, ("quotes",)),
        ("['O'Neil', 'it\\'s']", ["O'Neil", "it's"], ("quotes",)),
        ('["Bob "the hat" Dylan", "b"]', ['Bob "the hat" Dylan', "b"], ("quotes",)),
        ('["two\nlines", "C:\\new"]', ["two\nlines", "C:\new"], ("quotes",)),
        ("[“a”, `b`]", ["a", "b"], ("quotes",)),
        ('{"PER": ["a",], }', {"PER": ["a"]}, ("trailing-comma",)),
        ('{"PER": ["a", "b', {"PER": ["a"]}, ("cut",)),
        ('{"PER": ["a", "b"', {"PER": ["a", "b"]}, ("cut",)),
        ('{"PER": ["a"], "OR', {"PER": ["a"]}, ("cut",)),
        ('{"PER": ["a"], "ORG"', {"PER": ["a"]}, ("cut",)),
        ('{"PER": ["a"], "ORG":', {"PER": ["a"]}, ("cut",)),
        ('{"PER": [', {"PER": []}, ("cut",)),
        ("```json\n{'PER': ['a', 'b", {"PER": ["a"]}, ("fence", "quotes", "cut")),
    ],
)
def test_what_models_write_instead_is_mended_and_named(answer, value, repairs):
    node, used = read_json(answer)
    assert (_plain(node), used) == (value, repairs)
    for text in _texts(node):
        assert answer[text.first : text.last].replace("\\'", "'") in {text.value, "C:\\new"}


@pytest.mark.parametrize(
    "answer", ["", "no entities", '{"PER"}', '["a": "b"]', '{["a"]: 1}', "[" * 500 + "]" * 500, "}"]
)
def test_what_is_no_json_is_not_read(answer):
    assert read_json(answer) is None


@given(st.text(alphabet="{}[]:,\"'\\ab \n`", max_size=40))
def test_no_answer_breaks_the_reader(answer):
    found = read_json(answer)
    assert found is None or isinstance(found[0], Text | Items | Pairs)


@given(
    value=st.dictionaries(st.text(max_size=4), st.lists(st.text(max_size=6), max_size=4), min_size=1, max_size=3),
    data=st.data(),
)
def test_of_a_cut_answer_what_was_finished_is_kept(value, data):
    answer = json.dumps(value)
    node, _ = read_json(answer[: data.draw(st.integers(1, len(answer)))])
    for key, mentions in _plain(node).items():
        assert mentions == value[key][: len(mentions)]
