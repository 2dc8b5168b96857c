"""What gates say of a candidate beside the champion, with taggers that know what they find."""

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pytest

from schemas.errors import ConfigError
from training.gates.gates import parse_gates
from training.gates.measurements import GoldSet, Measurements, measure_ratios, measure_set
from transforms.models.tagger import Tagging
from transforms.pairing.joined import GOLD_SCHEMA, JoinConfig
from transforms.pairing.tagged import TagConfig

LABELS = ("LOC", "PER")
WORDS = {"Rome": "LOC", "Oslo": "LOC", "Anna": "PER", "Otto": "PER"}


class WordTagger:
    """Finds words that it knows, with a score for all."""

    labels, names = LABELS, ("",)

    def __init__(self, *words, score=0.95):
        self._words, self._score = words, score

    def tag(self, texts):
        found = [
            (at, match.start(), match.end(), LABELS.index(WORDS[match[0]]))
            for at, text in enumerate(texts)
            for match in re.finditer(r"\w+", text)
            if match[0] in self._words
        ]
        columns = np.array(found, dtype=np.int64).reshape(-1, 4).T
        nothing = np.zeros(len(texts), dtype=np.int64)
        scores = np.full(len(found), self._score, dtype=np.float32)
        return Tagging(*columns, scores, nothing, nothing, {}, 0, {})


ALL = WordTagger(*WORDS)


def make_set(name, words, n=30):
    """Documents of a sentence, each with every word once."""
    text = " saw ".join(words)
    gold = [
        {"start": m.start(), "end": m.end(), "label": WORDS[m[0]]} for m in re.finditer(r"\w+", text) if m[0] in WORDS
    ]
    rows = [
        {"id": f"{name}#{at}", "source": name, "row": at, "text": text, "gold": gold, "groups": []} for at in range(n)
    ]
    config = JoinConfig(tags=TagConfig(scheme="BIO", predicted_scheme="BIO"))
    return GoldSet(name=name, digest="d", gold=pa.Table.from_pylist(rows, schema=GOLD_SCHEMA), config=config)


OLD, NEW = make_set("news", ["Anna", "Rome"]), make_set("tweets", ["Otto", "Oslo"])


def judge(content, candidate, champion, ratios=()):
    """The results of gates by name."""
    gates = parse_gates(content, where="gates.toml")
    gates.check({item.name: item.support for item in (OLD, NEW)})
    measured = {item.name: measure_set(item, candidate, champion) for item in (OLD, NEW)}
    return {result.name: result for result in gates.judge(Measurements(sets=measured, ratios=ratios))}


def test_a_candidate_that_forgets_a_label_is_held_by_that_label_on_that_set():
    found = judge(
        {"retain": {"max_label_loss": 1.0}, "improve": {"set": "tweets", "min_gain": 0.5}},
        candidate=WordTagger("Rome", "Otto", "Oslo"),
        champion=WordTagger("Anna", "Rome"),
    )

    assert {name: result.passed for name, result in found.items()} == {
        "retain news LOC": True,
        "retain news PER": False,
        "improve tweets": True,
    }
    assert found["retain news PER"].measured == -100
    assert found["retain news PER"].interval == (-100, -100)
    assert "PER on news changes by -100.00 points of F1 and does not rule out a loss of more than 1" in (
        found["retain news PER"].sentence
    )


def test_a_loss_that_cannot_be_ruled_out_holds_a_candidate_too():
    """One document of thirty is lost, 1.7 points, and nearly none may be: the interval decides, not the number."""

    class Forgetful(WordTagger):
        def tag(self, texts):
            known = super().tag(texts)
            keep = ~((known.document == 0) & (known.label == LABELS.index("PER")))
            columns = (known.document, known.start, known.end, known.label, known.score)
            return Tagging(*(column[keep] for column in columns), known.tokens, known.windows, {}, 0, {})

    results = [
        judge({"retain": {"max_label_loss": limit}, "improve": {"set": "tweets"}}, Forgetful(*WORDS), ALL)[
            "retain news PER"
        ]
        for limit in (3.0, 10.0)
    ]

    assert results[0].interval[0] < -3 < results[0].measured < 0
    assert [result.passed for result in results] == [False, True]


def test_labels_with_few_entities_are_not_judged_and_a_set_of_them_is_refused():
    content = {"retain": {"min_support": 31}, "improve": {"set": "tweets"}}

    with pytest.raises(ConfigError, match=r"expected 31 entities or more of a label in test set 'news'.* found 30"):
        judge(content, ALL, ALL)


