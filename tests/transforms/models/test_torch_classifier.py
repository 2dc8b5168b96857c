import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from schemas.errors import CheckpointError, ConfigError, ModelError
from transforms.models.backends import BackendConfig, check_device
from transforms.models.checkpoint import find_checkpoint
from transforms.models.torch_classifier import TorchClassifier


@pytest.fixture(scope="module")
def classifier(tiny_checkpoint):
    return TorchClassifier(tiny_checkpoint, find_checkpoint(str(tiny_checkpoint)).tag_set, BackendConfig())


def test_submit_gives_probabilities_per_token(classifier):
    ids = np.array([[2, 10, 11, 3], [2, 12, 3, 0]])
    probabilities = classifier.submit(ids, np.array([4, 3]))()
    assert probabilities.shape == (2, 4, 7)
    np.testing.assert_allclose(probabilities.sum(-1), [[1, 1, 1, 1], [1, 1, 1, 0]], rtol=1e-5)


def test_submit_gives_a_window_the_same_answer_with_and_without_padding(classifier):
    alone = classifier.submit(np.array([[2, 12, 3]]), np.array([3]))()
    padded = classifier.submit(np.array([[2, 12, 3, 0, 0], [2, 10, 11, 12, 3]]), np.array([3, 5]))()
    np.testing.assert_allclose(padded[0, :3], alone[0], atol=1e-6)


def test_a_checkpoint_without_its_head_is_refused(tiny_checkpoint, tmp_path):
    weights = load_file(tiny_checkpoint / "model.safetensors")
    del weights["classifier.weight"]
    for path in tiny_checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"classifier\.weight"):
        TorchClassifier(tmp_path, find_checkpoint(str(tmp_path)).tag_set, BackendConfig())


def test_cuda_without_a_gpu_is_an_error(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="set the device to cpu"):
        check_device(BackendConfig(device="cuda"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), MemoryError),
        (RuntimeError("CUDA error: device-side assert triggered"), ModelError),
        (RuntimeError("something else"), RuntimeError),
    ],
)
def test_errors_of_torch_tell_memory_from_a_broken_device(classifier, monkeypatch, error, expected):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(classifier._model, "forward", fail)
    with pytest.raises(expected):
        classifier.submit(np.array([[2, 3]]), np.array([2]))


@pytest.mark.parametrize(("device", "precision"), [("cpu", "fp32"), ("cuda", "bf16")])
def test_precision_auto_follows_from_the_device_alone(device, precision):
    assert BackendConfig(device=device).resolved_precision == precision


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"device": "tpu"}, "expected the device of backend torch to be one of .*, found 'tpu'"),
        ({"precision": "int3"}, "expected the precision of backend torch to be .*, found 'int3'"),
        ({"threads": -1}, "expected threads between 0 and 256, found -1"),
    ],
)
def test_torch_config_refuses_what_it_does_not_know(option, message):
    with pytest.raises(ConfigError, match=message):
        BackendConfig(**option)


def test_bf16_and_fp32_agree(tiny_checkpoint, classifier):
    tag_set = find_checkpoint(str(tiny_checkpoint)).tag_set
    half = TorchClassifier(tiny_checkpoint, tag_set, BackendConfig(precision="bf16"))
    ids, lengths = np.array([[2, 10, 11, 3]]), np.array([4])
    np.testing.assert_allclose(half.submit(ids, lengths)(), classifier.submit(ids, lengths)(), atol=0.1)


@pytest.mark.gpu
def test_cuda_answers_as_the_cpu_does(tiny_checkpoint, classifier):
    tag_set = find_checkpoint(str(tiny_checkpoint)).tag_set
    on_gpu = TorchClassifier(tiny_checkpoint, tag_set, BackendConfig(device="cuda", precision="fp32"))
    ids, lengths = np.array([[2, 10, 11, 3], [2, 12, 3, 0]]), np.array([4, 3])
    fetches = [on_gpu.submit(ids, lengths) for _ in range(3)]
    for fetch in fetches:
        np.testing.assert_allclose(fetch()[0], classifier.submit(ids, lengths)()[0], atol=1e-4)


def test_an_architecture_without_fused_attention_is_loaded_too(tiny_checkpoint, tmp_path):
    from transformers import DebertaV2Config, DebertaV2ForTokenClassification

    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_checkpoint / name).read_bytes())
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = DebertaV2Config(vocab_size=300, id2label={0: "O", 1: "B-PER"}, label2id={"O": 0, "B-PER": 1}, **sizes)
    DebertaV2ForTokenClassification(config).save_pretrained(tmp_path)
    tag_set = find_checkpoint(str(tmp_path)).tag_set
    found = TorchClassifier(tmp_path, tag_set, BackendConfig())
    assert found.submit(np.array([[2, 10, 11, 3]]), np.array([4]))().shape == (1, 4, 2)
    content = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(content.replace('"vocab_size": 300', '"vocab_size": 301'))
    message = r"word_embeddings\.weight of shape \[301, 16\] in model .* found \[300, 16\]; mend config\.json"
    with pytest.raises(CheckpointError, match=message):
        TorchClassifier(tmp_path, tag_set, BackendConfig())
