import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.prompts.recipes import LABELS, build_answer, flat_spans
from transforms.prompts.alignment import Aligner
from transforms.prompts.examples import Example
from transforms.prompts.formats.marks import constrain, name_labels, parse, render, show
from transforms.text.words import find_words

TEXT = "Anna met Otto in New York. Otto left."
ODD_TEXTS = st.lists(
    st.sampled_from(
        [
            "a",
            "Anna",
            " ",
            "\n",
            "<",
            ">",
            "</",
            "PER",
            "<PER>",
            "</PER>",
            "&",
            "&lt;",
            "amp;",
            "lt;",
            '"',
            "\\",
            "é",
            "東",
        ]
    ),
    max_size=10,
).map("".join)


class Gbnf:
    """Says whether a grammar makes a text: rules of literals and names, as these grammars have them."""

    def __init__(self, text):
        self._rules = {}
        for line in text.splitlines():
            name, _, body = line.partition(" ::= ")
            items = re.findall(r'"(?:[^"\\]|\\.)*"|\w+|\|', body)
            self._rules[name] = [[]]
            for item in items:
                if item == "|":
                    self._rules[name].append([])
                else:
                    self._rules[name][-1].append(item)

    def accepts(self, text):
        return len(text) in self._ends("root", text, 0)

    def _ends(self, item, text, at):
        if item.startswith('"'):
            literal = item[1:-1].encode("raw_unicode_escape").decode("unicode_escape")
            return {at + len(literal)} if text.startswith(literal, at) else set()
        found = set()
        for alternative in self._rules[item]:
            places = {at}
            for part in alternative:
                places = {end for place in places for end in self._ends(part, text, place)}
            found |= places
        return found


@given(text=ODD_TEXTS, data=st.data())
def test_marks_anywhere_in_any_text_come_back_where_they_were(text, data):
    spans = data.draw(flat_spans(text, range(len(text) + 1)))
    answer = render(Example(text, spans), LABELS)
    parsed = parse(answer, text, LABELS)
    assert parsed.repairs == ()
    aligner = Aligner(text)
    found = [(places[0][:2], m.label) for m in parsed.mentions for _, places in [aligner.align(m)]]
    assert found == [((start, end), label) for start, end, label in spans]


@given(text=ODD_TEXTS, data=st.data())
def test_the_grammar_makes_the_text_with_marks_around_words(text, data):
    is_plain = show(text, LABELS) == text
    bounds = sorted({at for word in find_words(text) for at in word}) if is_plain else []
    answer = render(Example(text, data.draw(flat_spans(text, bounds))), LABELS)
    assert Gbnf(constrain(text, LABELS).text).accepts(answer)


@given(text=ODD_TEXTS, data=st.data())
def test_the_grammar_makes_nothing_else(text, data):
    marks = [f"<{slash}{name}>" for name in name_labels(LABELS).values() for slash in ("", "/")]
    answer = show(text, LABELS)
    for mark in data.draw(st.lists(st.sampled_from([*marks, "", "a", " "]), max_size=4)):
        at = data.draw(st.integers(0, len(answer)))
        answer = answer[:at] + mark + answer[at + data.draw(st.integers(0, 1)) :]
    if Gbnf(constrain(text, LABELS).text).accepts(answer):
        parsed = parse(answer, text, LABELS)
        assert set(parsed.repairs) <= {"unbalanced"}
        spans = tuple((m.near, m.near + len(m.text), m.label) for m in parsed.mentions)
        assert _forget_closing(render(Example(text, spans), LABELS)) == _forget_closing(answer)


