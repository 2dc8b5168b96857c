import json

import peft
import pytest
import safetensors.torch
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from schemas.errors import ModelError
from tests.training.recipes import TAG_SET, make_adapter, make_model
from training.adapters import write_adapter
from training.checkpoints import load_verified
from training.examples import LabelledSentence, cut_windows
from transforms.models.adapters.stored import CONFIG_NAME, WEIGHTS_NAME, read_adapter

SPECS = [
    "frozen",
    "frozen:layers=1",
    "bitfit",
    "lora:rank=4",
    "lora:rank=4,rslora=true",
    "lora:rank=4,dora=true",
    "lora:rank=4,targets=query+value",
    "ia3",
    "adapter:size=4",
    "adapter:size=4,placement=pfeiffer",
    "prompt:tokens=3",
    "prefix:tokens=3",
    "prefix:tokens=3,projection=true",
]
PEFT_SPECS = [spec for spec in SPECS if spec.startswith(("lora", "ia3", "prompt", "prefix"))]
IDS = torch.tensor([[2, 5, 11, 12, 8, 19, 3], [2, 6, 13, 3, 0, 0, 0]])
MASK = (IDS > 0).long()


def _windows(tokenizer):
    sentences = [LabelledSentence(words, ()) for words in (("anna", "went", "underway", "to", "rome"), ("otto", "."))]
    return cut_windows(sentences, TAG_SET, tokenizer, max_tokens=20)


def _logits(model):
    with torch.no_grad():
        return model(input_ids=IDS, attention_mask=MASK).logits * MASK[..., None]


def _save_and_verify(base, directory, spec, *, dtype="float32"):
    model, tokenizer = make_model(base, spec)
    write_adapter(model, tokenizer, directory, base=str(base), dtype=dtype)
    return model, load_verified(model, tokenizer, _windows(tokenizer), directory, dtype=dtype, base=base)


@pytest.mark.parametrize("spec", SPECS)
def test_write_adapter_reloads_to_the_same_logits(base, tmp_path, spec):
    model, again = _save_and_verify(base, tmp_path, spec)
    assert {path.name for path in tmp_path.iterdir()} >= {CONFIG_NAME, WEIGHTS_NAME, "config.json", "tokenizer.json"}
    assert not (tmp_path / "model.safetensors").exists()
    torch.testing.assert_close(_logits(again), _logits(model), atol=1e-4, rtol=1e-4)
    assert again.config.id2label == dict(enumerate(TAG_SET.tags))


@pytest.mark.parametrize("spec", ["lora:rank=4,dora=true", "adapter", "bitfit"])
def test_write_adapter_in_half_precision_is_close(base, tmp_path, spec):
    model, again = _save_and_verify(base, tmp_path, spec, dtype="float16")
    weights = safetensors.torch.load_file(tmp_path / WEIGHTS_NAME)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    torch.testing.assert_close(_logits(again), _logits(model), atol=0.02, rtol=0.02)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("spec", PEFT_SPECS)
def test_peft_reads_what_it_trained(base, tmp_path, spec):
    model = make_adapter(base, tmp_path, spec)
    plain = AutoModelForTokenClassification.from_pretrained(base, num_labels=len(TAG_SET.tags))
    read = peft.PeftModel.from_pretrained(plain, tmp_path).eval()
    n_virtual = read_adapter(tmp_path).virtual_tokens if spec.startswith("prompt") else 0
    with torch.no_grad():
        found = read(input_ids=IDS, attention_mask=MASK).logits[:, n_virtual:] * MASK[..., None]
    torch.testing.assert_close(found, _logits(model), atol=1e-5, rtol=1e-5)


def test_write_adapter_names_the_base_as_it_was_given(base, tmp_path):
    for spec in ("lora", "bitfit"):
        model, tokenizer = make_model(base, spec)
        write_adapter(model, tokenizer, tmp_path / spec, base="some/where", dtype="float32")
        config = json.loads((tmp_path / spec / CONFIG_NAME).read_text(encoding="utf-8"))
        assert config["base_model_name_or_path"] == "some/where"
        assert str(base).encode() not in (tmp_path / spec / "config.json").read_bytes()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("poison", ["no head", "a tensor is missing", "a tensor is zero"])
def test_load_verified_refuses_a_poisoned_file(base, tmp_path, spec, poison):
    model, tokenizer = make_model(base, spec)
    write_adapter(model, tokenizer, tmp_path, base=str(base), dtype="float32")
    weights = safetensors.torch.load_file(tmp_path / WEIGHTS_NAME)
    if poison == "no head":
        weights = {name: tensor for name, tensor in weights.items() if "classifier" not in name}
        weights = weights or {"unrelated": torch.ones(1)}
    else:
        inside = sorted(name for name in weights if "classifier" not in name) or ["classifier.weight"]
        name = next((name for name in inside if "layer.1" in name and "weight" in name), inside[-1])
        tensor = weights.pop(name)
        if poison == "a tensor is zero":
            weights[name] = torch.zeros_like(tensor)
    safetensors.torch.save_file(weights, tmp_path / WEIGHTS_NAME)
    with pytest.raises(ModelError, match="the saved checkpoint"):
        load_verified(model, tokenizer, _windows(tokenizer), tmp_path, dtype="float32", base=base)


@pytest.mark.parametrize("spec", ["bitfit", "lora:rank=4", "prompt"])
def test_write_adapter_refuses_a_file_that_is_not_what_was_trained(base, tmp_path, spec, monkeypatch):
    save = safetensors.torch.save_file

    def save_less(tensors, *arguments, **options):
        name = max(name for name in tensors if "classifier" not in name)
        save({key: tensor for key, tensor in tensors.items() if key != name}, *arguments, **options)

    model, tokenizer = make_model(base, spec)
    monkeypatch.setattr(safetensors.torch, "save_file", save_less)
    monkeypatch.setattr(peft.peft_model, "safe_save_file", save_less)
    with pytest.raises(ModelError, match=rf"expected what was trained in {WEIGHTS_NAME}, found other values"):
        write_adapter(model, tokenizer, tmp_path, base=str(base), dtype="float32")


def test_write_adapter_leaves_a_tokenizer_that_loads(base, tmp_path):
    make_adapter(base, tmp_path, "lora")
    assert AutoTokenizer.from_pretrained(tmp_path)("anna went").input_ids == [2, 5, 11, 3]
