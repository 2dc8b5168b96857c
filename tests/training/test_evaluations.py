import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.scores import MICRO
from training.evaluations import compare_tags, read_score
from training.examples import LabelledFile, LabelledSentence
from training.scores import score_tags

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def make_file(n, *, every=1):
    sentence = (("Anna", "saw", "Rome"), ((0, 1, "PER"), (2, 3, "LOC")))
    return LabelledFile("a/dev.conll", "0" * 64, tuple(LabelledSentence(*sentence, at % every == 0) for at in range(n)))


def nothing(file):
    return [["O"] * len(sentence.words) for sentence in file.sentences]


def gold(file):
    return [sentence.tags for sentence in file.sentences]


def test_compare_tags_tells_scores_before_and_after_with_a_paired_gain():
    file = make_file(40)
    half = [tags if at % 2 else ["O", "O", "O"] for at, tags in enumerate(gold(file))]
    found = compare_tags(file, nothing(file), half)
    assert found["counts"] == {"documents": 40, "sentences": 40, "entities": 80}
    assert found["before"]["micro"]["f1"] == 0.0
    assert found["after"]["micro"]["recall"] == 0.5
    assert found["after"]["labels"]["PER"]["support"] == 40
    low, high = found["after"]["micro"]["interval"]
    assert low < found["after"]["micro"]["f1"] < high
    assert found["gain"]["f1"] == found["after"]["micro"]["f1"]
    assert found["gain"]["interval"] == pytest.approx([low, high])
    assert found["errors"]["missed"] == {"LOC": 20, "PER": 20}


def test_compare_tags_of_the_same_tags_is_a_gain_of_nothing():
    file = make_file(9)
    found = compare_tags(file, gold(file), gold(file))
    assert found["gain"] == {"f1": 0.0, "interval": [0.0, 0.0]}
    assert found["confusion"] == {"LOC": {"LOC": 9}, "PER": {"PER": 9}}


def test_compare_tags_draws_documents_where_they_are_marked():
    assert compare_tags(make_file(12, every=4), nothing(make_file(12)), gold(make_file(12)))["counts"]["documents"] == 3


def test_compare_tags_has_no_interval_for_one_document():
    file = LabelledFile("a", "0", (make_file(1).sentences[0],))
    found = compare_tags(file, nothing(file), gold(file))
    assert found["after"]["micro"]["interval"] is None
    assert found["gain"]["interval"] is None
    assert read_score({**found, "role": "dev"}).intervals == {}


def test_compare_tags_keeps_no_words():
    file = make_file(4)
    assert "Anna" not in repr(compare_tags(file, nothing(file), gold(file)))


@given(st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=5), min_size=1, max_size=6), st.randoms())
def test_read_score_equals_the_scores_of_training(wanted, random):
    sentences = []
    for tags in wanted:
        # What is read from a file is legal BIO.
        spans = [(at, at + 1, tag[2:]) for at, tag in enumerate(tags) if tag != "O"]
        sentences.append(LabelledSentence(tuple("w" for _ in tags), tuple(spans)))
    file = LabelledFile("a", "0", tuple(sentences))
    given_tags = [[random.choice(("O", "B-LOC", "B-PER")) for _ in tags] for tags in wanted]
    found = read_score({**compare_tags(file, nothing(file), given_tags, n_replicates=0), "role": "dev"})
    assert found.after == score_tags(gold(file), given_tags)
    assert found.before == score_tags(gold(file), nothing(file))
    assert found.after[-1].label == MICRO
