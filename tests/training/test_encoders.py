import shutil
import socket

import pytest
import torch

from schemas.errors import CheckpointError, ConfigError
from training.checkpoints import write_model
from training.encoders import check_max_tokens, digest_weights, load_model, open_encoder
from training.examples import build_bio_tags
from transforms.models.checkpoint import digest_file

TAGS = build_bio_tags(["LOC", "PER"])


def test_open_encoder_switches_presets_off(base):
    encoder = open_encoder(str(base))
    assert encoder.name == "tiny"
    assert encoder.tokenizer.backend_tokenizer.truncation is None
    assert encoder.tokenizer.backend_tokenizer.padding is None


def test_open_encoder_refuses_a_directory_without_a_model(tmp_path):
    with pytest.raises(CheckpointError, match="cannot open base model"):
        open_encoder(str(tmp_path))


@pytest.fixture
def unreachable_hub(tmp_path, monkeypatch):
    """The folder of the hub's cache, on a machine that does not reach the hub and on which nobody waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"expected no wait, found {seconds} s"))
    return tmp_path / "hub"


@pytest.mark.usefixtures("unreachable_hub")
def test_open_encoder_does_not_wait_for_a_hub_that_is_not_reached():
    with pytest.raises(CheckpointError, match="cannot open base model 'somebody/nowhere'"):
        open_encoder("somebody/nowhere")


def test_open_encoder_needs_no_hub_for_what_was_copied_from_it(base, unreachable_hub):
    repository, commit = unreachable_hub / "models--somebody--tiny", "0" * 40
    shutil.copytree(base, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    encoder = open_encoder("somebody/tiny")
    assert encoder.name == "somebody/tiny"
    assert load_model(encoder, TAGS, dropout=0.1, seed=0).config.id2label[1] == "B-LOC"


def test_load_model_takes_the_encoder_and_names_the_tags(base):
    model = load_model(open_encoder(str(base)), TAGS, dropout=0.25, seed=0)
    again = load_model(open_encoder(str(base)), TAGS, dropout=0.25, seed=0)
    assert model.config.id2label[1] == "B-LOC"
    assert model.config.hidden_dropout_prob == 0.25
    assert model.dtype == torch.float32
    for (name, weights), same in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(weights, same), name


def test_load_model_keeps_the_head_of_a_tagger_with_the_same_tags(base, tmp_path):
    encoder = open_encoder(str(base))
    model = load_model(encoder, TAGS, dropout=0.1, seed=0)
    write_model(model, encoder.tokenizer, tmp_path, dtype="float32")
    same = load_model(open_encoder(str(tmp_path)), TAGS, dropout=0.1, seed=1)
    other = load_model(open_encoder(str(tmp_path)), build_bio_tags(["GPE", "PER"]), dropout=0.1, seed=1)
    assert torch.equal(same.classifier.weight, model.classifier.weight)
    assert not torch.equal(other.classifier.weight, model.classifier.weight)


def test_load_model_refuses_pickled_weights(base, tmp_path):
    shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot load base model"):
        load_model(open_encoder(str(tmp_path)), TAGS, dropout=0.1, seed=0)


def test_load_model_refuses_weights_that_were_cut_off(base, tmp_path):
    shutil.copytree(base, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot load base model 'cut'"):
        load_model(open_encoder(str(tmp_path / "cut")), TAGS, dropout=0.1, seed=0)


def test_digest_weights_is_that_of_the_file(base):
    assert digest_weights(str(base)) == digest_file(base / "model.safetensors")


def test_check_max_tokens_names_the_limit(base):
    with pytest.raises(ConfigError, match="at most 32 for 'tiny', found 33"):
        check_max_tokens(open_encoder(str(base)), 33)
