"""Tag decoders and stitching on any tags, probabilities and documents."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.fuzz.properties import TAG_LISTS, check_decoding, check_stitching, check_tags
from transforms.tags.schemes import SCHEMES

budget = settings(deadline=20_000)

_TAGS = (
    "O",
    "B-A",
    "I-A",
    "E-A",
    "S-A",
    "L-A",
    "U-A",
    "M-A",
    "B-B",
    "I-B",
    "B_A",
    "B-",
    "-",
    "",
    "I",
    "A",
    "O-A",
    "B-O",
)


@budget
@given(st.lists(st.one_of(st.sampled_from(_TAGS), st.text(max_size=4)), max_size=20), st.sampled_from(sorted(SCHEMES)))
def test_any_tags_are_spans_or_refused_for_their_scheme(tags, scheme):
    check_tags(tags, scheme)


@st.composite
def _probabilities(draw):
    scheme = draw(st.sampled_from(sorted(TAG_LISTS)))
    lengths = draw(st.lists(st.integers(0, 12), max_size=5))
    shape = (sum(lengths), len(TAG_LISTS[scheme]))
    values = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 1e-38, 1e-45]), st.floats(0, 1, width=32))
    return scheme, draw(arrays(np.float32, shape, elements=values)), np.cumsum([0, *lengths], dtype=np.int64)


@budget
@given(_probabilities())
def test_any_probabilities_are_legal_tags_and_spans_within_documents(case):
    check_decoding(*case)


@budget
@given(st.lists(st.integers(0, 90), max_size=6), st.integers(6, 20), st.randoms(use_true_random=False))
def test_windows_of_any_documents_cover_every_token_and_agree(lengths, max_tokens, random):
    starts_word = np.array([random.random() < 0.3 for _ in range(sum(lengths))], dtype=bool)
    check_stitching(lengths, starts_word, max_tokens, random.randint(0, max_tokens // 3))
