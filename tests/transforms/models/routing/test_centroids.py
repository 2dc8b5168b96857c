"""Centroids of training texts: made, kept, and chosen by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from schemas.errors import CheckpointError, ConfigError
from tests.training.recipes import make_encoder
from transforms.models.checkpoint import digest_weights
from transforms.models.embeddings import SentenceEncoder
from transforms.models.routing.centroids import (
    CENTROID_NAME,
    Centroid,
    NearestConfig,
    choose_nearest,
    gather_centroids,
    load_centroid,
    mean_direction,
    save_centroid,
)

PEOPLE, PLACES = ["anna saw otto", "otto saw mia", "mia saw anna"], ["rome - oslo", "oslo - lima", "lima - rome"]
VECTORS = arrays(np.float32, (5, 3), elements=st.floats(-1, 1, width=16))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "e")


def _configure(folder, **changes):
    read = SentenceEncoder(str(folder)).encode
    options = {
        "names": ("people", "places"),
        "centroids": np.stack([mean_direction(read(PEOPLE)), mean_direction(read(PLACES))]),
        "encoder": str(folder),
        "encoder_digest": digest_weights(folder),
    }
    return NearestConfig(**{**options, **changes})


@given(VECTORS)
def test_a_mean_direction_has_length_one_and_knows_no_order(vectors):
    found = mean_direction(vectors)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5) or not found.any()
    assert found == pytest.approx(mean_direction(vectors[::-1]), abs=1e-4)


@given(VECTORS, VECTORS)
def test_no_other_centroid_is_nearer_than_the_chosen(vectors, centroids):
    chosen = choose_nearest(vectors, centroids)
    assert [(vectors @ centroids.T)[at, one] for at, one in enumerate(chosen)] == (vectors @ centroids.T).max(
        axis=1
    ).tolist()


def test_texts_go_where_training_texts_were_like_them(encoder):
    router = _configure(encoder).load()
    assert router.route([*PEOPLE, *PLACES]) == ["people"] * 3 + ["places"] * 3
    assert router.route([]) == []


def test_only_the_beginning_of_a_text_is_looked_at(encoder):
    router = _configure(encoder, max_tokens=8).load()
    begin = "anna saw otto mia saw anna otto"
    assert router.route([f"{begin} {' '.join(PLACES * 9)}"]) == router.route([begin]) == ["people"]


def test_an_encoder_that_changed_since_planning_is_refused(encoder):
    with pytest.raises(CheckpointError, match=r"with weights 0000, found .*; it changed since the run was planned"):
        _configure(encoder, encoder_digest="0000").load()


def test_every_part_of_it_that_changes_a_choice_is_told(encoder):
    config = _configure(encoder)
    others = [
        _configure(encoder, max_tokens=9),
        _configure(encoder, encoder_digest="0000"),
        _configure(encoder, centroids=config.centroids[::-1]),
    ]
    assert all(other.describe() != config.describe() for other in others)
    assert _configure(encoder, device="cuda", encoder="elsewhere").describe() == config.describe()


def test_a_centroid_is_kept_with_its_checkpoint(tmp_path):
    save_centroid(Centroid(np.array([0.6, 0.8], np.float32), "abc", "minilm"), tmp_path)
    found = load_centroid(tmp_path)
    assert (found.vector.tolist(), found.encoder_digest, found.encoder) == (
        pytest.approx([0.6, 0.8]),
        "abc",
        "minilm",
    )


def test_a_checkpoint_without_a_sound_centroid_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="found none; train it with --remember centroid"):
        load_centroid(tmp_path)
    save_centroid(Centroid(np.array([np.nan], np.float32), "abc"), tmp_path)
    with pytest.raises(CheckpointError, match=r"expected a centroid in .*, found something else"):
        load_centroid(tmp_path)
    (tmp_path / CENTROID_NAME).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"cannot read memory/centroid.safetensors"):
        load_centroid(tmp_path)


def test_centroids_by_several_encoders_are_refused():
    one, other = (Centroid(np.ones(1, np.float32), digest) for digest in ("abc", "def"))
    assert gather_centroids({"a": one, "b": one})[1] == "abc"
    with pytest.raises(ConfigError, match="by one encoder, found those of a abc, b def"):
        gather_centroids({"a": one, "b": other})
