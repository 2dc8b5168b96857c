import re

import pytest
import torch
from transformers import AutoConfig, AutoModelForTokenClassification

from schemas.errors import ConfigError
from tests.training.recipes import make_config
from training.modules import PARTS, check_parts, find_head, find_layers, find_parts, train_only

KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "deberta-v2", "mpnet")


@pytest.fixture(params=KINDS)
def model(request):
    return AutoModelForTokenClassification.from_config(make_config(request.param))


def _matching(model, parts):
    pattern = find_parts(model, parts)
    return [module for name, module in model.named_modules() if re.fullmatch(pattern, name)]


def test_find_parts_finds_every_linear_layer_of_every_layer_once(model):
    expected = [module for module in find_layers(model)[1].modules() if isinstance(module, torch.nn.Linear)]
    assert len(expected) == 2 * len(PARTS)
    assert set(_matching(model, PARTS)) == set(expected)


@pytest.mark.parametrize("part", PARTS)
def test_find_parts_tells_parts_apart(model, part):
    shapes = {"widening": (64, 32), "narrowing": (32, 64)}
    found = _matching(model, (part,))
    assert [tuple(module.weight.shape) for module in found] == 2 * [shapes.get(part, (32, 32))]


@pytest.fixture
def modern():
    return AutoModelForTokenClassification.from_config(make_config("modernbert"))


def test_find_parts_takes_what_is_one_layer_as_one(modern):
    expected = [module for module in find_layers(modern)[1].modules() if isinstance(module, torch.nn.Linear)]
    assert len(expected) == 2 * 4
    assert set(_matching(modern, PARTS)) == set(expected)
    assert [tuple(module.weight.shape) for module in _matching(modern, ("query", "key", "value"))] == 2 * [(96, 32)]
    assert find_head(modern) == ["head", "classifier"]


def test_find_parts_refuses_parts_that_are_one_with_others(modern):
    with pytest.raises(
        ConfigError, match=r"expected key\+value as layers of their own .* one with query .* 'modernbert'"
    ):
        find_parts(modern, ("key", "value"))


def test_find_head_is_all_but_the_encoder(model):
    assert find_head(model) == ["classifier"]


def test_train_only_trains_the_head_and_what_is_named(model):
    name = next(name for name, _ in model.base_model.named_parameters(model.base_model_prefix))
    train_only(model, {name})
    trained = {name for name, weights in model.named_parameters() if weights.requires_grad}
    assert trained == {name, "classifier.weight", "classifier.bias"}


def test_find_parts_refuses_a_kind_that_it_does_not_know():
    config = AutoConfig.for_model("xlnet", d_model=32, n_layer=2, n_head=2, d_inner=64, vocab_size=30, pad_token_id=0)
    with pytest.raises(ConfigError, match=r"kinds bert, .* found 'xlnet'; frozen, bitfit and full train others too"):
        find_parts(AutoModelForTokenClassification.from_config(config), PARTS)


@pytest.mark.parametrize(("parts", "found"), [((), "none"), (("query", "keys"), r"query\+keys")])
def test_check_parts_refuses_others(parts, found):
    with pytest.raises(ConfigError, match=rf"expected targets of query\+key\+.*, found '?{found}"):
        check_parts(parts, option="targets")
