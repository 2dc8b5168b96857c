import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.models.language.models import make_llama
from transforms.models.language.attention import beginning, build_growing_cache, share_beginnings
from transforms.models.language.continuations import CausalContinuation, extend_layers
from transforms.models.language.prefixes import Shared


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """The folder of a model of which two heads look at the same keys."""
    folder = tmp_path_factory.mktemp("grouped") / "llama"
    return make_llama(folder, num_attention_heads=4, num_key_value_heads=2)


def load(folder, **options):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def share(model, ids):
    with torch.inference_mode():
        return Shared(len(ids), extend_layers(model, [], ids), 0)


@settings(max_examples=15, deadline=None)
@given(
    shared=st.lists(st.integers(5, 200), min_size=1, max_size=40),
    rests=st.lists(st.lists(st.integers(5, 200), min_size=1, max_size=9), min_size=1, max_size=5),
    steps=st.integers(0, 80),
    data=st.data(),
)
def test_a_beginning_that_is_kept_once_is_seen_as_one_that_every_row_has(grouped, shared, rests, steps, data):
    plain, apart = load(grouped), load(grouped)
    assert share_beginnings(apart)
    with torch.inference_mode():
        one = CausalContinuation(plain, share(plain, tuple(shared)), rests)
        other = CausalContinuation(apart, share(apart, tuple(shared)), rests, is_kept_once=True)
        torch.testing.assert_close(other.start(), one.start())
        rows = torch.tensor(sorted(data.draw(st.sets(st.integers(0, len(rests) - 1), min_size=1))))
        one.keep(rows)
        other.keep(rows)
        for at in range(steps):
            tokens = torch.arange(len(rows)) + at % 100 + 5
            torch.testing.assert_close(other.step(tokens), one.step(tokens), atol=1e-4, rtol=1e-4)


def test_rows_keep_only_what_is_their_own(grouped):
    model = load(grouped)
    share_beginnings(model)
    continuation = CausalContinuation(model, share(model, tuple(range(5, 45))), [(5, 6), (7,)], is_kept_once=True)
    with torch.inference_mode():
        continuation.start()
        continuation.step(torch.tensor([8, 9]))
    assert continuation._cache.get_seq_length() == 3


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 70), min_size=1, max_size=8), n_rows=st.integers(1, 4), data=st.data())
def test_a_cache_that_grows_in_place_holds_what_one_that_concatenates_does(grouped, lengths, n_rows, data):
    model = load(grouped)
    growing, concatenating = build_growing_cache(model), transformers.DynamicCache(config=model.config)
    for length in lengths:
        keys, values = torch.randn(2, n_rows, 2, length, 8)
        for layer in range(2):
            found, expected = (cache.update(keys, values, layer) for cache in (growing, concatenating))
            assert all(map(torch.equal, found, expected))
        rows = torch.tensor(sorted(data.draw(st.sets(st.integers(0, n_rows - 1), min_size=1))))
        n_rows = len(rows)
        for cache in (growing, concatenating):
            cache.batch_select_indices(rows)


def test_what_a_step_knows_nothing_of_is_left_to_transformers(grouped):
    model = load(grouped)
    share_beginnings(model)
    attend = transformers.AttentionInterface()[model.config._attn_implementation]
    layer = model.model.layers[1].self_attn
    query, key, value = torch.randn(3, 4, 1, 8), torch.randn(3, 2, 6, 8), torch.randn(3, 2, 6, 8)
    with beginning([(torch.randn(1, 2, 20, 8), torch.randn(1, 2, 20, 8)) for _ in range(2)]):
        own, _ = attend(layer, query, key, value, None)
        left, _ = attend(layer, query, key, value, None, sliding_window=4096)
        torch.testing.assert_close(own, left)
        with pytest.raises(ValueError, match="softcap"):
            attend(layer, query, key, value, None, softcap=30.0)


def test_a_model_with_attention_of_its_own_stays_as_it_is(grouped):
    model = load(grouped, attn_implementation="eager")
    assert not share_beginnings(model)
    assert model.config._attn_implementation == "eager"
