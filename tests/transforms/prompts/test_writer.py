import pickle

import pytest
from hypothesis import given

from schemas.errors import ConfigError
from tests.transforms.prompts import recipes
from tests.transforms.prompts.recipes import build_answer
from transforms.prompts.alignment import AlignmentConfig
from transforms.prompts.examples import Example
from transforms.prompts.formats.formats import FORMATS
from transforms.prompts.templates import Template, load_template
from transforms.prompts.writer import PromptWriter

LABELS = {"PER": "people", "ORG": "", "work of art": "books and songs"}
SHOT = Example("Bob works at IBM.", ((0, 3, "PER"), (13, 16, "ORG")))
TEXT = "\n Anna met Otto. "


def _writer(name, *, is_constrained=True, labels=LABELS):
    return PromptWriter(
        template=load_template(name), labels=labels, max_answer_tokens=50, is_constrained=is_constrained
    )


@pytest.mark.parametrize("name", FORMATS)
def test_instructions_come_first_then_examples_as_turns_then_the_text(name):
    for prompt in _writer(name).write(TEXT, [SHOT, SHOT]):
        roles = [message.role for message in prompt.messages]
        assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
        assert SHOT.text in prompt.messages[1].content
        assert "Anna met Otto." in prompt.messages[-1].content
        assert prompt.max_answer_tokens == 50


@pytest.mark.parametrize("name", FORMATS)
def test_prompts_share_all_but_the_last_turn(name):
    one, other = (_writer(name).write(text, [SHOT]) for text in (TEXT, "Another text"))
    assert [p.messages[:-1] for p in one] == [p.messages[:-1] for p in other]


def test_one_prompt_asks_for_all_labels_or_each_has_its_own():
    assert len(_writer("json").write(TEXT)) == len(_writer("marks").write(TEXT)) == 1
    prompts = _writer("questions").write(TEXT, [SHOT])
    assert [prompt.messages[-2].content for prompt in prompts] == ['["Bob"]', '["IBM"]', "[]"]
    assert [label in prompt.messages[-1].content for label, prompt in zip(LABELS, prompts, strict=True)] == [True] * 3
    # The text stands before what differs.
    beginnings = {prompt.messages[-1].content.partition("Otto.")[0] for prompt in prompts}
    assert beginnings == {"Text: Anna met "}


def test_marks_are_shown_as_they_are_to_be_written():
    (prompt,) = _writer("marks").write("An <ORG> and a < b")
    assert "<work_of_art>" in prompt.messages[0].content
    assert prompt.messages[-1].content == "Text: An &lt;ORG> and a < b"


def test_answers_are_held_to_a_grammar_only_if_asked():
    kinds = {name: _writer(name).write(TEXT)[0].grammar.kind for name in FORMATS}
    assert kinds == {"json": "json_schema", "marks": "gbnf", "questions": "json_schema"}
    assert all(p.grammar is None for name in FORMATS for p in _writer(name, is_constrained=False).write(TEXT))


def test_a_template_without_instructions_has_no_system_turn():
    template = Template(name="bare", format="json", system="", user="{{ text }}")
    writer = PromptWriter(template=template, labels={"PER": ""}, max_answer_tokens=5, is_constrained=False)
    assert [message.role for message in writer.write(TEXT)[0].messages] == ["user"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_blank_text_has_no_prompts_and_no_entities(name):
    writer = _writer(name)
    assert writer.write(" \n") == writer.shortest_answers(" \n") == []
    reading = writer.read(" \n", [])
    assert (reading.spans, dict(reading.counts), reading.failure) == ((), {}, None)


@pytest.mark.parametrize("name", FORMATS)
@given(example=recipes.examples())
def test_right_answers_are_read_as_the_entities(name, example):
    writer = _writer(name)
    body = example.text.strip()
    shift = len(example.text) - len(example.text.lstrip())
    inner = Example(body, tuple((start - shift, end - shift, label) for start, end, label in example.spans))
    asked = [[label] for label in LABELS] if name == "questions" else [list(LABELS)]
    reading = writer.read(example.text, [build_answer(FORMATS[name].render(inner, labels)) for labels in asked])
    assert tuple(span[:3] for span in reading.spans) == example.spans
    assert reading.counts["answers/strict"] == len(asked)
    assert reading.failure is None


@pytest.mark.parametrize("name", FORMATS)
def test_the_shortest_answer_is_one_without_entities(name):
    writer = _writer(name)
    reading = writer.read(TEXT, [build_answer(answer) for answer in writer.shortest_answers(TEXT)])
    assert reading.spans == ()
    assert set(reading.counts) == {"answers/strict"}


def test_what_happened_to_answers_is_counted():
    writer = _writer("questions")
    answers = [build_answer('["Anna", "Mia", "ott'), build_answer("none"), build_answer('["otto"]', is_cut=True)]
    reading = writer.read(TEXT, answers)
    assert [span[:3] for span in reading.spans] == [(2, 6, "PER"), (11, 15, "work of art")]
    assert reading.counts == {
        "answers/strict": 1,
        "answers/repaired": 1,
        "answers/unparsable": 1,
        "answers/cut": 1,
        "mentions/exact": 1,
        "mentions/normalised": 1,
        "mentions/not-found": 1,
        "repairs/cut": 1,
    }
    assert reading.failure is None


def test_a_text_has_failed_when_no_answer_can_be_read():
    reading = _writer("questions").read(TEXT, [build_answer("Anna is secret")] * 3)
    assert reading.failure.code == "unparsable"
    assert "secret" not in str(reading.failure)
    assert reading.counts == {"answers/unparsable": 3}


def test_a_score_is_taken_from_the_tokens_of_the_mention():
    answer = build_answer('{"PER": ["Anna"]}', ['{"PER": ["', "An", "na", '"]}'], [0.1, 0.5, 0.5, 0.1])
    (span,) = _writer("json", labels={"PER": ""}).read(TEXT, [answer]).spans
    assert span.score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": {}}, "expected one label at least"),
        ({"labels": {" ": ""}}, "no empty one"),
        ({"max_answer_tokens": 0}, "expected one token at least for answers, found 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(change, message):
    options = {"template": load_template("json"), "labels": LABELS, "max_answer_tokens": 9, "is_constrained": True}
    with pytest.raises(ConfigError, match=message):
        PromptWriter(**{**options, **change})


def test_all_that_changes_output_is_described_and_the_writer_travels():
    writer = _writer("json")
    others = [
        _writer("marks"),
        _writer("json", is_constrained=False),
        _writer("json", labels={"PER": "humans"}),
        _writer("json", labels=dict(reversed(LABELS.items()))),
        PromptWriter(template=load_template("json"), labels=LABELS, max_answer_tokens=51, is_constrained=True),
        PromptWriter(
            template=load_template("json"),
            labels=LABELS,
            max_answer_tokens=50,
            is_constrained=True,
            alignment=AlignmentConfig(max_distance=0.1),
        ),
    ]
    assert all(other.describe() != writer.describe() for other in others)
    assert pickle.loads(pickle.dumps(writer)).describe() == writer.describe()
