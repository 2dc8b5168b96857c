import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ModelError
from transforms.models import window_tagger
from transforms.tags.entities import DecodingConfig, EntityDecoder
from transforms.text.tokens import ColumnTokenizer

SENTENCE = "Anna lives in Berlin"


def _entities(tagging, texts, labels):
    return [
        (int(document), texts[document][start:end], labels[label])
        for document, start, end, label in zip(
            tagging.document, tagging.start.tolist(), tagging.end.tolist(), tagging.label, strict=True
        )
    ]


def _tag(tagger, texts):
    tagging = tagger.tag(texts)
    return _entities(tagging, texts, tagger.labels), tagging


def test_tag_finds_entities_with_offsets_in_each_text(build_tagger):
    tagger, _ = build_tagger()
    texts = ["nobody", SENTENCE, "", "Berlin"]
    found, tagging = _tag(tagger, texts)
    assert found == [(1, "Anna", "PER"), (1, "Berlin", "LOC"), (3, "Berlin", "LOC")]
    assert tagging.windows.tolist() == [1, 1, 0, 1]
    assert tagging.tokens.tolist() == [6, 4, 0, 1]
    assert not tagging.failures


def test_tag_counts_the_tokens_that_the_tokenizer_does_not_know(build_tagger, monkeypatch):
    texts = ["Anna 𓀀", "", "word", "𓀀 𓀁 𓀂"] * 3
    assert build_tagger()[0].tag(texts).unknown.tolist() == [1, 0, 0, 3] * 3
    monkeypatch.setattr(window_tagger, "_LOOK_AHEAD_CHARACTERS", 5)
    assert build_tagger()[0].tag(texts).unknown.tolist() == [1, 0, 0, 3] * 3, "whatever the texts are grouped with"
    assert build_tagger()[0].tag([]).unknown.tolist() == []


def test_probabilities_are_kept_as_they_are_decoded_and_only_on_request(build_tagger, tokenizer_json):
    texts = [SENTENCE, "", "word " * 40 + SENTENCE, "Anna"] * 2
    tagger, classifier = build_tagger()
    assert tagger.tag(texts).probabilities is None
    tagger.keeps_probabilities = True
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(window_tagger, "_LOOK_AHEAD_CHARACTERS", 100)
        tagging = tagger.tag(texts)
    assert [own.shape for own in tagging.probabilities] == [(n_tokens, 5) for n_tokens in tagging.tokens]
    columns = ColumnTokenizer(tokenizer_json).tokenize(texts)
    found = EntityDecoder(classifier.tag_set, DecodingConfig()).decode(
        texts, columns, np.concatenate(tagging.probabilities)
    )
    for name in found._fields:
        assert getattr(found, name).tolist() == getattr(tagging, name).tolist()
    assert len(found.label) == 10
    assert tagger.tag([]).probabilities == ()


def test_tag_finds_a_sentence_at_every_offset_of_a_long_text_once(build_tagger):
    tagger, _ = build_tagger()
    n_words = 60
    texts = [" ".join(["word"] * at + [SENTENCE] + ["word"] * (n_words - at)) for at in range(n_words + 1)]
    found, _ = _tag(tagger, texts)
    expected = [(at, name, label) for at in range(n_words + 1) for name, label in (("Anna", "PER"), ("Berlin", "LOC"))]
    assert found == expected


def test_tag_computes_no_more_than_the_budget_at_once(build_tagger):
    tagger, classifier = build_tagger(batch_tokens=48)
    _, tagging = _tag(tagger, [SENTENCE + " word" * (n % 20) for n in range(40)])
    assert max(rows * length for rows, length in classifier.batches) <= 48
    assert tagging.computed_tokens == sum(rows * length for rows, length in classifier.batches)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.lists(st.sampled_from(["Anna", "Berlin", "word", ","]), max_size=50), max_size=8))
def test_tag_gives_a_text_the_same_entities_alone_and_among_others(build_tagger, words):
    texts = [" ".join(line) for line in words]
    tagger, _ = build_tagger()
    together, _ = _tag(tagger, texts)
    alone = [(at, name, label) for at, text in enumerate(texts) for _, name, label in _tag(tagger, [text])[0]]
    assert together == alone


