import cProfile
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError, RecordError
from schemas.prompts import Grammar
from tests.transforms.models.language.models import make_tokenizer
from transforms.models.language.constraints import ConstraintCompiler

SCHEMA = {
    "type": "object",
    "properties": {label: {"type": "array", "items": {"type": "string", "maxLength": 20}} for label in ("PER", "LOC")},
    "required": ["PER", "LOC"],
    "additionalProperties": False,
}
JSON = Grammar("json_schema", json.dumps(SCHEMA))
STOPS = [0, 1]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer().backend_tokenizer


@pytest.fixture(scope="module")
def compiler(tokenizer):
    return ConstraintCompiler(tokenizer.to_str(), STOPS)


def _follow(constraint, ids):
    """How many of the ids a constraint allows, one after the other."""
    for at, token in enumerate(ids):
        if not constraint.allow()[token]:
            return at
        constraint.accept(token)
    return len(ids)


# llguidance wants a DEL as an escape, which `json.dumps` does not write.
NAMES = st.lists(st.text(st.characters(exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=20), max_size=3)


@given(people=NAMES, places=NAMES)
@settings(deadline=None)
def test_what_json_writes_is_allowed_and_then_the_answer_is_finished(tokenizer, compiler, people, places):
    text = json.dumps({"PER": people, "LOC": places}, ensure_ascii=False)
    constraint = compiler.compile(JSON)
    ids = tokenizer.encode(text).ids

    assert _follow(constraint, ids) == len(ids)
    assert constraint.is_finished


@pytest.mark.parametrize("text", ['{ "PER"', '{"PER":[', "{\n", '{"LOC"', '{"PER": ["a",  ', "Sure, "])
def test_other_fields_free_whitespace_and_talk_are_not_allowed(tokenizer, compiler, text):
    ids = tokenizer.encode(text).ids

    assert _follow(compiler.compile(JSON), ids) < len(ids)


def test_marks_cannot_be_said(compiler, tokenizer):
    constraint = compiler.compile(JSON)
    _follow(constraint, tokenizer.encode('{"PER": ["').ids)

    assert not constraint.allow()[[0, 1, 2, 3, 4]].any()


def test_an_answer_may_end_with_any_stop_where_its_grammar_may_end(compiler, tokenizer):
    constraint = compiler.compile(Grammar("gbnf", 'root ::= "a" [b-z]*'))

    before = constraint.allow()[STOPS]
    constraint.accept(tokenizer.token_to_id("a"))

    assert not before.any()
    assert constraint.allow()[STOPS].all()
    assert not constraint.is_finished


def test_gbnf_allows_what_it_says_and_nothing_else(compiler, tokenizer):
    grammar = Grammar("gbnf", 'root ::= mark? "Zoë \\"Z\\"" end\nmark ::= "<PER>" | "<LOC>"\nend ::= "</PER>"?')

    for text, is_allowed in [('<PER>Zoë "Z"</PER>', True), ('Zoë "Z"', True), ("<ORG>Zoë", False), ("Zoe", False)]:
        ids = tokenizer.encode(text).ids
        assert (_follow(compiler.compile(grammar), ids) == len(ids)) == is_allowed, text


def test_a_constraint_starts_again(compiler, tokenizer):
    constraint = compiler.compile(JSON)
    before = constraint.allow()
    _follow(constraint, tokenizer.encode('{"PER": []').ids)

    assert np.array_equal(constraint.restart().allow(), before)


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("json_schema", "{"),
        Grammar("json_schema", '{"type": "secret"}'),
        Grammar("gbnf", "root := secret"),
        Grammar("gbnf", "root ::= secret"),
    ],
)
def test_a_grammar_that_cannot_be_read_is_refused_without_its_text(compiler, grammar):
    with pytest.raises(RecordError, match=f"cannot read the {grammar.kind} grammar") as raised:
        compiler.compile(grammar)

    assert raised.value.code == "grammar"
    assert "secret" not in str(raised.value)


def test_a_token_that_is_not_allowed_is_refused(compiler, tokenizer):
    with pytest.raises(RecordError, match="gave up on the grammar"):
        compiler.compile(JSON).accept(tokenizer.token_to_id("a"))


