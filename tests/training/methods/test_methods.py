"""Which weights every method trains, by their names."""

import pytest
import torch

from schemas.errors import ConfigError
from schemas.specs import parse_spec
from tests.training.recipes import TAG_SET, make_encoder
from training.encoders import build_skeleton, load_model, open_encoder
from training.methods.methods import METHODS
from training.states import count_weights, trained_weights

HEAD = ("classifier.weight", "classifier.bias")
HEAD_SIZE = 32 * 5 + 5
LINEAR = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
          "intermediate.dense", "output.dense")  # fmt: skip
NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
LAYERS = ("bert.encoder.layer.0", "bert.encoder.layer.1")
BASE_SIZE = 2 * (4 * (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32) + 4 * 32) + (21 + 32 + 2) * 32 + 64


def _apply(model, spec):
    method, config = parse_spec(spec, {name: method.config for name, method in METHODS.items()}, flag="--method")
    return METHODS[method].apply(model, config)


def _make(base, spec):
    return _apply(load_model(open_encoder(str(base)), TAG_SET, dropout=0.1, seed=0), spec)


def _names(*parts, layers=LAYERS):
    return {f"{layer}.{part}" for layer in layers for part in parts}


def _lora(modules, *more):
    suffixes = ("lora_A.default.weight", "lora_B.default.weight", *more)
    return {f"base_model.model.{name}" for name in _names(*(f"{m}.{s}" for m in modules for s in suffixes))}


def _saved(prefix):
    return {f"{prefix}.classifier.modules_to_save.default.{part}" for part in ("weight", "bias")}


def _bottlenecks(*modules):
    return _names(*(f"{m}.bottleneck.{at}.{p}" for m in modules for at in (0, 2) for p in ("weight", "bias")))


BIASES = {"bert.embeddings.LayerNorm.bias", *_names(*(f"{module}.bias" for module in (*LINEAR, *NORMS)))}
LAST_LAYER = _names(*(f"{m}.{p}" for m in (*LINEAR, *NORMS) for p in ("weight", "bias")), layers=LAYERS[1:])

CASES = [
    ("frozen", set(HEAD), 0, 0),
    ("frozen:layers=1", {*LAST_LAYER, *HEAD}, 4 * (32 * 32 + 32) + 2 * 32 * 64 + 64 + 32 + 4 * 32, 0),
    ("bitfit", {*BIASES, *HEAD}, 2 * (6 * 32 + 64 + 32) + 32, 0),
    ("lora:rank=2", _lora(LINEAR) | _saved("base_model.model"), 0, 2 * 2 * (4 * 64 + 2 * 96)),
    ("lora:rank=2,targets=query+value", _lora(LINEAR[::2][:2]) | _saved("base_model.model"), 0, 2 * 2 * 2 * 64),
    (
        "lora:rank=2,dora=true,targets=query",
        _lora(LINEAR[:1], "lora_magnitude_vector.default.weight") | _saved("base_model.model"),
        0,
        2 * (2 * 64 + 32),
    ),
    (
        "ia3",
        {f"base_model.model.{name}" for name in _names(*(f"{m}.ia3_l.default" for m in (*LINEAR[1:3], LINEAR[5])))}
        | _saved("base_model.model"),
        0,
        2 * (32 + 32 + 64),
    ),
    ("adapter:size=4", _bottlenecks(LINEAR[3], LINEAR[5]) | set(HEAD), 0, 2 * 2 * (4 * 32 + 4 + 4 * 32 + 32)),
    ("adapter:placement=pfeiffer", _bottlenecks(LINEAR[5]) | set(HEAD), 0, 2 * (2 * 32 + 2 + 2 * 32 + 32)),
    ("prompt:tokens=3", {"prompt_encoder.default.embedding.weight"} | _saved("base_model"), 0, 3 * 32),
    ("prefix:tokens=3", {"prompt_encoder.default.embedding.weight"} | _saved("base_model"), 0, 3 * 2 * 2 * 32),
]


@pytest.mark.parametrize(("spec", "names", "n_inside", "n_added"), CASES)
def test_apply_trains_these_weights_and_no_others(base, spec, names, n_inside, n_added):
    model = _make(base, spec)
    assert trained_weights(model).keys() == names
    trained, total = count_weights(model)
    assert trained == n_inside + n_added + HEAD_SIZE
    assert total == BASE_SIZE + HEAD_SIZE + n_added


@pytest.mark.parametrize("spec", ["lora", "lora:dora=true", "lora:rslora=true", "ia3", "adapter", "frozen", "bitfit"])
def test_apply_leaves_the_answers_as_they_were(base, spec):
    ids = torch.tensor([[2, 5, 11, 12, 8, 19, 3]])
    plain = load_model(open_encoder(str(base)), TAG_SET, dropout=0.1, seed=0).eval()
    with torch.no_grad():
        found, expected = _make(base, spec).eval()(ids).logits, plain(ids).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
@pytest.mark.parametrize("spec", [*METHODS, "lora:dora=true", "prefix:projection=true", "frozen:layers=2"])
def test_apply_has_gradients_for_all_that_it_trains(tmp_path, kind, spec):
    if kind == "distilbert" and spec.startswith("prefix"):
        pytest.skip("takes no keys and values from outside")
    model = _make(make_encoder(tmp_path, kind), spec)
    inputs = {"input_ids": torch.tensor([[2, 5, 11, 12, 3], [2, 6, 3, 0, 0]])}
    inputs["attention_mask"] = (inputs["input_ids"] > 0).long()
    labels = torch.tensor([[-100, 3, 0, 0, -100], [-100, 1, -100, -100, -100]])
    output = model.train()(**inputs, labels=labels)
    output.loss.backward()
    assert output.logits.shape == (2, 5, 5)
    without = [name for name, weights in model.named_parameters() if weights.requires_grad and weights.grad is None]
    assert without == []


@pytest.mark.parametrize("spec", [*METHODS, "lora:dora=true", "prefix:projection=true", "frozen:layers=2"])
def test_apply_can_be_tried_without_weights(base, spec):
    model = _apply(build_skeleton(open_encoder(str(base))), spec)
    assert count_weights(model)[1] > BASE_SIZE


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("frozen:layers=-1", "expected layers of --method frozen of at least 0, found -1"),
        ("frozen:layers=3", "expected layers of --method frozen of at most 2, found 3"),
        ("lora:rank=0", "expected rank of --method lora above 0, found 0"),
        ("lora:dropout=1", "expected dropout of --method lora of at least 0 and below 1, found 1.0"),
        ("lora:targets=q", "expected targets of --method lora of query.* found 'q'"),
        (
            "adapter:placement=here",
            r"expected placement of --method adapter of \['houlsby', 'pfeiffer'\], found 'here'",
        ),
        ("adapter:reduction=0", "expected reduction of --method adapter of at least 1"),
        ("prompt:tokens=0", "expected tokens of --method prompt of at least 1, found 0"),
        ("prefix:tokens=0", "expected tokens of --method prefix of at least 1, found 0"),
    ],
)
def test_methods_refuse_what_cannot_be(base, spec, message):
    with pytest.raises(ConfigError, match=message):
        _make(base, spec)


def test_prefix_refuses_a_model_that_takes_no_keys_and_values(tmp_path):
    with pytest.raises(
        ConfigError, match=r"kinds bert, .* for --method prefix, found 'distilbert'; use prompt, or lora"
    ):
        _make(make_encoder(tmp_path, "distilbert"), "prefix")
