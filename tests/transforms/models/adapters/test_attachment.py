"""Adapters that stay beside their base, run without peft: the same answers as from the model that was trained."""

import sys

import pytest
import safetensors.torch
import torch

from schemas.errors import CheckpointError
from tests.training.recipes import make_adapter, make_encoder
from transforms.models.adapters.stored import WEIGHTS_NAME
from transforms.models.torch_classifier import TransformersNetwork, load_model

IDS = torch.tensor([[2, 5, 11, 12, 8, 19, 3], [2, 6, 13, 3, 0, 0, 0]])
MASK = (IDS > 0).long()


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert", "deberta-v2", "mpnet", "modernbert"])
@pytest.mark.parametrize("spec", ["adapter:size=4", "prompt:tokens=3", "prefix:tokens=3"])
def test_attach_adapter_gives_the_model_that_was_trained(tmp_path, kind, spec, monkeypatch):
    if kind not in ("bert", "roberta", "electra") and spec.startswith("prefix"):
        pytest.skip("takes no keys and values from outside")
    base = make_encoder(tmp_path / "base", kind)
    model = make_adapter(base, tmp_path / "adapter", spec)
    with torch.no_grad():
        expected = model(input_ids=IDS, attention_mask=MASK).logits
        monkeypatch.setitem(sys.modules, "peft", None)
        network = TransformersNetwork(load_model(tmp_path / "adapter", torch.float32, base=base), torch.device("cpu"))
        found = network.forward(IDS.numpy(), MASK.sum(1).numpy())
        alone = network.forward(IDS[1:, :4].numpy(), MASK[1:].sum(1).numpy())
    assert found.shape == (2, 7, 5)
    torch.testing.assert_close(found[MASK.bool()], expected[MASK.bool()], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1, :4], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("spec", ["adapter:size=4", "prompt:tokens=3", "prefix:tokens=3", "lora:rank=4"])
def test_attach_adapter_runs_in_half_precision(base, tmp_path, spec):
    make_adapter(base, tmp_path, spec)
    with torch.no_grad():
        expected = load_model(tmp_path, torch.float32, base=base).eval()(IDS, attention_mask=MASK).logits
        found = load_model(tmp_path, torch.bfloat16, base=base).eval()(IDS, attention_mask=MASK).logits
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found[MASK.bool()].float(), expected[MASK.bool()], atol=0.2, rtol=0.05)


def test_load_model_refuses_an_adapter_without_its_base(base, tmp_path):
    make_adapter(base, tmp_path, "lora")
    with pytest.raises(CheckpointError, match="expected a base for adapter"):
        load_model(tmp_path, torch.float32)


@pytest.mark.parametrize(
    ("spec", "lacking", "message"),
    [
        ("adapter", "classifier.bias", "expected the head in adapter"),
        ("adapter", "bert.encoder.layer.1.output.dense.bottleneck.2.weight", "does not fit its base"),
        ("prompt", "prompt_embeddings", "expected prompt_embeddings in adapter"),
        ("prefix", "base_model.classifier.weight", "expected the head in adapter"),
    ],
)
def test_attach_adapter_refuses_an_adapter_that_lacks_something(base, tmp_path, spec, lacking, message):
    make_adapter(base, tmp_path, spec)
    weights = safetensors.torch.load_file(tmp_path / WEIGHTS_NAME)
    del weights[lacking]
    safetensors.torch.save_file(weights, tmp_path / WEIGHTS_NAME)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path, torch.float32, base=base)
