import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from schemas.errors import ConfigError
from schemas.labels import TagSet, Transitions
from transforms.tags.decode import Decoder, decode_tags
from transforms.tags.encode import encode_tags
from transforms.tags.schemes import allowed_steps, build_tag_set

TAG_LISTS = {
    "BIO": ["O", "B-A", "I-A", "B-B", "I-B"],
    "IOB1": ["O", "I-A", "B-B", "I-B"],
    "BIOES": ["O", "B-A", "I-A", "E-A", "S-A", "S-B"],
    "BILOU": ["O", "B-A", "I-A", "L-A", "U-A", "U-B"],
    "BMES": ["O", "B-A", "M-A", "E-A", "S-A"],
    "IO": ["O", "I-A", "I-B"],
}


def _decoder(scheme="BIO", **options):
    return Decoder(build_tag_set(TAG_LISTS[scheme]), **options)


def _one_hot(tags, tag_list):
    probabilities = np.full((len(tags), len(tag_list)), 0.01, dtype=np.float32)
    for unit, tag in enumerate(tags):
        probabilities[unit, tag_list.index(tag)] = 0.9
    return probabilities


def _spans(decoder, probabilities, bounds=None):
    found = decoder.decode(probabilities, np.array(bounds or [0, len(probabilities)]))
    return [
        (int(first), int(last), decoder.labels[label])
        for first, last, label in zip(found.first, found.last, found.label, strict=True)
    ]


# One sentence in every scheme: "Anna Maria  met  Bert  Carl  in  New York City" with two persons that touch.
SENTENCE = {
    "BIO": ["B-A", "I-A", "O", "B-A", "B-A", "O", "B-B", "I-B", "I-B"],
    "IOB1": ["I-A", "I-A", "O", "I-A", "B-A", "O", "I-B", "I-B", "I-B"],
    "BIOES": ["B-A", "E-A", "O", "S-A", "S-A", "O", "B-B", "I-B", "E-B"],
    "BILOU": ["B-A", "L-A", "O", "U-A", "U-A", "O", "B-B", "I-B", "L-B"],
    "BMES": ["B-A", "E-A", "O", "S-A", "S-A", "O", "B-B", "M-B", "E-B"],
}
ENTITIES = [(0, 2, "A"), (3, 4, "A"), (4, 5, "A"), (6, 9, "B")]


@pytest.mark.parametrize("scheme", SENTENCE)
def test_decode_tags_reads_the_same_entities_in_every_scheme(scheme):
    assert decode_tags(SENTENCE[scheme]) == ENTITIES


@pytest.mark.parametrize("scheme", SENTENCE)
def test_encode_tags_writes_every_scheme(scheme):
    assert encode_tags(ENTITIES, 9, scheme=scheme) == SENTENCE[scheme]


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ([], []),
        (["O", "O"], []),
        (["I-A", "I-A"], [(0, 2, "A")]),
        (["O", "I-A", "I-B"], [(1, 2, "A"), (2, 3, "B")]),
        (["B-A", "I-B"], [(0, 1, "A"), (1, 2, "B")]),
        (["B-A", "B-A"], [(0, 1, "A"), (1, 2, "A")]),
        (["E-A", "E-A"], [(0, 1, "A"), (1, 2, "A")]),
        (["S-A", "I-A", "E-A"], [(0, 1, "A"), (1, 3, "A")]),
    ],
)
def test_decode_tags_follows_conlleval_on_illegal_sequences(tags, spans):
    assert decode_tags(tags) == spans


@given(st.lists(st.sampled_from(["O", *(f"{p}-{x}" for p in "BIES" for x in ("A", "B"))]), max_size=12))
def test_decode_tags_equals_seqeval(tags):
    expected = [(start, end + 1, label) for label, start, end in get_entities(tags)]
    assert decode_tags(tags) == expected


@st.composite
def _spans_in_units(draw):
    n_units = draw(st.integers(0, 12))
    cuts = sorted(draw(st.sets(st.integers(0, n_units), max_size=8)))
    pieces = [(a, b, draw(st.sampled_from("AB"))) for a, b in itertools.pairwise(cuts) if draw(st.booleans())]
    return pieces, n_units


@given(_spans_in_units(), st.sampled_from(["BIO", "IOB1", "BIOES", "BILOU", "BMES"]))
def test_decode_tags_undoes_encode_tags(spans_and_length, scheme):
    spans, n_units = spans_and_length
    assert decode_tags(encode_tags(spans, n_units, scheme=scheme)) == spans


