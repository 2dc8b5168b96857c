import shutil

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file
from transformers import BertForMaskedLM

from schemas.errors import CheckpointError
from tests.training.recipes import make_adapter, make_config, make_encoder, make_model, make_tokenizer
from transforms.models.adapters.folding import fold_weights
from transforms.models.adapters.stored import WEIGHTS_NAME, read_adapter
from transforms.models.torch_classifier import load_model
from transforms.models.torch_encoder import load_encoder
from transforms.models.torch_networks import UnpaddedNetwork

HEAD = {"classifier.weight", "classifier.bias"}
IDS = torch.tensor([[2, 5, 11, 12, 8, 19, 3], [2, 6, 13, 3, 0, 0, 0]])
LENGTHS = torch.tensor([7, 4])
FOLDED = [
    "frozen",
    "frozen:layers=1",
    "bitfit",
    "lora:rank=4",
    "lora:rank=4,rslora=true",
    "lora:rank=4,dora=true",
    "ia3",
]


@pytest.mark.parametrize("spec", ["lora:rank=4", "lora:rank=4,rslora=true,alpha=3", "lora:rank=4,dora=true", "ia3"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert"])
def test_fold_weights_equals_what_peft_merges(tmp_path, kind, spec):
    if (kind, spec) == ("modernbert", "ia3"):
        pytest.skip("has no keys and values of their own")
    base = make_encoder(tmp_path / "base", kind)
    model = make_adapter(base, tmp_path / "adapter", spec)
    found = load_model(tmp_path / "adapter", torch.float32, base=base).state_dict()
    expected = model.merge_and_unload().state_dict()
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("spec", FOLDED)
@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert"])
def test_a_folded_adapter_runs_without_transformers(tmp_path, kind, spec):
    base = make_encoder(tmp_path / "base", kind)
    model = make_adapter(base, tmp_path / "adapter", spec)
    encoder = load_encoder(tmp_path / "adapter", torch.float32, "cpu", base=base)
    if kind == "electra":
        # Its embeddings are projected, which is left to transformers.
        assert encoder is None
        return
    assert encoder is not None
    with torch.no_grad():
        found = UnpaddedNetwork(encoder).forward(IDS.numpy(), LENGTHS.numpy())
        mask = (torch.arange(7) < LENGTHS[:, None]).long()
        expected = model(input_ids=IDS, attention_mask=mask).logits[mask.bool()]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("spec", ["adapter", "prompt", "prefix"])
def test_other_adapters_are_left_to_transformers(base, tmp_path, spec):
    make_adapter(base, tmp_path, spec)
    assert load_encoder(tmp_path, torch.float32, "cpu", base=base) is None


@pytest.mark.parametrize("spec", ["lora:rank=4", "bitfit"])
def test_the_base_may_be_a_tagger_with_other_tags(base, tmp_path, spec):
    model, tokenizer = make_model(base, "frozen")
    model.classifier = torch.nn.Linear(32, 9)
    model.config.id2label = {at: f"T{at}" for at in range(9)}
    model.save_pretrained(tmp_path / "tagger")
    tokenizer.save_pretrained(tmp_path / "tagger")
    adapted = make_adapter(tmp_path / "tagger", tmp_path / "adapter", spec).eval()
    with torch.no_grad():
        expected = adapted(IDS[:1]).logits
        found = load_model(tmp_path / "adapter", torch.float32, base=tmp_path / "tagger").eval()(IDS[:1]).logits
        encoder = load_encoder(tmp_path / "adapter", torch.float32, "cpu", base=tmp_path / "tagger")
        fast = UnpaddedNetwork(encoder).forward(IDS[:1].numpy(), LENGTHS[:1].numpy())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fast, expected[0], atol=1e-4, rtol=1e-4)


def test_the_base_may_be_a_language_model(base, tmp_path):
    BertForMaskedLM(make_config()).save_pretrained(tmp_path / "base")
    make_tokenizer().save_pretrained(tmp_path / "base")
    model = make_adapter(tmp_path / "base", tmp_path / "adapter", "lora:rank=4")
    encoder = load_encoder(tmp_path / "adapter", torch.float32, "cpu", base=tmp_path / "base")
    with torch.no_grad():
        found = UnpaddedNetwork(encoder).forward(IDS[:1].numpy(), LENGTHS[:1].numpy())
        torch.testing.assert_close(found, model(input_ids=IDS[:1]).logits[0], atol=1e-4, rtol=1e-4)


def _poisoned(folder, change):
    copy = shutil.copytree(folder, folder.with_name("poisoned"))
    weights = change(load_file(copy / WEIGHTS_NAME))
    safetensors.torch.save_file(weights, copy / WEIGHTS_NAME)
    return read_adapter(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {n: t for n, t in w.items() if "classifier" not in n}, "expected the head in adapter 'poisoned'"),
        (lambda w: {n: t for n, t in w.items() if "1.output.dense.lora_B" not in n}, r"expected whole parts that fit"),
        (lambda w: {**w, "base_model.model.bert.new.lora_A.weight": torch.ones(4, 4)}, "expected a weight 'bert.new"),
        (lambda w: {**w, "base_model.model.bert.new.weight": torch.ones(4, 4)}, r"of shape \(4, 4\) .* found none"),
        (
            lambda w: {n: t[:, :-1].contiguous() if "lora_A" in n else t for n, t in w.items()},
            r"expected whole parts that fit",
        ),
    ],
)
def test_fold_weights_refuses_what_does_not_fit(base, tmp_path, change, message):
    model = make_adapter(base, tmp_path / "adapter", "lora:rank=4")
    adapter = _poisoned(tmp_path / "adapter", change)
    with pytest.raises(CheckpointError, match=message):
        fold_weights(model.unload().state_dict(), adapter, head=HEAD)
