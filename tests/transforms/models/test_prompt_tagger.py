"""A language model as a tagger, with a stand-in for the model that names the words it was taught."""

import dataclasses
import json
import math
import re

import pytest

from schemas.errors import ConfigError, RecordError
from schemas.prompts import Answer
from transforms.models.language.usage import Prices
from transforms.models.prompt_tagger import LoadedPrompting, PromptTagger, PromptTaggerConfig, ShotConfig
from transforms.prompts.examples import Example
from transforms.prompts.templates import load_template
from transforms.prompts.writer import PromptWriter

NAMES = {"Anna": "PER", "Otto": "PER", "Rome": "LOC"}
LABELS = {"PER": "people", "LOC": ""}
SURE = 0.9


class KnowingModel:
    """Answers with the names in the text, each token a word with the same probability; counts a token per word."""

    digest = "k" * 64
    is_remote = False

    def __init__(self, *, max_tokens=1000):
        self.max_tokens = max_tokens
        self.prompts = []

    def describe(self):
        return {"model": self.digest}

    def load(self):
        return self

    def count_tokens(self, messages):
        return sum(len(message.content.split()) for message in messages)

    def answer(self, prompts, *, on_answer=None):
        self.prompts += prompts
        return [self._answer_one(prompt) for prompt in prompts]

    def _answer_one(self, prompt):
        text = prompt.messages[-1].content.removeprefix("Text: ")
        if "Broken" in text:
            return RecordError("endpoint_failed", "expected an answer, found none")
        found = {label: [name for name in NAMES if NAMES[name] == label and name in text] for label in LABELS}
        answer = "I do not know" if "Riddle" in text else json.dumps(found)
        pieces = tuple(re.findall(r"\w+|\W+", answer))
        n_prompt = self.count_tokens(prompt.messages)
        return Answer(answer, pieces, (math.log(SURE),) * len(pieces), False, n_prompt, 0, len(pieces))


def _config(model, *, unparsable="dead-letter", template="json", **shots):
    writer = PromptWriter(template=load_template(template), labels=LABELS, max_answer_tokens=100, is_constrained=False)
    prices = Prices(prompt=1.0, answer=2.0)
    return PromptTaggerConfig(
        language=model, writer=writer, shots=ShotConfig(**shots), unparsable=unparsable, prices=prices
    )


def _tag(texts, model=None, **options):
    config = _config(model or KnowingModel(), **options)
    return config.build(config.load()).tag(texts)


def _spans(tagging, texts):
    columns = (tagging.document, tagging.start, tagging.end, tagging.label)
    return [
        (int(at), texts[at][start:end], list(LABELS)[label]) for at, start, end, label in zip(*columns, strict=True)
    ]


def test_what_the_model_names_becomes_entities_with_its_probability():
    texts = ["Anna met Otto in Rome.", "", "Nobody."]
    tagging = _tag(texts)
    assert _spans(tagging, texts) == [(0, "Anna", "PER"), (0, "Otto", "PER"), (0, "Rome", "LOC")]
    assert tagging.score.tolist() == pytest.approx([SURE] * 3)
    assert tagging.tokens.tolist() == [5, 0, 1]
    assert tagging.windows.tolist() == [1, 0, 1]
    assert not tagging.failures


def test_a_text_without_an_answer_fails_and_costs_its_neighbours_nothing():
    texts = ["Anna.", "Broken Otto.", "Rome."]
    tagging = _tag(texts)
    assert _spans(tagging, texts) == [(0, "Anna", "PER"), (2, "Rome", "LOC")]
    assert {at: error.code for at, error in tagging.failures.items()} == {1: "endpoint_failed"}


def test_an_answer_that_cannot_be_read_fails_its_text_or_leaves_it_empty():
    texts = ["Anna.", "Riddle of Rome."]
    assert {at: error.code for at, error in _tag(texts).failures.items()} == {1: "unparsable"}
    tagging = _tag(texts, unparsable="empty")
    assert not tagging.failures
    assert _spans(tagging, texts) == [(0, "Anna", "PER")]
    assert tagging.counts["answers/unparsable"] == 1


