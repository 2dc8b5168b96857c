import pytest
import torch

from schemas.errors import ModelError
from tests.training.recipes import make_model
from training.methods.methods import METHODS
from training.states import load_state, save_state, trained_weights


@pytest.mark.parametrize("spec", [*METHODS, "prefix:projection=true", "lora:dora=true"])
def test_load_state_puts_back_what_was_trained(base, tmp_path, spec):
    model, _ = make_model(base, spec)
    other, _ = make_model(base, spec, seed=5)
    save_state(model, tmp_path)
    load_state(other, tmp_path)
    found = trained_weights(other)
    for name, weights in trained_weights(model).items():
        assert torch.equal(weights, found[name]), name


def test_load_state_refuses_that_of_another_method(base, tmp_path):
    save_state(make_model(base, "bitfit")[0], tmp_path)
    with pytest.raises(ModelError, match="expected the state of the same training"):
        load_state(make_model(base, "frozen")[0], tmp_path)