def test_what_is_no_tokenizer_is_refused():
    with pytest.raises(ConfigError, match="expected a tokenizer that llguidance reads"):
        ConstraintCompiler("{}", STOPS)


def test_a_grammar_may_spell_a_long_document(compiler, tokenizer):
    words = [f"word{at}" for at in range(300)]
    rules = [f'w{at} ::= mark? "{word} " mark? w{at + 1}' for at, word in enumerate(words)]
    grammar = Grammar("gbnf", "\n".join(["root ::= w0", *rules, f'w{len(words)} ::= "."', 'mark ::= "<a>" | "</a>"']))
    text = re.sub("word100 ", "<a>word100 </a>", "".join(f"{word} " for word in words) + ".")

    constraint = compiler.compile(grammar)
    ids = tokenizer.encode(text).ids

    assert _follow(constraint, ids) == len(ids)
    assert constraint.is_finished


def test_rules_may_go_over_lines_and_stand_in_any_order(compiler, tokenizer):
    grammar = Grammar("gbnf", 'b ::= "b"\n\nroot ::= ("a"\n  | b) c\n# the end ::= "z"\nc ::= "c"\n')

    for text, is_allowed in [("ac", True), ("bc", True), ("az", False), ("(ac", False)]:
        ids = tokenizer.encode(text).ids
        assert (_follow(compiler.compile(grammar), ids) == len(ids)) == is_allowed, text


def test_rules_may_refer_to_themselves(compiler, tokenizer):
    grammar = Grammar("gbnf", 'root ::= "[" (root ("," root)*)? "]"')
    ids = tokenizer.encode("[[],[[]]]").ids

    assert _follow(compiler.compile(grammar), ids) == len(ids)


def test_the_rules_of_a_long_document_are_gone_through_once(compiler):
    def count_calls(n_words):
        rules = [f'o{at} ::= "word{at} " (o{at + 1} | "<a>" i{at + 1})' for at in range(n_words)]
        rules += [f'i{at + 1} ::= "word{at}" i{at + 2} | "</a>" o{at + 1}' for at in range(n_words)]
        ends = [f'o{n_words} ::= "."', f'i{n_words + 1} ::= "</a>" o{n_words}']
        grammar = Grammar("gbnf", "\n".join(["root ::= o0", *rules, *ends]))
        profile = cProfile.Profile()
        profile.runcall(compiler.compile, grammar)
        return sum(entry.callcount for entry in profile.getstats())

    assert count_calls(200) < 3 * count_calls(100)


def _answer_endlessly(constraint, tokenizer, most, say):
    """What a model says that has always the same in mind, in so many tokens at most."""
    ids = []
    wanted = iter(tokenizer.encode(say).ids * most)
    while len(ids) < most and not constraint.is_finished:
        allowed = constraint.allow(most - len(ids))
        token = next(wanted)
        if not allowed[token]:
            token = int(np.flatnonzero(allowed)[0])
        constraint.accept(token)
        ids.append(token)
    return tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("say", ["Anna", '", "', "]", "\\u00e4", '["'])
@pytest.mark.parametrize("most", range(60, 90, 3))
def test_an_answer_in_json_whose_tokens_run_out_can_be_read(tokenizer, compiler, say, most):
    constraint = compiler.compile(JSON)
    answer = json.loads(_answer_endlessly(constraint, tokenizer, most, say))
    assert list(answer) == ["PER", "LOC"]


@pytest.mark.parametrize("say", ["Anna", '", "'])
def test_so_can_a_list_alone(tokenizer, compiler, say):
    schema = {"type": "array", "items": {"type": "string"}}
    constraint = compiler.compile(Grammar("json_schema", json.dumps(schema)))
    answer = json.loads(_answer_endlessly(constraint, tokenizer, 40, say))
    assert isinstance(answer, list)
    assert constraint.is_ended_early


def test_an_answer_with_tokens_to_spare_ends_by_itself(tokenizer, compiler):
    constraint = compiler.compile(JSON)
    for token in tokenizer.encode('{"PER": [], "LOC": []}').ids:
        assert constraint.allow(1000)[token]
        constraint.accept(token)
    assert constraint.is_finished
    assert not constraint.is_ended_early
