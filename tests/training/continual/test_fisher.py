import shutil

import pytest
import torch

from schemas.errors import CheckpointError
from tests.training.continual.pasts import KNOWN, OLD, TAGS, make_past
from training.continual.fisher import (
    FISHER_NAME,
    add_fisher,
    draw_windows,
    find_fisher,
    measure_base,
    measure_fisher,
    save_fisher,
    spread_fisher,
)
from training.encoders import load_model, load_tagger, open_encoder
from training.examples import cut_windows
from training.scorer import build_collator, build_features


@pytest.fixture
def windows(past):
    return cut_windows(OLD, KNOWN, past.tokenizer, max_tokens=32)


def test_it_is_the_mean_of_squared_gradients_of_the_windows(champion, past, windows):
    model = load_tagger(open_encoder(str(champion)))
    found = measure_fisher(model, windows, KNOWN, past.tokenizer)
    expected, words = torch.zeros_like(model.classifier.bias), model.get_input_embeddings().weight
    by_word = torch.zeros_like(words)
    for feature in build_features(windows):
        batch = build_collator(past.tokenizer)([feature])
        targets = batch.pop("labels")
        is_word = targets != -100
        # The gradient of the logarithm of a probability with respect to logits is the one-hot tag minus probabilities.
        logits = model(**batch).logits
        loss = torch.nn.functional.cross_entropy(logits[is_word], targets[is_word], reduction="sum")
        by_word += torch.autograd.grad(loss, [words], retain_graph=True)[0] ** 2
        shares = logits.softmax(-1)[is_word]
        expected += (torch.eye(3)[targets[is_word]] - shares).sum(dim=0).detach() ** 2
    assert torch.allclose(found["classifier.bias"], expected / len(windows), rtol=1e-4)
    assert torch.allclose(found["bert.embeddings.word_embeddings.weight"], by_word / len(windows), rtol=1e-4)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert not model.get_input_embeddings().sparse


def test_a_model_is_left_as_it_was(champion, past, windows):
    model = load_tagger(open_encoder(str(champion))).train()
    model.base_model.requires_grad_(requires_grad=False)
    found = measure_fisher(model, windows, KNOWN, past.tokenizer)
    assert found["bert.embeddings.word_embeddings.weight"].any()
    assert model.training
    assert {name for name, one in model.named_parameters() if one.requires_grad} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert all(one.grad is None for one in model.parameters())


def test_a_model_with_a_random_field_has_information_by_its_own_likelihood(champion, past, windows):
    model = load_model(open_encoder(str(champion)), KNOWN, dropout=0.0, seed=0, head="crf")
    plain = measure_fisher(load_tagger(open_encoder(str(champion))), windows, KNOWN, past.tokenizer)
    found = measure_fisher(model, windows, KNOWN, past.tokenizer)
    assert found.keys() == plain.keys()
    assert not torch.allclose(found["classifier.bias"], plain["classifier.bias"])


def test_old_sentences_with_labels_that_the_base_never_had_are_left_out(champion):
    strange = make_past(champion).sentences
    found = measure_base(make_past(champion, old=(*OLD, *strange)), 100)
    expected = measure_base(make_past(champion), 100)
    assert all(torch.equal(found[name], one) for name, one in expected.items())


def test_of_new_tags_nothing_is_known(past):
    fisher = measure_base(past, 100)
    spread = spread_fisher(fisher, KNOWN.tags, past)
    for at, tag in enumerate(TAGS.tags):
        row = spread["classifier.weight"][at]
        if tag in KNOWN.tags:
            assert torch.equal(row, fisher["classifier.weight"][KNOWN.tags.index(tag)])
        else:
            assert not row.any()


def test_trainings_are_summed_online():
    before, now = {"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([10.0, 0.0])}
    assert add_fisher(before, now, 0.5)["a"].tolist() == [10.5, 1.0]


def test_it_is_stored_with_the_digest_of_its_weights(champion, past, tmp_path):
    shutil.copytree(champion, tmp_path, dirs_exist_ok=True)
    assert find_fisher(tmp_path) is None
    fisher = measure_base(past, 2)
    save_fisher(fisher, KNOWN.tags, tmp_path)
    tags, found = find_fisher(tmp_path)
    assert tags == KNOWN.tags
    assert all(torch.equal(found[name], one) for name, one in fisher.items())

    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match=r"expected memory/fisher.safetensors of weights .* remove it and give"):
        find_fisher(tmp_path)
    (tmp_path / FISHER_NAME).write_text("none")
    with pytest.raises(CheckpointError, match=r"cannot read memory/fisher.safetensors of model"):
        find_fisher(tmp_path)


def test_windows_are_drawn_by_the_seed(windows):
    assert draw_windows(windows, 2, 0) == draw_windows(windows, 2, 0)
    assert len(draw_windows(windows, 2, 0)) == 2
    assert len(draw_windows(windows, 100, 0)) == len(windows)
