"""Checkpoints of a registry as training takes them: on this machine, with what they keep."""

import pytest

from schemas.errors import CheckpointError
from tests.conftest import KEYS
from tests.training.recipes import TAG_SET, make_encoder
from training.encoders import load_model, open_encoder
from training.registry.checkpoints import add_checkpoint
from training.registry.records import CHECKPOINTS
from training.registry.references import resolve_reference
from transforms.models.checkpoint import find_checkpoint
from transforms.storage.posix import PosixStore
from transforms.storage.store import open_store


@pytest.fixture
def tagger(tmp_path):
    """A tagger that keeps something."""
    encoder = open_encoder(str(make_encoder(tmp_path / "encoder")))
    load_model(encoder, TAG_SET, dropout=0.0, seed=0).save_pretrained(tmp_path / "tagger")
    encoder.tokenizer.save_pretrained(tmp_path / "tagger")
    (tmp_path / "tagger" / "memory").mkdir()
    (tmp_path / "tagger" / "memory" / "replay.conll").write_text("anna B-person\n")
    return tmp_path / "tagger"


@pytest.fixture
def bucket(s3_endpoint, tmp_path, monkeypatch):
    """The URL of a registry in a bucket, and a cache of its own for what is fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secret"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    return f"s3://bucket/{tmp_path.name}/registry"


def test_a_checkpoint_of_a_bucket_is_fetched_with_what_it_keeps(bucket, tagger):
    digest = add_checkpoint(open_store(bucket), str(tagger), command="add").digest

    pinned = resolve_reference(f"registry:{digest[:8]}", bucket)

    annotated = find_checkpoint(pinned.model)
    assert annotated.digest == digest
    assert not (annotated.folder / "memory").exists()
    folder = pinned.fetch()
    assert (folder / "memory" / "replay.conll").read_text() == "anna B-person\n"
    assert find_checkpoint(str(folder)).digest == digest


def test_a_checkpoint_of_a_bucket_is_added_to_another_registry_with_what_it_keeps(bucket, tagger, tmp_path):
    digest = add_checkpoint(open_store(bucket), str(tagger), command="add").digest
    here = PosixStore(str(tmp_path / "here"))

    record = add_checkpoint(here, resolve_reference(f"registry:{digest}", bucket).model, command="add")

    assert here.read(f"{CHECKPOINTS}/{record.digest}/memory/replay.conll") == b"anna B-person\n"


def test_what_is_kept_and_was_changed_in_the_registry_is_not_trained_on(posix_store, tmp_path, tagger):
    digest = add_checkpoint(posix_store, str(tagger), command="add").digest
    pinned = resolve_reference(f"registry:{digest}", str(tmp_path / "run"))
    assert pinned.fetch() == tmp_path / "run" / CHECKPOINTS / digest

    path = tmp_path / "run" / CHECKPOINTS / digest / "memory" / "replay.conll"
    path.write_text("otto B-person\n")
    with pytest.raises(CheckpointError, match=r"expected 'memory/replay.conll' of checkpoint .* was changed"):
        pinned.fetch()
    path.unlink()
    with pytest.raises(CheckpointError, match="found none; it was changed in the registry"):
        pinned.fetch()
