"""Weights that are pulled back to where they were, by l2 and by ewc."""

import pytest
import torch

from schemas.errors import ConfigError
from tests.training.continual.pasts import NEW, TAGS, make_past, make_step, move_all
from training.continual import ewc, l2
from training.continual.anchors import find_anchored, weigh_alike
from training.continual.ewc import EwcConfig
from training.continual.fisher import measure_base
from training.continual.l2 import L2Config

NEW_ROWS = [TAGS.tags.index(tag) for tag in ("B-person", "I-person")]


@pytest.mark.parametrize(("way", "config"), [(l2, L2Config()), (ewc, EwcConfig())])
def test_nothing_pulls_before_anything_has_moved(past, way, config):
    term = way.build(config, past).term
    step = make_step(past)
    assert term(step).item() == 0
    move_all(past.model, 0.01)
    assert term(step).item() > 0


def test_l2_is_half_the_squared_distance_of_all_but_new_rows(past):
    term = l2.build(L2Config(strength=0.5), past).term
    n_free = len(NEW_ROWS) * (past.model.classifier.in_features + 1)
    n_held = sum(weights.numel() for weights in past.model.parameters()) - n_free
    move_all(past.model, 0.1)
    assert term(make_step(past)).item() == pytest.approx(0.5 / 2 * n_held * 0.01, rel=1e-4)


def test_ewc_weighs_squared_distances_by_fisher_information(past):
    fisher = measure_base(past, 100)
    term = ewc.build(EwcConfig(strength=3), past).term
    move_all(past.model, 0.1)
    expected = 3 / 2 * sum(information.sum().item() for information in fisher.values()) * 0.01
    assert term(make_step(past)).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("way", "config"), [(l2, L2Config()), (ewc, EwcConfig())])
def test_rows_of_new_tags_are_free(past, way, config):
    term = way.build(config, past).term
    with torch.no_grad():
        past.model.classifier.weight[NEW_ROWS] += 1
        past.model.classifier.bias[NEW_ROWS] += 1
    assert term(make_step(past)).item() == 0
    with torch.no_grad():
        past.model.classifier.weight[TAGS.tags.index("B-location")] += 1
    assert term(make_step(past)).item() > 0


def test_a_step_down_the_penalty_leads_back(past):
    term = l2.build(L2Config(strength=1), past).term
    name = "bert.embeddings.word_embeddings.weight"
    weights = dict(past.model.named_parameters())[name]
    before = weights.detach().clone()
    move_all(past.model, 0.1)
    (gradient,) = torch.autograd.grad(term(make_step(past)), [weights])
    assert torch.allclose(gradient, weights - before)


def test_it_counts_once_per_step_however_many_batches_that_has(past):
    term = l2.build(L2Config(), past).term
    move_all(past.model, 0.1)
    whole = make_step(past)
    halves = [make_step(past, [sentence], whole.n_targets) for sentence in NEW]
    assert sum(term(half).item() for half in halves) == pytest.approx(term(whole).item(), rel=1e-5)


def test_only_what_is_trained_is_held(champion):
    past = make_past(champion)
    past.model.base_model.requires_grad_(requires_grad=False)
    assert set(find_anchored(past)) == set(weigh_alike(past)) == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L2Config(strength=0), "expected strength of --continual l2 above 0, found 0"),
        (lambda: EwcConfig(strength=-1), "expected strength of --continual ewc above 0, found -1"),
        (lambda: EwcConfig(samples=0), "expected samples of --continual ewc above 0, found 0"),
    ],
)
def test_a_strength_of_nothing_is_refused(make, message):
    with pytest.raises(ConfigError) as error:
        make()
    assert message in str(error.value)