def test_a_label_with_few_entities_is_named_as_not_judged():
    content = {"retain": {"min_support": 31}, "improve": {"set": "tweets"}}
    rows = OLD.gold.to_pylist() + [
        {
            "id": f"more#{at}",
            "source": "more",
            "row": at,
            "text": "Anna",
            "groups": [],
            "gold": [{"start": 0, "end": 4, "label": "PER"}],
        }
        for at in range(2)
    ]
    news = dataclasses.replace(OLD, gold=pa.Table.from_pylist(rows, schema=GOLD_SCHEMA))
    assert (news.support["PER"], news.support["LOC"]) == (32, 30)
    measured = {item.name: measure_set(item, WordTagger("Anna", "Otto", "Oslo"), ALL) for item in (news, NEW)}
    found = {each.name: each for each in parse_gates(content, where="g").judge(Measurements(sets=measured))}
    assert found["retain news PER"].measured == 0
    loc = found["retain news LOC"]
    assert (loc.measured, loc.interval, loc.passed) == (None, None, True)
    assert loc.sentence == "not judged, LOC has 30 entities on news, fewer than min_support 31"


def test_a_gain_that_is_too_small_holds_a_candidate():
    content = {"improve": {"set": "tweets", "min_gain": 0.5}}

    assert not judge(content, ALL, ALL)["improve tweets"].passed
    assert judge(content, ALL, WordTagger("Otto"))["improve tweets"].passed


def test_a_gain_may_have_to_be_sure():
    content = {"improve": {"set": "tweets", "min_gain": 40.0}}
    champion = WordTagger("Anna", "Rome", "Otto")
    gain = judge(content, ALL, champion)["improve tweets"]

    assert gain.measured == pytest.approx(100 / 3)
    assert not gain.passed
    content = {"improve": {"set": "tweets", "min_gain": 30.0, "sure": True}}
    assert judge(content, ALL, champion)["improve tweets"].passed


def test_scores_that_mean_less_hold_a_candidate():
    content = {"calibration": {"max_ece_increase": 0.02}}

    found = judge(content, WordTagger(*WORDS, score=0.6), ALL)

    assert {name: result.passed for name, result in found.items()} == {
        "calibration news": False,
        "calibration tweets": False,
    }
    assert found["calibration news"].measured == pytest.approx(0.35, abs=1e-3)
    assert all(result.passed for result in judge(content, ALL, ALL).values())


@pytest.mark.parametrize(("ratios", "passed"), [((0.8, 0.91, 1.2), True), ((0.8, 0.89, 1.2), False)])
def test_a_slow_candidate_is_held_by_the_median(ratios, passed):
    result = judge({"throughput": {"min_ratio": 0.9}}, ALL, ALL, ratios)["throughput"]

    assert (result.passed, result.interval) == (passed, (0.8, 1.2))


def test_candidate_and_champion_take_turns():
    now, order = [0.0], []

    class Timed:
        def __init__(self, name, seconds):
            self._name, self._seconds = name, seconds

        def tag(self, texts):
            order.append(self._name)
            now[0] += self._seconds

    ratios = measure_ratios(["text"], Timed("new", 2.0), Timed("old", 1.0), rounds=3, clock=lambda: now[0])

    assert ratios == (0.5, 0.5, 0.5)
    assert order == ["old", "new", "new", "old"] * 2


def test_the_first_candidate_has_nobody_beside_it():
    gates = parse_gates({"retain": {}, "throughput": {}}, where="gates.toml")
    measured = measure_set(NEW, WordTagger("Otto"), None)

    assert [(result.name, result.passed) for result in gates.welcome()] == [("retain", True), ("throughput", True)]
    scores = {score.label: round(score.f1, 2) for score in measured.score().scores}
    assert scores == {"LOC": 0.0, "PER": 1.0, "micro": 0.67}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected a gate of .* in 'g.toml', found none"),
        ({"retian": {}}, "found 'retian'; did you mean 'retain'?"),
        ({"retain": 1}, r"expected a table \[retain\]"),
        ({"retain": {"max_loss": 1}}, r"expected keys .* of \[retain\] in 'g.toml', found 'max_loss'"),
        ({"retain": {"min_support": "many"}}, "expected int for 'min_support'"),
        ({"retain": {"min_support": 0}}, "expected min_support"),
        ({"retain": {"max_label_loss": -1}}, "expected max_label_loss"),
        ({"improve": {}}, r"expected 'set' in \[improve\]"),
        ({"improve": {"set": "a", "min_gain": 101}}, "expected min_gain"),
        ({"calibration": {"max_ece_increase": 2}}, "expected max_ece_increase"),
        ({"throughput": {"min_ratio": 0}}, "expected min_ratio"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(content, message):
    with pytest.raises(ConfigError, match=message):
        parse_gates(content, where="g.toml")


@pytest.mark.parametrize(
    ("content", "supports", "message"),
    [
        ({"improve": {"set": "twets"}}, {"tweets": {"PER": 9}}, "found 'twets'; did you mean 'tweets'?"),
        ({"retain": {}, "improve": {"set": "a"}}, {"a": {"PER": 99}}, "expected a past test set"),
        ({"calibration": {}}, {"a": {}}, "expected gold entities in test set 'a', found none"),
    ],
)
def test_gates_that_would_have_nothing_to_judge_are_refused_before_anything_is_measured(content, supports, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_gates(content, where="g.toml").check(supports)
