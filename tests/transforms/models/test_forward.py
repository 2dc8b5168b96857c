"""Windows with the same tokens are computed once; what that changes, and what it must not."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transforms.models.forward import Answers

SENTENCE = "Anna lives in Berlin"


def _columns(tagging):
    return [
        getattr(tagging, name).tolist() for name in ("document", "start", "end", "label", "score", "tokens", "windows")
    ]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.lists(st.sampled_from(["Anna", "Berlin", "word"]), max_size=40), max_size=8), copies=st.data())
def test_dedupe_changes_no_entity(build_tagger, words, copies):
    texts = [" ".join(line) for line in words for _ in range(copies.draw(st.integers(1, 3)))]
    assert _columns(build_tagger(dedupe=True)[0].tag(texts)) == _columns(build_tagger(dedupe=False)[0].tag(texts))


def test_identical_windows_are_computed_once(build_tagger):
    tagger, classifier = build_tagger(dedupe=True)
    tagging = tagger.tag([SENTENCE, "word", SENTENCE, SENTENCE, "word"])
    assert sum(rows for rows, _ in classifier.batches) == 2
    assert tagging.document.tolist() == [0, 0, 2, 2, 3, 3]
    assert tagging.tokens.tolist() == [4, 1, 4, 4, 1]


def test_no_dedupe_computes_every_window(build_tagger):
    tagger, classifier = build_tagger(dedupe=False)
    tagger.tag([SENTENCE] * 5)
    assert sum(rows for rows, _ in classifier.batches) == 5


def test_windows_are_remembered_from_one_look_ahead_to_the_next(build_tagger, monkeypatch):
    monkeypatch.setattr("transforms.models.window_tagger._LOOK_AHEAD_CHARACTERS", 30)
    tagger, classifier = build_tagger(dedupe=True)
    assert tagger.tag([SENTENCE] * 8).document.tolist() == [at for at in range(8) for _ in range(2)]
    assert sum(rows for rows, _ in classifier.batches) == 1


def test_nothing_is_remembered_from_one_call_to_the_next(build_tagger):
    tagger, classifier = build_tagger(dedupe=True)
    tagger.tag([SENTENCE])
    tagger.tag([SENTENCE])
    assert sum(rows for rows, _ in classifier.batches) == 2


def test_a_window_that_fails_takes_every_document_that_holds_it(build_tagger):
    tagger, _ = build_tagger(dedupe=True, poison="Poison")
    tagging = tagger.tag(["Poison", SENTENCE, "Poison"])
    assert {document: error.code for document, error in tagging.failures.items()} == dict.fromkeys(
        (0, 2), "inference_failed"
    )
    assert tagging.document.tolist() == [1, 1]


@pytest.mark.parametrize("n_tokens", [1 << 20, 1 << 24])
def test_answers_are_forgotten_rather_than_kept_without_bound(n_tokens):
    answers = Answers()
    answers.keep(b"long", np.zeros((n_tokens, 2), dtype=np.float32))
    answers.keep(b"short", np.zeros((4, 2), dtype=np.float32))
    assert (answers.find(b"long") is not None) == (n_tokens == 1 << 20)
    assert answers.find(b"short") is not None