def test_a_long_text_is_asked_about_in_passages_that_cover_it():
    model = KnowingModel(max_tokens=220)
    text = " ".join(f"Sentence {at} has Anna in it." for at in range(60)) + " Otto stands at the very end."
    tagging = _tag([text], model)
    assert tagging.windows[0] == len(model.prompts) > 3
    assert sum(label == "PER" for _, _, label in _spans(tagging, [text])) == 61
    assert all(model.count_tokens(p.messages) + p.max_answer_tokens <= model.max_tokens for p in model.prompts)


def test_passages_leave_room_for_an_answer_that_repeats_them():
    model = KnowingModel(max_tokens=4000)
    _tag([" ".join(["word."] * 500)], model, template="marks", unparsable="empty")
    longest = max(len(prompt.messages[-1].content.split()) for prompt in model.prompts)
    assert longest * 1.5 <= 100 + 2


def test_a_model_without_room_for_the_instructions_is_refused():
    with pytest.raises(ConfigError, match=r"room for instructions of .* in a model that reads 10"):
        _tag(["Anna."], KnowingModel(max_tokens=10))


def test_examples_without_room_are_left_out_and_counted():
    examples = (Example("Otto slept. " * 100, ((0, 4, "PER"),)), Example("In Rome.", ((3, 7, "LOC"),)))
    model = KnowingModel(max_tokens=250)
    tagging = _tag(["Anna."], model, examples=examples, n=2)
    assert [message.role for message in model.prompts[0].messages] == ["system", "user", "assistant", "user"]
    assert tagging.counts["shots/no-room"] == 1


def test_answers_without_probabilities_are_counted():
    class Mute(KnowingModel):
        def _answer_one(self, prompt):
            return dataclasses.replace(super()._answer_one(prompt), pieces=(), log_probs=())

    tagging = _tag(["Anna."], Mute())
    assert tagging.score.tolist() == [1.0]
    assert tagging.counts["answers/without-probabilities"] == 1


def test_prompts_show_examples_but_never_the_text_itself():
    examples = (Example("Otto slept.", ((0, 4, "PER"),)), Example("In Rome.", ((3, 7, "LOC"),)))
    model = KnowingModel()
    _tag(["Otto slept."], model, examples=examples, n=2)
    [prompt] = model.prompts
    assert [message.role for message in prompt.messages] == ["system", "user", "assistant", "user"]
    assert json.loads(prompt.messages[2].content) == {"PER": [], "LOC": ["Rome"]}


def test_tokens_cost_and_statuses_are_counted():
    tagging = _tag(["Anna met Anna."])
    assert tagging.counts["prompts"] == 1
    assert tagging.counts["mentions/exact"] == 1
    n_prompt, n_answer = tagging.counts["tokens/prompt"], tagging.counts["tokens/answer"]
    assert tagging.counts["cost/millionths"] == n_prompt + 2 * n_answer
    assert tagging.computed_tokens == n_prompt + n_answer


def test_what_changes_answers_is_in_the_description():
    examples = (Example("Otto slept.", ((0, 4, "PER"),)), Example("In Rome.", ((3, 7, "LOC"),)))
    described = [
        _config(KnowingModel()).describe(),
        _config(KnowingModel(), template="marks").describe(),
        _config(KnowingModel(), unparsable="empty").describe(),
        _config(KnowingModel(), examples=examples, n=1).describe(),
        _config(KnowingModel(), examples=examples, n=2).describe(),
        _config(KnowingModel(), examples=examples[:1], n=1).describe(),
        _config(KnowingModel(), examples=examples, n=1, choice="random").describe(),
        _config(KnowingModel(), examples=examples, n=1, choice="random", seed=1).describe(),
        _config(KnowingModel(), examples=examples, n=1, is_balanced=False).describe(),
    ]
    assert len({json.dumps(each, sort_keys=True) for each in described}) == len(described)
    assert described[0]["labels"] == ["PER", "LOC"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": -1}, "0 shots or more"),
        ({"n": 3}, "labelled examples for 3 shots, found none"),
        ({"n": 3, "examples": (Example("a", ()),)}, "3 labelled examples for as many shots, found 1"),
        ({"choice": "best"}, "choice of examples to be one of"),
    ],
)
def test_shots_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ShotConfig(**options)


def test_texts_are_begun_one_after_another():
    config = _config(KnowingModel())
    tagger = PromptTagger(LoadedPrompting(KnowingModel(), None), config)
    waits = [tagger.begin([text]) for text in ("Anna.", "Rome.")]
    assert [len(wait().document) for wait in waits] == [1, 1]
