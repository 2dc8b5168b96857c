import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from schemas.errors import CheckpointError
from transforms.models.checkpoint import CRF_NAME, digest_folder, fetch_memory, find_checkpoint, read_tokenizer


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    return shutil.copytree(tiny_checkpoint, tmp_path / "model")


def _edit(folder, **changes):
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_find_checkpoint_reads_tags_scheme_and_limit(folder):
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint.tag_set.scheme == "BIO"
    assert checkpoint.tag_set.labels == ("LOC", "ORG", "PER")
    assert checkpoint.max_tokens == 64


def test_find_checkpoint_knows_the_default_model():
    checkpoint = find_checkpoint("default")
    assert set(checkpoint.tag_set.labels) == {"PER", "ORG", "LOC"}
    assert checkpoint.max_tokens == 128


def test_find_checkpoint_refuses_pickled_weights_unread(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch stolen'\ntR.")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin.*convert the weights to safetensors"):
        find_checkpoint(str(folder))
    assert not (folder / "stolen").exists()


def test_find_checkpoint_refuses_remote_code(folder):
    _edit(folder, auto_map={"AutoModel": "evil.Model"})
    with pytest.raises(CheckpointError, match="auto_map"):
        find_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "id2label"),
        ({"0": "LABEL_0", "1": "LABEL_1"}, "named labels"),
        ({"0": "B-PER", "1": "I-PER"}, "tag 'O'"),
        ({"0": "O", "2": "B-PER"}, "keys 0 to 1"),
    ],
)
def test_find_checkpoint_refuses_labels_it_cannot_use(folder, labels, message):
    _edit(folder, id2label=labels)
    with pytest.raises(CheckpointError, match=message):
        find_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 7}, r"word_embeddings\.weight of shape \[7, 32\] .* found \[\d+, 32\]; mend vocab_size"),
        ({"id2label": {"0": "O"}}, r"classifier\.weight of shape \[1, 32\] .* found \[7, 32\]; mend id2label"),
        ({"intermediate_size": 128}, r"dense\.weight of shape \[128, 32\] .* found \[64, 32\]; mend the sizes"),
        ({"model_type": "deberta-v2", "id2label": {"0": "O"}}, r"classifier\.weight of shape \[1, 32\]"),
    ],
)
def test_find_checkpoint_refuses_a_config_that_does_not_fit_the_weights(folder, changes, message):
    _edit(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        find_checkpoint(str(folder))


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"{}"])
def test_find_checkpoint_names_the_model_whose_tokenizer_it_cannot_read(folder, content):
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json of model 'model': .*; fetch the model again"):
        find_checkpoint(str(folder))


def test_find_checkpoint_names_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="check the model"):
        find_checkpoint(str(tmp_path / "nowhere"))


def test_find_checkpoint_names_a_folder_without_config(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        find_checkpoint(str(tmp_path))


def test_find_checkpoint_fetches_a_url_once(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"file://{folder}"
    first = find_checkpoint(url)
    assert find_checkpoint(url).folder == first.folder != folder
    assert first.digest == digest_folder(folder)


def test_what_a_checkpoint_keeps_besides_is_no_part_of_the_weights_that_a_url_gives(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (folder / "memory").mkdir()
    (folder / "memory" / "fisher.safetensors").write_bytes(b"importance")
    (folder / "memory" / "config.json").write_bytes(b"no config")
    url = f"file://{folder}"
    assert find_checkpoint(url).digest == digest_folder(folder)
    assert (fetch_memory(url) / "memory" / "fisher.safetensors").read_bytes() == b"importance"
    assert find_checkpoint(url).digest == digest_folder(folder)


def test_digest_folder_changes_with_a_weight(folder):
    before = digest_folder(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert digest_folder(folder) != before


def test_digest_folder_does_not_change_with_the_card(folder):
    before = digest_folder(folder)
    (folder / "README.md").write_text("a card")
    assert digest_folder(folder) == before


def test_read_tokenizer_refuses_a_folder_without_one(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        read_tokenizer(folder)


def _scores(n_tags=7, fill=0.5):
    shapes = {"steps": (n_tags, n_tags), "first": (n_tags,), "last": (n_tags,)}
    return {name: np.full(shape, fill, dtype=np.float32) for name, shape in shapes.items()}


def test_find_checkpoint_reads_learned_transitions(folder):
    assert find_checkpoint(str(folder)).tag_set.transitions is None
    save_file(_scores() | {"first": np.arange(7, dtype=np.float32)}, folder / CRF_NAME)
    transitions = find_checkpoint(str(folder), scheme="BIO").tag_set.transitions
    assert transitions.first == (0, 1, 2, 3, 4, 5, 6)
    assert transitions.steps == ((0.5,) * 7,) * 7


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (_scores(n_tags=5), r"expected scores of 7 tags in crf\.safetensors .* found \{'first': \[5\]"),
        ({"steps": _scores()["steps"]}, "expected scores of 7 tags"),
        (_scores(fill=np.nan), "expected finite scores"),
    ],
)
def test_find_checkpoint_refuses_transitions_of_other_tags(folder, scores, message):
    save_file(scores, folder / CRF_NAME)
    with pytest.raises(CheckpointError, match=message):
        find_checkpoint(str(folder))


def test_learned_transitions_are_no_weights(folder):
    (folder / "model.safetensors").unlink()
    save_file(_scores(), folder / CRF_NAME)
    with pytest.raises(CheckpointError, match="found no weights"):
        find_checkpoint(str(folder))
