import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError
from tests.conftest import write_tokenizer
from transforms.tags.decode import DECODERS, REPAIRS
from transforms.tags.entities import AGGREGATIONS, DecodingConfig, EntityDecoder
from transforms.tags.schemes import build_tag_set
from transforms.text.tokens import ColumnTokenizer

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Knows one word, and reads others letter by letter."""
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder, ["Anna"])
    return ColumnTokenizer((folder / "tokenizer.json").read_text())


def _decode(tokenizer, texts, probabilities, tags=TAGS, **config):
    """Entities as (document, surface, label, score)."""
    decoder = EntityDecoder(build_tag_set(tags), DecodingConfig(**config))
    found = decoder.decode(texts, tokenizer.tokenize(texts), probabilities)
    return [
        (document, texts[document][start:end], decoder.labels[label], score)
        for document, start, end, label, score in zip(*(column.tolist() for column in found), strict=True)
    ]


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("first", []), ("average", [("ab", 0.625)]), ("max", [("ab", 0.875)]), ("simple", [("b", 0.875)])],
)
def test_a_words_tokens_become_one(tokenizer, aggregation, expected):
    probabilities = np.array([[0.625, 0.375], [0.125, 0.875], [0.75, 0.25]], dtype=np.float32)
    found = _decode(tokenizer, ["ab Anna"], probabilities, ["O", "I-PER"], aggregation=aggregation)
    assert [(surface, score) for _, surface, _, score in found] == expected


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.lists(st.sampled_from(["Anna", "Zoë", "a", ",", "😀"]), max_size=8).map(" ".join), max_size=6),
    seed=st.integers(0, 2**32 - 1),
    decoder=st.sampled_from(DECODERS),
    repair=st.sampled_from(REPAIRS),
    aggregation=st.sampled_from(AGGREGATIONS),
)
def test_a_text_has_the_same_entities_alone_and_among_others(tokenizer, texts, seed, **config):
    bounds = tokenizer.tokenize(texts).bounds
    draw = np.random.default_rng(seed)
    # As unlike as those of viterbi's forced tags, so that sums over other texts would show in the last digits.
    probabilities = draw.dirichlet(np.full(len(TAGS), 0.1), bounds[-1]).astype(np.float32)
    alone = [
        (at, *entity)
        for at, (text, (begin, end)) in enumerate(zip(texts, itertools.pairwise(bounds), strict=True))
        for _, *entity in _decode(tokenizer, [text], probabilities[begin:end], **config)
    ]
    assert _decode(tokenizer, texts, probabilities, **config) == alone


@pytest.mark.parametrize("option", [{"decoder": "x"}, {"repair": "x"}, {"aggregation": "x"}])
def test_decoding_config_refuses_names_it_does_not_know(option):
    with pytest.raises(ConfigError, match="'x'"):
        DecodingConfig(**option)