@settings(deadline=None)
@given(st.sampled_from(sorted(TAG_LISTS)), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_viterbi_finds_the_most_probable_legal_sequence(scheme, n_units, seed):
    tag_list = TAG_LISTS[scheme]
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(len(tag_list)), n_units).astype(np.float32)
    steps, first, last = allowed_steps(build_tag_set(tag_list))
    legal = [
        path
        for path in itertools.product(range(len(tag_list)), repeat=n_units)
        if first[path[0]] and last[path[-1]] and all(steps[a, b] for a, b in itertools.pairwise(path))
    ]
    best = max(legal, key=lambda path: sum(np.log(probabilities[unit, tag]) for unit, tag in enumerate(path)))
    chosen = _decoder(scheme).choose_tags(probabilities, np.array([0, n_units]))
    assert chosen.tolist() == list(best)


@settings(deadline=None)
@given(st.sampled_from(sorted(TAG_LISTS)), st.integers(1, 60), st.floats(0.05, 1), st.integers(0, 2**32 - 1))
def test_viterbi_searched_piece_by_piece_is_as_probable_as_searched_whole(scheme, n_units, spread, seed):
    tag_list = TAG_LISTS[scheme]
    weights = np.full(len(tag_list), spread)
    weights[tag_list.index("O")] = 1
    probabilities = np.random.default_rng(seed).dirichlet(weights, n_units).astype(np.float32)
    scores = np.log(np.maximum(probabilities, 1e-30, dtype=np.float64))
    _, first, last = allowed_steps(build_tag_set(tag_list))
    decoder = _decoder(scheme)
    whole = decoder._search(scores, first, last)
    pieces = decoder.choose_tags(probabilities, np.array([0, n_units]))
    units = np.arange(n_units)
    assert scores[units, pieces].sum() == pytest.approx(scores[units, whole].sum(), abs=1e-9)
    assert not decoder._illegal_units(pieces, np.array([0, n_units])).any()


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["viterbi", "argmax"]),
)
def test_decode_takes_documents_together_as_it_takes_them_alone(lengths, seed, name):
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(5), sum(lengths)).astype(np.float32)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    decoder = _decoder(decoder=name)
    alone = [
        (int(begin) + first, int(begin) + last, label)
        for begin, end in itertools.pairwise(bounds)
        for first, last, label in _spans(decoder, probabilities[begin:end])
    ]
    assert _spans(decoder, probabilities, bounds.tolist()) == alone


def test_no_digit_of_a_score_hangs_on_what_stands_before_its_span():
    draw, bounds = np.random.default_rng(5), np.arange(0, 20_001, 500)
    # Tags that viterbi takes because no other is legal may be as improbable as these.
    probabilities = draw.dirichlet(np.ones(5), bounds[-1]) * 10 ** -draw.uniform(0, 9, size=(bounds[-1], 1))
    decoder, probabilities = _decoder(decoder="argmax"), probabilities.astype(np.float32)
    alone = [decoder.decode(probabilities[a:b], np.array([0, b - a])).score for a, b in itertools.pairwise(bounds)]
    assert decoder.decode(probabilities, bounds).score.tolist() == np.concatenate(alone).tolist()


def test_argmax_lets_a_stray_inside_tag_begin_an_entity():
    probabilities = _one_hot(["O", "I-A", "I-A"], TAG_LISTS["BIO"])
    assert _spans(_decoder(decoder="argmax"), probabilities) == [(1, 3, "A")]


def test_discard_drops_entities_that_an_illegal_step_touches():
    probabilities = _one_hot(["B-B", "O", "I-A", "I-A", "O", "B-A"], TAG_LISTS["BIO"])
    assert _spans(_decoder(decoder="argmax", repair="discard"), probabilities) == [(0, 1, "B"), (5, 6, "A")]


def test_discard_keeps_an_entity_whose_next_document_begins_with_an_illegal_tag():
    probabilities = _one_hot(["O", "B-A", "I-A", "O", "B-B"], TAG_LISTS["BIO"])
    found = _spans(_decoder(decoder="argmax", repair="discard"), probabilities, [0, 2, 5])
    assert found == [(1, 2, "A"), (4, 5, "B")]


def test_discard_drops_an_entity_that_is_never_closed():
    probabilities = _one_hot(["B-A", "I-A", "O", "S-B"], TAG_LISTS["BIOES"])
    assert _spans(_decoder("BIOES", decoder="argmax", repair="discard"), probabilities) == [(3, 4, "B")]


