"""A teacher's spans as labelled text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.silver import (
    DOUBTFUL,
    EMPTY,
    LABELLED,
    OVERLAPPING,
    count_empty,
    forget_doubtful,
    judge_document,
    label_text,
    map_spans,
    rank_document,
    render_conll,
)
from transforms.corpora.conll import parse_sentences
from transforms.storage.annotations import AnnotatedDocument


def entity(start, end, score=0.95, label="PER"):
    return {"start": start, "end": end, "label": label, "score": score, "text": ""}


def document(*entities, below=(), digest="0" * 64):
    return AnnotatedDocument("a", "/in", 0, digest, entities, below)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (document(entity(0, 4), entity(5, 9, 0.9)), LABELLED),
        (document(), EMPTY),
        (document(entity(0, 4), entity(5, 9, 0.89)), DOUBTFUL),
        (document(entity(0, 4), below=(entity(5, 9),)), DOUBTFUL),
        (document(below=(entity(5, 9, 0.1),)), DOUBTFUL),
        (document(entity(0, 4), entity(3, 9)), OVERLAPPING),
        (document(entity(0, 4, label="MISC"), below=(entity(3, 9, label="MISC"),)), EMPTY),
        (document(entity(0, 4), entity(3, 9, 0.1, label="MISC")), LABELLED),
    ],
)
def test_a_document_is_trained_on_when_every_span_is_sure(found, kind):
    assert judge_document(found, confidence=0.9, label_map={"MISC": "O"}) == kind


def test_doubtful_spans_are_forgotten_on_demand():
    found = forget_doubtful(document(entity(0, 4), entity(5, 9, 0.5), below=(entity(10, 12),)), confidence=0.9)
    assert found == document(entity(0, 4))


def test_documents_without_entities_are_a_share_at_most():
    for share in (0.0, 0.1, 0.25, 0.5, 0.9):
        n = count_empty(90, 10_000, share)
        assert n / (90 + n) <= share < (n + 1) / (91 + n)
    assert count_empty(0, 10, 0.5) == 0
    assert count_empty(5, 10, 1.0) == 10


def test_which_documents_are_chosen_depends_on_text_and_seed_alone():
    one, other = document(digest="a" * 64), document(digest="b" * 64)
    assert rank_document(one, 0) == rank_document(document(entity(0, 4), digest="a" * 64), 0)
    assert len({rank_document(one, 0), rank_document(other, 0), rank_document(one, 1)}) == 3


def test_spans_are_renamed_sorted_and_dropped():
    entities = [entity(5, 9, label="location"), entity(0, 4), entity(10, 12, label="MISC")]
    assert map_spans(entities, {"location": "LOC", "MISC": "O"}) == [(0, 4, "PER"), (5, 9, "LOC")]


@pytest.mark.parametrize(
    ("text", "spans", "wanted"),
    [
        ("Anna's dog", [(0, 4, "PER")], [(("Anna", "'", "s", "dog"), ((0, 1, "PER"),))]),
        ("in New York.", [(3, 11, "LOC")], [(("in", "New", "York", "."), ((1, 3, "LOC"),))]),
        ("a\nb", [], [(("a",), ()), (("b",), ())]),
        ("New\nYork here\nnow", [(0, 8, "LOC")], [(("New", "York", "here"), ((0, 2, "LOC"),)), (("now",), ())]),
        ("Berliner", [(0, 6, "LOC")], [(("Berlin", "er"), ((0, 1, "LOC"),))]),
        ("हिन्दी भाषा", [(0, 6, "X")], [(("हिन्दी", "भाषा"), ((0, 1, "X"),))]),
        (" \n\t ", [], []),
        ("", [], []),
    ],
)
def test_a_text_becomes_words_with_spans_over_them(text, spans, wanted):
    found = label_text(text, spans)
    assert [(sentence.words, sentence.spans) for sentence in found] == wanted
    assert [sentence.opens_document for sentence in found] == [at == 0 for at in range(len(found))]


@st.composite
def labelled_texts(draw):
    """Any text, with spans that begin and end with something to read."""
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text("aB .,\n\t-", max_size=60))
    solid = [at for at, char in enumerate(text) if not char.isspace()]
    ends = draw(st.lists(st.sampled_from(solid), max_size=8, unique=True).map(sorted)) if solid else []
    spans = [(a, b + 1, draw(st.sampled_from(["PER", "LOC"]))) for a, b in zip(ends[::2], ends[1::2], strict=False)]
    return text, spans


@given(labelled_texts())
def test_nothing_but_white_space_is_lost_and_spans_keep_their_text(case):
    text, spans = case
    sentences = label_text(text, spans)
    assert "".join(word for sentence in sentences for word in sentence.words) == "".join(text.split())
    found = [
        ("".join(sentence.words[first:last]), label) for sentence in sentences for first, last, label in sentence.spans
    ]
    assert found == [("".join(text[start:end].split()), label) for start, end, label in spans]


@given(labelled_texts(), st.text(max_size=9))
def test_conll_is_read_back_as_it_was_written(case, id_):
    sentences = label_text(*case)
    read = list(parse_sentences(render_conll(id_, sentences).split("\n"), source="a"))
    assert [sentence.words for sentence in read] == [sentence.words for sentence in sentences]
    assert [tuple(sentence.spans) for sentence in read] == [sentence.spans for sentence in sentences]
    assert [sentence.opens_document for sentence in read] == [sentence.opens_document for sentence in sentences]
