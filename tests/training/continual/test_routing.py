import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CheckpointError, ConfigError
from training.continual.routing import ROUTER_NAME, Rules, fit_router, load_router
from transforms.models.embeddings import embed_texts

TEXTS = {"letters": ["a b", "a"], "digits": ["1 2", "2"]}


def _embed(texts):
    found = np.array([[sum(c.isalpha() for c in text), sum(c.isdigit() for c in text)] for text in texts], np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1)


def test_a_text_goes_to_the_nearest_centroid():
    router = fit_router(TEXTS, _embed, base_digest="abc")
    assert router.route(_embed(["x y 1", "7 8 z", "2"])) == ["letters", "digits", "digits"]
    assert np.allclose(np.linalg.norm(router.centroids, axis=1), 1)


@given(st.sampled_from(sorted(TEXTS)))
def test_another_domain_changes_no_centroid(name):
    whole, one = fit_router(TEXTS, _embed, base_digest=""), fit_router({name: TEXTS[name]}, _embed, base_digest="")
    assert np.array_equal(whole.centroids[whole.names.index(name)], one.centroids[0])


def test_a_router_is_kept_with_its_adapters(tmp_path):
    router = fit_router(TEXTS, _embed, base_digest="abc")
    router.save(tmp_path)
    again = load_router(tmp_path, base_digest="abc")
    assert again.names == router.names
    assert np.array_equal(again.centroids, router.centroids)
    with pytest.raises(CheckpointError, match=r"made with base weights def, found abc; fit it again"):
        load_router(tmp_path, base_digest="def")
    (tmp_path / ROUTER_NAME).unlink()
    with pytest.raises(CheckpointError, match=r"cannot read router.safetensors"):
        load_router(tmp_path, base_digest="abc")


def test_the_first_rule_that_is_found_chooses():
    rules = Rules((("tweets", r"@\w+|#\w+"), ("code", r"\w+\(\)")), default="news")
    assert rules.route(["hi @anna main()", "main()", "Rome, Monday"]) == ["tweets", "code", "news"]


def test_rules_and_texts_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match=r"expected a regular expression for 'a', found '\('"):
        Rules((("a", "("),), default="b")
    with pytest.raises(ConfigError, match=r"expected texts for each adapter, found none for \['b'\]"):
        fit_router({"a": ["x"], "b": []}, _embed, base_digest="")


def test_vectors_are_means_over_pieces_whatever_else_is_in_the_batch(past):
    texts = ["anna went to rome .", "otto", "the river"]
    found = embed_texts(past.model, past.tokenizer, texts, max_tokens=32)
    assert found.shape == (3, past.model.config.hidden_size)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    for text, vector in zip(texts, found, strict=True):
        assert np.allclose(embed_texts(past.model, past.tokenizer, [text], max_tokens=32)[0], vector, atol=1e-5)
    hidden = past.model.eval().base_model(**past.tokenizer("otto", return_tensors="pt")).last_hidden_state[0]
    mean = hidden.mean(dim=0).detach().numpy()
    assert np.allclose(found[1], mean / np.linalg.norm(mean), atol=1e-5)
