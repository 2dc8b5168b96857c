import pytest
import torch

from tests.training.recipes import make_encoder
from training.config import TrainConfig
from training.crf import add_crf
from training.encoders import load_model, open_encoder
from training.examples import build_bio_tags
from training.optimization import group_parameters, measure_depths

TAGS = build_bio_tags(["LOC"])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    base = make_encoder(tmp_path_factory.mktemp("base") / "tiny")
    return load_model(open_encoder(str(base)), TAGS, dropout=0.1, seed=0)


def _group(model, layer_decay):
    decayed = [name for name, _ in model.named_parameters() if "bias" not in name and "LayerNorm" not in name]
    groups = group_parameters(model, decayed, TrainConfig(learning_rate=1.0, weight_decay=0.1, layer_decay=layer_decay))
    names = {weights: name for name, weights in model.named_parameters()}
    return {names[weights]: (group["lr"], group["weight_decay"]) for group in groups for weights in group["params"]}


def test_every_trainable_parameter_is_in_one_group(model):
    for layer_decay in (1.0, 0.9):
        assert set(_group(model, layer_decay)) == {name for name, _ in model.named_parameters()}


def test_frozen_parameters_are_in_none(model):
    model.classifier.bias.requires_grad_(False)
    try:
        assert "classifier.bias" not in _group(model, 0.9)
    finally:
        model.classifier.bias.requires_grad_(True)


def test_rates_fall_from_the_head_to_the_embeddings(model):
    rates = {name: rate for name, (rate, _) in _group(model, 0.5).items()}
    assert rates["classifier.weight"] == 1.0
    assert rates["bert.encoder.layer.1.output.dense.weight"] == 0.5
    assert rates["bert.encoder.layer.0.attention.self.query.bias"] == 0.25
    assert rates["bert.embeddings.word_embeddings.weight"] == 0.125
    assert rates["bert.embeddings.LayerNorm.bias"] == 0.125


def test_biases_and_norms_do_not_decay(model):
    found = _group(model, 0.9)
    assert found["classifier.weight"][1] == 0.1
    assert found["classifier.bias"][1] == 0.0
    assert found["bert.encoder.layer.0.output.LayerNorm.weight"][1] == 0.0


def test_without_layer_decay_there_are_the_two_groups_of_transformers(model):
    groups = group_parameters(model, ["classifier.weight"], TrainConfig(learning_rate=1e-3, weight_decay=0.1))
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [group["lr"] for group in groups] == [1e-3, 1e-3]
    torch.optim.AdamW(groups)


def test_scores_of_a_crf_have_a_rate_of_their_own_and_come_last(model):
    crf = add_crf(model, 3)
    try:
        groups = group_parameters(model, ["crf.steps"], TrainConfig(crf_learning_rate=0.5))
    finally:
        del model.crf
    assert (groups[-1]["lr"], groups[-1]["weight_decay"]) == (0.5, 0.0)
    assert {id(scores) for scores in groups[-1]["params"]} == {id(scores) for scores in crf.values()}


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("distilbert.transformer.layer.3.ffn.lin1.weight", 4),
        ("model.layers.0.attn.Wqkv.weight", 1),
        ("model.embeddings.tok_embeddings.weight", 0),
        ("base_model.model.bert.encoder.layer.2.attention.self.query.lora_A.default.weight", 3),
        ("transformer.h.1.mlp.weight", 2),
        ("model.final_norm.weight", 5),
        ("base_model.model.classifier.modules_to_save.default.weight", 5),
    ],
)
def test_depths_are_read_from_names_of_many_architectures(name, depth):
    assert measure_depths([name, "encoder.layer.3.bias"])[name] == depth