def test_score_is_the_mean_probability_of_the_tags_of_a_span():
    probabilities = np.array([[0.1, 0.8, 0.1, 0, 0], [0.4, 0.0, 0.6, 0, 0]], dtype=np.float32)
    found = _decoder().decode(probabilities, np.array([0, 2]))
    assert found.score.tolist() == pytest.approx([0.7])


def test_decoder_refuses_names_it_does_not_know():
    with pytest.raises(ConfigError, match="beam"):
        Decoder(TagSet(("O",), "BIO"), decoder="beam")
    with pytest.raises(ConfigError, match="hope"):
        Decoder(TagSet(("O",), "BIO"), repair="hope")


def test_encode_tags_refuses_spans_that_overlap():
    with pytest.raises(ConfigError, match="disjoint"):
        encode_tags([(0, 2, "A"), (1, 3, "B")], 4)


def test_decode_tags_takes_as_many_tags_as_there_are_units():
    tags = [f"I-{number}" for number in range(50_000)]
    assert decode_tags(tags) == [(number, number + 1, str(number)) for number in range(50_000)]


LEARNED = ["BIO", "BIOES", "IOB1"]


def _learned_tag_set(scheme, seed):
    draw = np.random.default_rng(seed)
    tag_set = build_tag_set(TAG_LISTS[scheme])
    n_tags = len(tag_set.tags)
    steps, first, last = (2 * draw.normal(size=shape) for shape in ((n_tags, n_tags), n_tags, n_tags))
    transitions = Transitions(tuple(map(tuple, steps.tolist())), tuple(first.tolist()), tuple(last.tolist()))
    return dataclasses.replace(tag_set, transitions=transitions)


def _score_path(tag_set, scores, path):
    learned = tag_set.transitions
    inner = sum(learned.steps[a][b] for a, b in itertools.pairwise(path))
    return scores[np.arange(len(path)), path].sum() + inner + learned.first[path[0]] + learned.last[path[-1]]


@settings(deadline=None)
@given(st.sampled_from(LEARNED), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_learned_transitions_give_the_best_of_all_legal_paths(scheme, n_units, seed):
    tag_set = _learned_tag_set(scheme, seed)
    n_tags = len(tag_set.tags)
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(n_tags), n_units).astype(np.float32)
    scores = np.log(probabilities.astype(np.float64))
    steps, first, last = allowed_steps(tag_set)
    legal = [
        path
        for path in itertools.product(range(n_tags), repeat=n_units)
        if first[path[0]] and last[path[-1]] and all(steps[a, b] for a, b in itertools.pairwise(path))
    ]
    best = max(_score_path(tag_set, scores, list(path)) for path in legal)
    chosen = Decoder(tag_set).choose_tags(probabilities, np.array([0, n_units])).tolist()
    assert tuple(chosen) in legal
    assert _score_path(tag_set, scores, chosen) == pytest.approx(best, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(0, 2**32 - 1), st.booleans())
def test_learned_transitions_take_documents_together_as_they_take_them_alone(lengths, seed, is_cut):
    tag_set = _learned_tag_set("BIO", seed)
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(5), sum(lengths)).astype(np.float32)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    decoder = Decoder(tag_set)
    alone = [decoder.choose_tags(probabilities[a:b], np.array([0, b - a])) for a, b in itertools.pairwise(bounds)]
    with pytest.MonkeyPatch.context() as patch:
        if is_cut:
            patch.setattr("transforms.tags.decode._MOST_STEPS", 60)
        assert decoder.choose_tags(probabilities, bounds).tolist() == np.concatenate(alone).tolist()


@given(st.integers(0, 2**32 - 1))
def test_a_number_per_unit_changes_no_path(seed):
    draw = np.random.default_rng(seed)
    tag_set = _learned_tag_set("BIO", seed)
    probabilities = draw.dirichlet(np.ones(5), 6)
    bounds = np.array([0, 6])
    scaled = probabilities * np.exp(draw.normal(size=(6, 1)))
    assert Decoder(tag_set).choose_tags(probabilities, bounds).tolist() == (
        Decoder(tag_set).choose_tags(scaled, bounds).tolist()
    )


def test_argmax_does_without_learned_transitions():
    tag_set = _learned_tag_set("BIO", 0)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 6).astype(np.float32)
    chosen = Decoder(tag_set, decoder="argmax").choose_tags(probabilities, np.array([0, 6]))
    assert chosen.tolist() == probabilities.argmax(axis=1).tolist()