def _forget_closing(answer):
    return re.sub("|".join(f"</{name}>" for name in name_labels(LABELS).values()), "</>", answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Anna met Otto in New York. Otto left",
        "Anna met Otto in New York. Otto left. ",
        "<PER>Anna met Otto in New York. Otto left.",
        "<PER>Anna </PER>met Otto in New York. Otto left.",
        "<PER>A</PER>nna met Otto in New York. Otto left.",
        "<PER></PER>Anna met Otto in New York. Otto left.",
        "<PER><ORG>Anna</ORG></PER> met Otto in New York. Otto left.",
    ],
)
def test_the_grammar_refuses(answer):
    assert not Gbnf(constrain(TEXT, LABELS).text).accepts(answer)


def test_the_grammar_has_two_rules_for_each_word():
    assert [len(constrain("word " * n, LABELS).text.splitlines()) for n in (100, 400)] == [204, 804]


PLACES = [("Otto", "PER", 27)]


@pytest.mark.parametrize(
    ("answer", "mentions", "repairs"),
    [
        ("Anna met Otto in New York. <PER>Otto</PER> left.", PLACES, ()),
        ("Anna met Otto in New York. <PER> Otto </PER> left.", PLACES, ("copy",)),
        ("Anna met Otto in New York. <person>Otto</Person> left.", PLACES, ("label-name",)),
        ("Anna met Otto in <LOC>New York</LOC>. <PER>Otto</PER> left.", PLACES, ("unknown-label",)),
        ("Anna met Otto in New York. <PER><ORG>Otto</ORG></PER> left.", PLACES, ("nested",)),
        ("Anna met <PER>Otto in New York. <PER>Otto</PER> left.", PLACES, ("unbalanced",)),
        ("Anna</PER> met Otto in New York. <PER>Otto</ORG> left.", PLACES, ("unbalanced",)),
        ("Anna met Otto in New York.<PER></PER> <PER>Otto</PER> left.", PLACES, ("empty-mark",)),
        ("Sure: Anna met Otto in New York. <PER>Otto</PER> left.\n\nBye", PLACES, ("text-around",)),
        ("Anna met Otto in New York. <PER>Otto</PER> le", PLACES, ("cut",)),
        ("Anna met Otto in New York. <PER>Otto</PER> <OR", PLACES, ("cut",)),
        ("Anna met Otto in New York. <PER>Otto", [], ("unbalanced", "cut")),
        ("Ana met Otto with a hat in NewYork. <PER>Otto</PER> left.", PLACES, ("copy",)),
        ("<PER>Otto</PER>", [("Otto", "PER", None)], ("mentions-only",)),
    ],
)
def test_what_models_write_instead_is_mended_and_named(answer, mentions, repairs):
    parsed = parse(answer, TEXT, LABELS)
    assert ([(m.text, m.label, m.near) for m in parsed.mentions], parsed.repairs) == (mentions, repairs)


def test_what_looks_like_a_mark_in_the_text_is_none():
    text = "The <b>bold</b> Anna."
    parsed = parse("The <b>bold</b> <PER>Anna</PER>.", text, LABELS)
    assert ([m.text for m in parsed.mentions], parsed.repairs) == (["Anna"], ())


@given(answer=st.text(alphabet="<>/PERa \n&lt;", max_size=60))
def test_no_answer_breaks_the_reader(answer):
    parsed = parse(answer, "a PER <PER> at", LABELS)
    for mention in parsed.mentions if parsed else ():
        assert mention.text
        assert 0 <= mention.first < mention.last <= len(answer)


def test_the_score_is_taken_from_a_mention_with_its_marks():
    answer = "Anna met <PER>Otto</PER> in New York. Otto left."
    (mention,) = parse(answer, TEXT, LABELS).mentions
    assert answer[mention.first : mention.last] == "<PER>Otto</PER>"
    assert build_answer(answer).text == answer


def test_every_label_has_a_mark_of_its_own():
    names = name_labels(["work of art", "work/of art", "1st", "<x>", "Ü"])
    assert names == {
        "work of art": "work_of_art",
        "work/of art": "work_of_art_2",
        "1st": "_1st",
        "<x>": "_x_",
        "Ü": "Ü",
    }
