"""Adapters as checkpoints: the base is found again, is the one it was trained on, and is as safe."""

import json
import shutil

import pytest
import torch

from schemas.checkpoints import CARD_NAME
from schemas.errors import CheckpointError
from tests.training.recipes import make_adapter, make_encoder
from transforms.models.adapters.stored import CONFIG_NAME, WEIGHTS_NAME
from transforms.models.checkpoint import find_checkpoint


@pytest.fixture
def base(tmp_path):
    return make_encoder(tmp_path / "base")


@pytest.fixture
def folder(base, tmp_path):
    make_adapter(base, tmp_path / "adapter", "lora:rank=4")
    return tmp_path / "adapter"


def test_find_checkpoint_finds_the_base_where_it_was(folder, base):
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint.base == base
    assert checkpoint.tag_set.labels == ("location", "person")
    assert checkpoint.max_tokens == 32


def test_find_checkpoint_takes_a_base_that_has_moved(folder, base, tmp_path):
    before = find_checkpoint(str(folder)).digest
    moved = base.rename(tmp_path / "moved")
    with pytest.raises(
        CheckpointError, match=r"expected the base of adapter 'adapter' at .*; give its folder, .* as base"
    ):
        find_checkpoint(str(folder))
    checkpoint = find_checkpoint(str(folder), base=str(moved))
    assert (checkpoint.base, checkpoint.digest) == (moved, before)


def test_find_checkpoint_does_not_follow_a_url_that_an_adapter_names(folder, base, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps({**config, "base_model_name_or_path": f"file://{base}"}))
    with pytest.raises(CheckpointError, match="found a URL; give it as base"):
        find_checkpoint(str(folder))
    assert find_checkpoint(str(folder), base=f"file://{base}").base != base


def test_find_checkpoint_tells_adapters_of_one_base_apart(folder, base, tmp_path):
    make_adapter(base, tmp_path / "other", "lora:rank=4", seed=1)
    assert find_checkpoint(str(folder)).digest != find_checkpoint(str(tmp_path / "other")).digest


def test_find_checkpoint_refuses_another_base(folder, base, tmp_path):
    other = make_encoder(tmp_path / "other", seed=1)
    digest = json.loads((folder / CARD_NAME).read_text())["base_digest"]
    with pytest.raises(CheckpointError, match=f"with weights of digest {digest[:16]}, found "):
        find_checkpoint(str(folder), base=str(other))


def test_find_checkpoint_refuses_an_adapter_as_base(folder):
    with pytest.raises(CheckpointError, match="expected a whole model as base of adapter 'adapter', found an adapter"):
        find_checkpoint(str(folder), base=str(folder))


def test_find_checkpoint_refuses_a_base_beside_a_whole_model(tiny_checkpoint, base):
    with pytest.raises(CheckpointError, match="expected an adapter as the model for a base"):
        find_checkpoint(str(tiny_checkpoint), base=str(base))


@pytest.mark.parametrize("place", ["adapter", "base"])
def test_find_checkpoint_refuses_remote_code_in_both(folder, base, place):
    path = {"adapter": folder, "base": base}[place] / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(CheckpointError, match=f"refused model '{place}': .*auto_map"):
        find_checkpoint(str(folder))


@pytest.mark.parametrize("place", ["adapter", "base"])
def test_find_checkpoint_refuses_pickles_in_both(folder, base, place):
    path = {"adapter": folder / WEIGHTS_NAME, "base": base / "model.safetensors"}[place]
    path.unlink()
    torch.save({}, path.with_suffix(".bin"))
    with pytest.raises(CheckpointError, match=f"expected .*safetensors in (model|adapter) '{place}'"):
        find_checkpoint(str(folder))


def test_find_checkpoint_refuses_tags_that_changed_since_training(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["id2label"]["1"] = "B-other"
    path.write_text(json.dumps(config))
    with pytest.raises(
        CheckpointError, match=r"with the tags of its card.json, found others; it changed since training"
    ):
        find_checkpoint(str(folder))


def test_find_checkpoint_refuses_weights_that_changed_since_training(folder):
    weights = bytearray((folder / WEIGHTS_NAME).read_bytes())
    weights[-1] ^= 1
    (folder / WEIGHTS_NAME).write_bytes(weights)
    with pytest.raises(CheckpointError, match="it changed since training"):
        find_checkpoint(str(folder))


def test_find_checkpoint_refuses_an_adapter_without_its_card(folder):
    (folder / CARD_NAME).unlink()
    with pytest.raises(CheckpointError, match=f"expected {CARD_NAME} with the digest of the base"):
        find_checkpoint(str(folder))


@pytest.mark.parametrize("spec", ["prompt:tokens=5", "prefix:tokens=5"])
def test_virtual_tokens_take_room_in_the_window(base, tmp_path, spec):
    make_adapter(base, tmp_path / "adapter", spec)
    assert find_checkpoint(str(tmp_path / "adapter")).max_tokens == 27


def test_the_digest_covers_the_config_of_the_adapter(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / CONFIG_NAME).read_text())
    (copy / CONFIG_NAME).write_text(json.dumps({**config, "lora_alpha": 1}))
    assert find_checkpoint(str(copy)).digest != find_checkpoint(str(folder)).digest
