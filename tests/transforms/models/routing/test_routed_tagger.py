"""One of several taggers for each text: who answers, in which order, and what is told of it."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import TaggingError
from transforms.models.annotator import Annotator, EntityConfig
from transforms.models.routing.routed_tagger import RoutedConfig, RoutedTagger
from transforms.models.routing.rules import Rules
from transforms.models.tagger import Tagging
from transforms.storage.commits import flatten_entities

RULES = Rules((("digits", r"\d"), ("shouts", "!")), "words")


class Word:
    """Finds the first word of each text, with a label; fails on the word poison."""

    names = ("",)

    def __init__(self, labels, label):
        self.labels, self._label = labels, labels.index(label)
        self.asked, self.waited = [], []

    def begin(self, texts):
        self.asked.append(list(texts))
        return lambda: self._tag(texts)

    def tag(self, texts):
        return self.begin(texts)()

    def _tag(self, texts):
        self.waited.append(list(texts))
        good = [at for at, text in enumerate(texts) if text and "poison" not in text]
        return Tagging(
            document=np.array(good, dtype=np.int64),
            start=np.zeros(len(good), dtype=np.int64),
            end=np.array([len(texts[at].split()[0]) for at in good], dtype=np.int64),
            label=np.full(len(good), self._label),
            score=np.full(len(good), 0.5, dtype=np.float32),
            tokens=np.array([len(text.split()) for text in texts], dtype=np.int64),
            windows=np.ones(len(texts), dtype=np.int64),
            failures={at: TaggingError("poison", "told to") for at, text in enumerate(texts) if "poison" in text},
            computed_tokens=10,
            seconds={"forward": 1.0},
            counts={"prompts": len(texts)},
            unknown=np.zeros(len(texts), dtype=np.int64),
        )


@pytest.fixture
def taggers():
    return {
        "digits": Word(("NUM",), "NUM"),
        "words": Word(("PER", "LOC"), "LOC"),
        "shouts": Word(("LOC", "NUM"), "NUM"),
    }


TEXTS = ["anna", "7 up", "no!", "", "rome 2", "otto"]


def test_each_text_is_for_the_tagger_that_was_chosen_and_for_no_other(taggers):
    found = RoutedTagger(RULES, taggers).tag(TEXTS)
    assert {name: tagger.asked for name, tagger in taggers.items()} == {
        "digits": [["7 up", "rome 2"]],
        "words": [["anna", "", "otto"]],
        "shouts": [["no!"]],
    }
    assert found.chosen == ("words", "digits", "shouts", "words", "digits", "words")


def test_entities_and_counts_are_those_of_the_texts_in_their_order(taggers):
    tagger = RoutedTagger(RULES, taggers)
    found = tagger.tag(TEXTS)
    assert tagger.labels == ("NUM", "PER", "LOC")
    assert found.document.tolist() == [0, 1, 2, 4, 5]
    assert [tagger.labels[label] for label in found.label] == ["LOC", "NUM", "NUM", "NUM", "LOC"]
    assert found.end.tolist() == [4, 1, 3, 4, 4]
    assert found.tokens.tolist() == [1, 2, 1, 0, 2, 1]
    assert found.windows.tolist() == [1] * 6
    assert found.unknown.tolist() == [0] * 6
    assert (found.computed_tokens, found.counts) == (30, {"prompts": 6})
    assert found.seconds["forward"] == 3.0
    assert found.seconds["route"] >= 0


@given(st.lists(st.sampled_from(["a", "1", "b!", ""]), max_size=9))
def test_whatever_is_chosen_each_text_has_what_its_tagger_says_alone(texts):
    members = {name: Word(("X",), "X") for name in ("digits", "words", "shouts")}
    found = RoutedTagger(RULES, members).tag(texts)
    assert found.document.tolist() == [at for at, text in enumerate(texts) if text]
    assert len(found.tokens) == len(found.chosen) == len(texts)


def test_a_text_that_fails_costs_its_neighbours_nothing(taggers):
    found = RoutedTagger(RULES, taggers).tag(["anna", "poison 1", "rome 2"])
    assert list(found.failures) == [1]
    assert found.document.tolist() == [0, 2]


def test_texts_are_waited_for_in_the_order_in_which_they_were_begun(taggers):
    tagger = RoutedTagger(RULES, taggers)
    waits = [tagger.begin(["anna"]), tagger.begin(["1", "otto"])]
    assert not any(one.waited for one in taggers.values())
    assert [wait().chosen for wait in waits] == [("words",), ("digits", "words")]
    assert taggers["words"].waited == [["anna"], ["otto"]]


def _annotate(tagger, texts, **options):
    documents = pa.table({"id": [*map(str, range(len(texts)))], "row": [*range(len(texts))], "text": texts})
    return Annotator(tagger, EntityConfig(**options), model="m").annotate(documents, source="f")


def test_a_row_tells_which_tagger_made_it_and_counts_add_up_to_the_rows(taggers):
    part = _annotate(RoutedTagger(RULES, taggers), ["anna", "7 up", "poison", "otto"])
    assert part.annotations.column("adapter").to_pylist() == ["words", "digits", "words"]
    assert {k: n for k, n in part.tally.counts.items() if k.startswith("routed/")} == {
        "routed/digits": 1,
        "routed/words": 2,
    }
    assert [[e["label"] for e in row] for row in part.annotations.column("entities").to_pylist()] == [
        ["LOC"],
        ["NUM"],
        ["LOC"],
    ]
    flat = flatten_entities(part.annotations)
    assert flat.column("adapter").to_pylist() == ["words", "digits", "words"]


def test_a_part_without_documents_has_the_same_columns(taggers):
    tagger = RoutedTagger(RULES, taggers)
    assert _annotate(tagger, []).annotations.schema == _annotate(tagger, ["anna"]).annotations.schema


@dataclasses.dataclass(frozen=True)
class WordConfig:
    digest: str
    labels: tuple = ("X",)
    is_remote: bool = False

    def describe(self):
        return {"tagger": "word", "model": self.digest}

    def load(self):
        return self

    def build(self, shared):
        assert shared is self
        return Word(self.labels, "X")


def test_its_digest_hangs_on_members_names_and_router():
    def digest(router=RULES, **members):
        return RoutedConfig(tuple((name, WordConfig(one)) for name, one in members.items()), router).digest

    others = [
        digest(words="a", digits="c"),
        digest(words="a", shouts="b"),
        digest(Rules((), "words"), words="a", digits="b"),
    ]
    assert digest(words="a", digits="b") == digest(words="a", digits="b")
    assert digest(words="a", digits="b") not in others


def test_what_travels_becomes_the_tagger_again():
    config = RoutedConfig((("words", WordConfig("a")), ("digits", WordConfig("b", labels=("X", "Y")))), RULES)
    tagger = config.build(config.load())
    assert tagger.labels == config.labels == ("X", "Y")
    assert tagger.tag(["anna", "1"]).chosen == ("words", "digits")
    described = config.describe()
    assert (described["tagger"], described["model"], list(described["adapters"])) == (
        "routed",
        config.digest,
        ["words", "digits"],
    )
