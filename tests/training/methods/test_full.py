from torch import nn

from training.methods import full
from training.methods.methods import METHODS


def test_apply_makes_every_weight_trainable():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)).requires_grad_(False)
    assert full.apply(model, full.FullConfig()) is model
    names = [name for name, weights in model.named_parameters() if weights.requires_grad]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_methods_have_a_config_that_needs_no_choice():
    for method in METHODS.values():
        assert method.config() == method.config()
