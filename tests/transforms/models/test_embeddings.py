"""Texts to sentence embeddings, with a tiny encoder that the test makes."""

import numpy as np
import pytest

from schemas.errors import CheckpointError
from tests.training.recipes import make_encoder
from transforms.models.embeddings import SentenceEncoder

TEXTS = ["anna went to rome", "otto", "mia slept in oslo .", "anna went to rome"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return SentenceEncoder(str(make_encoder(tmp_path_factory.mktemp("encoder"))))


def test_each_text_has_a_unit_vector_whatever_stands_beside_it(encoder):
    together = encoder.encode(TEXTS)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert together == pytest.approx(np.concatenate([encoder.encode([text]) for text in TEXTS]), abs=1e-5)
    assert together[0] == pytest.approx(together[3], abs=1e-6)
    assert together[0] @ together[1] < 0.999


def test_a_vector_is_the_mean_over_the_pieces_of_a_text(encoder):
    pieces = encoder._tokenizer("mia slept in oslo .", return_tensors="pt")
    mean = encoder._model(**pieces).last_hidden_state[0].mean(dim=0).detach().numpy()
    assert encoder.encode(["mia slept in oslo ."])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_no_more_pieces_of_a_text_count_than_are_asked_for(tmp_path):
    short = SentenceEncoder(str(make_encoder(tmp_path / "e")), max_tokens=4)
    # Two pieces are special tokens.
    assert short.encode(["anna went to rome"]) == pytest.approx(short.encode(["anna went otto"]), abs=1e-6)


def test_a_text_longer_than_the_encoder_reads_has_one_too(encoder):
    assert np.isfinite(encoder.encode([" ".join(TEXTS * 200)])).all()


def test_what_is_no_encoder_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="safetensors"):
        SentenceEncoder(str(tmp_path))