def test_tag_halves_the_budget_when_memory_runs_out(build_tagger):
    texts = [SENTENCE] * 30
    expected, _ = _tag(build_tagger()[0], texts)
    tagger, classifier = build_tagger(most_tokens=20)
    found, tagging = _tag(tagger, texts)
    assert found == expected
    assert not tagging.failures
    n_first = len(classifier.batches)
    _tag(tagger, texts)
    assert all(rows * length <= 20 for rows, length in classifier.batches[n_first:]), "the smaller budget is kept"


def test_tag_gives_up_a_text_whose_single_window_is_too_large(build_tagger):
    tagger, _ = build_tagger(most_tokens=10)
    found, tagging = _tag(tagger, [SENTENCE, "word " * 12])
    assert found == [(0, "Anna", "PER"), (0, "Berlin", "LOC")]
    assert {document: error.code for document, error in tagging.failures.items()} == {1: "too_large"}


def test_tag_isolates_the_text_that_makes_the_model_fail(build_tagger):
    tagger, _ = build_tagger(poison="Poison", batch_tokens=512)
    texts = [SENTENCE] * 5 + [SENTENCE + " Poison"] + [SENTENCE] * 5
    found, tagging = _tag(tagger, texts)
    assert {document: error.code for document, error in tagging.failures.items()} == {5: "inference_failed"}
    assert sorted({document for document, _, _ in found}) == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]


def test_tag_tells_of_a_failure_without_the_words_of_the_text(build_tagger):
    tagger, _ = build_tagger(poison="Poison")
    _, tagging = _tag(tagger, ["Poison"])
    assert "digest this text" not in tagging.failures[0].message
    assert "RuntimeError" in tagging.failures[0].message


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda p: p[:-1], "shape"),
        (lambda p: p[..., :-1], "shape"),
        (lambda p: np.full_like(p, np.nan), "NaN"),
    ],
)
def test_tag_stops_on_an_answer_that_makes_no_sense(build_tagger, answer, message):
    tagger, _ = build_tagger(answer=answer)
    with pytest.raises(ModelError, match=message):
        tagger.tag([SENTENCE] * 3)


def test_begin_gives_what_tag_gives_while_other_texts_are_under_way(build_tagger):
    batches = [[SENTENCE, "nobody"], [], ["Berlin"] * 30, ["word " * 40 + SENTENCE]]
    expected = [_tag(build_tagger()[0], texts)[0] for texts in batches]
    tagger, _ = build_tagger()
    waiting = [(tagger.begin(texts), texts) for texts in batches]
    assert [_entities(wait(), texts, tagger.labels) for wait, texts in waiting] == expected


def test_begin_fills_the_model_with_the_next_texts_before_the_last_are_answered(build_tagger):
    tagger, classifier = build_tagger()
    wait, _ = tagger.begin([SENTENCE]), tagger.begin(["Berlin"])
    wait()
    assert len(classifier.batches) == 2


def test_a_failure_of_the_model_gives_up_what_is_under_way_and_leaves_the_tagger_usable(build_tagger):
    tagger, classifier = build_tagger(answer=lambda p: p[:-1])
    first, second = tagger.begin([SENTENCE]), tagger.begin([SENTENCE])
    with pytest.raises(ModelError, match="shape"):
        first()
    with pytest.raises(ModelError, match="given up"):
        second()
    classifier._answer = None
    assert len(_tag(tagger, [SENTENCE])[0]) == 2


def test_tag_finds_every_entity_of_100_000_tokens_once(build_tagger):
    tagger, _ = build_tagger(max_tokens=512, overlap_tokens=64, batch_tokens=4096)
    text = " ".join("Anna" if at % 100 == 99 else "word" for at in range(100_000))
    found, tagging = _tag(tagger, [text])
    assert found == [(0, "Anna", "PER")] * 1000
    assert len(set(tagging.start.tolist())) == 1000
    assert tagging.tokens.tolist() == [100_000]
