"""A head for other tags: known rows are kept exactly, wherever they come to stand."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import CheckpointError
from training.checkpoints import write_model
from training.crf import find_crf
from training.encoders import load_model, load_tagger, open_encoder
from training.examples import build_bio_tags
from training.heads import find_output, list_tags, match_tags

OLD = build_bio_tags(["location", "person"])
LABELS = st.lists(st.sampled_from(["art", "location", "money", "person", "zoo"]), min_size=1, unique=True)


@pytest.fixture(scope="module")
def tagger(base, tmp_path_factory):
    """A tagger of locations and persons with a random field, and the folder that it was written to."""
    folder = tmp_path_factory.mktemp("tagger")
    encoder = open_encoder(str(base))
    model = load_model(encoder, OLD, dropout=0.0, seed=0, head="crf")
    with torch.no_grad():
        for scores in find_crf(model).values():
            scores.copy_(torch.randn_like(scores))
    write_model(model, encoder.tokenizer, folder, dtype="float32")
    return model, folder


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LABELS)
def test_rows_of_known_tags_are_kept_and_new_ones_are_those_of_a_new_head(tagger, labels):
    old, folder = tagger
    tag_set = build_bio_tags(sorted(labels))
    new = load_model(open_encoder(str(folder)), tag_set, dropout=0.0, seed=3, head="crf")
    rows = match_tags(OLD.tags, tag_set.tags)
    assert {tag_set.tags[at] for at, _ in rows} == set(OLD.tags) & set(tag_set.tags)
    for at, place in rows:
        assert torch.equal(new.classifier.weight[at], old.classifier.weight[place])
        assert torch.equal(new.classifier.bias[at], old.classifier.bias[place])
        for other, other_place in rows:
            assert torch.equal(new.crf["steps"][at, other], old.crf["steps"][place, other_place])
    for name, weights in old.base_model.state_dict().items():
        assert torch.equal(new.base_model.state_dict()[name], weights), name
    if fresh := sorted(set(range(len(tag_set.tags))) - {at for at, _ in rows}):
        again = load_model(open_encoder(str(folder)), tag_set, dropout=0.0, seed=3, head="crf")
        other = load_model(open_encoder(str(folder)), tag_set, dropout=0.0, seed=4, head="crf")
        assert torch.equal(new.classifier.weight[fresh], again.classifier.weight[fresh])
        assert not torch.equal(new.classifier.weight[fresh], other.classifier.weight[fresh])
        assert not new.crf["first"][fresh].any()


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["art", "money", "zoo"]), unique=True))
def test_logits_of_old_tags_are_what_they_were(tagger, more):
    old, folder = tagger
    tag_set = build_bio_tags(sorted([*OLD.labels, *more]))
    new = load_model(open_encoder(str(folder)), tag_set, dropout=0.0, seed=0).eval()
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]])}
    columns = [tag_set.tags.index(tag) for tag in OLD.tags]
    with torch.no_grad():
        # A product with more rows may be summed in another order.
        assert torch.allclose(new(**inputs).logits[..., columns], old.eval()(**inputs).logits, atol=1e-6)


def test_a_tagger_is_loaded_as_it_is(tagger):
    old, folder = tagger
    again = load_tagger(open_encoder(str(folder)))
    assert list_tags(again.config) == OLD.tags
    for name, weights in old.state_dict().items():
        assert torch.equal(again.state_dict()[name], weights), name


def test_a_model_without_such_a_layer_is_refused(tagger):
    old, _ = tagger
    model = torch.nn.Sequential()
    model.config, model.base_model_prefix = old.config, "bert"
    with pytest.raises(CheckpointError, match="expected a layer of 5 outputs in Sequential, found none"):
        find_output(model)
