import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForTokenClassification

from training.checkpoints import load_verified, write_model
from training.crf import add_crf, build_task, find_crf, gather_words, read_crf
from training.encoders import load_model, open_encoder
from training.examples import IGNORED, LabelledFile, LabelledSentence, build_bio_tags, cut_windows
from training.scorer import Scorer
from transforms.models.checkpoint import CRF_NAME, find_checkpoint
from transforms.tags.schemes import allowed_steps, build_tag_set

TAG_SETS = [build_bio_tags(["A"]), build_bio_tags(["A", "B"]), build_tag_set(["O", "B-A", "I-A", "E-A", "S-A"])]


class Empty(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def _draw_crf(tag_set, seed):
    draw = torch.Generator().manual_seed(seed)
    crf = add_crf(Empty(), len(tag_set.tags))
    with torch.no_grad():
        for scores in crf.values():
            scores.copy_(2 * torch.randn(scores.shape, generator=draw))
    return crf, draw


def _legal_paths(tag_set, n_words):
    steps, first, last = allowed_steps(tag_set)
    return [
        path
        for path in itertools.product(range(len(tag_set.tags)), repeat=n_words)
        if first[path[0]] and last[path[-1]] and all(steps[a, b] for a, b in itertools.pairwise(path))
    ]


def _score(crf, logits, path):
    steps = sum(crf["steps"][a, b].item() for a, b in itertools.pairwise(path))
    own = sum(logits[word, tag].item() for word, tag in enumerate(path))
    return own + steps + crf["first"][path[0]].item() + crf["last"][path[-1]].item()


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(TAG_SETS), st.integers(1, 4), st.integers(0, 2**31))
def test_the_loss_is_that_of_all_paths_counted_one_by_one(tag_set, n_words, seed):
    crf, draw = _draw_crf(tag_set, seed)
    logits = 3 * torch.randn(1, n_words, len(tag_set.tags), generator=draw)
    paths = _legal_paths(tag_set, n_words)
    scores = torch.tensor([_score(crf, logits[0], path) for path in paths], dtype=torch.float64)
    gold = int(torch.randint(len(paths), (1,), generator=draw))
    loss = build_task(crf, tag_set)(logits, torch.tensor([paths[gold]]))
    assert loss.item() == pytest.approx((scores.logsumexp(0) - scores[gold]).item(), abs=1e-3)


def test_the_losses_of_windows_add_up_whatever_lies_between_their_words():
    tag_set = TAG_SETS[1]
    crf, draw = _draw_crf(tag_set, 0)
    task = build_task(crf, tag_set)
    logits = torch.randn(2, 6, 5, generator=draw)
    targets = torch.tensor([[IGNORED, 1, IGNORED, 2, 0, IGNORED], [IGNORED, 3, IGNORED, IGNORED, IGNORED, IGNORED]])
    alone = [task(logits[at : at + 1][targets[at : at + 1] != IGNORED][None], targets[at][targets[at] != IGNORED][None])
             for at in (0, 1)]  # fmt: skip
    assert task(logits, targets).item() == pytest.approx(sum(alone).item(), rel=1e-5)


def test_gather_words_puts_first_pieces_side_by_side():
    targets = torch.tensor([[IGNORED, 1, IGNORED, 2, IGNORED], [IGNORED, IGNORED, 4, IGNORED, IGNORED]])
    logits = torch.arange(10.0).reshape(2, 5, 1)
    emissions, tags, is_word = gather_words(logits, targets)
    assert emissions[..., 0].tolist()[0] == [1.0, 3.0]
    assert emissions[1, 0, 0] == 7.0
    assert tags.tolist() == [[1, 2], [4, 0]]
    assert is_word.tolist() == [[True, True], [True, False]]


def test_a_window_that_was_cut_within_an_entity_has_a_loss_like_others():
    tag_set = TAG_SETS[0]
    crf, draw = _draw_crf(tag_set, 1)
    loss = build_task(crf, tag_set)(torch.randn(1, 2, 3, generator=draw), torch.tensor([[2, 2]]))
    assert 0 < loss.item() < 50


def test_learning_the_steps_forbids_what_the_data_never_has():
    tag_set = TAG_SETS[0]
    crf = add_crf(Empty(), 3)
    task = build_task(crf, tag_set)
    optimizer = torch.optim.Adam(crf.values(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        # Two words each, and an entity of one word never.
        task(torch.zeros(2, 4, 3), torch.tensor([[1, 2, 0, 0], [0, 1, 2, 0]])).backward()
        optimizer.step()
    steps = crf["steps"].detach()
    assert steps[1, 2] > steps[1, 0] + 2
    assert steps[1, 2] > steps[1, 1] + 2
    assert crf["steps"].grad[0, 2] == 0


@pytest.fixture
def tagger(base):
    encoder = open_encoder(str(base))
    model = load_model(encoder, TAG_SETS[1], dropout=0.1, seed=0, head="crf")
    torch.manual_seed(3)
    for scores in find_crf(model).values():
        torch.nn.init.normal_(scores)
    return model, encoder.tokenizer


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_saved_model_is_a_plain_token_classifier_with_a_file_beside_it(tagger, tmp_path, dtype, recwarn):
    model, tokenizer = tagger
    before = read_crf(find_crf(model))
    write_model(model, tokenizer, tmp_path, dtype=dtype)
    assert read_crf(find_crf(model)) == before
    _, info = AutoModelForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert find_checkpoint(str(tmp_path)).tag_set.transitions == before
    windows = cut_windows([LabelledSentence(("anna", "went"), ())], TAG_SETS[1], tokenizer, max_tokens=32)
    again = load_verified(model, tokenizer, windows, tmp_path, dtype=dtype)
    assert read_crf(find_crf(again)) == before


def test_learned_steps_change_the_digest_of_a_checkpoint(tagger, tmp_path):
    model, tokenizer = tagger
    write_model(model, tokenizer, tmp_path, dtype="float32")
    before = find_checkpoint(str(tmp_path)).digest
    (tmp_path / CRF_NAME).unlink()
    assert find_checkpoint(str(tmp_path)).digest != before


def test_the_steps_of_a_tagger_are_trained_further(tagger, tmp_path):
    model, tokenizer = tagger
    write_model(model, tokenizer, tmp_path, dtype="float32")
    again = load_model(open_encoder(str(tmp_path)), TAG_SETS[1], dropout=0.1, seed=0, head="crf")
    assert read_crf(find_crf(again)) == read_crf(find_crf(model))


def test_scores_on_files_are_those_of_decoding_with_the_steps(tagger):
    model, tokenizer = tagger
    words = ("anna", "went", "to", "rome")
    file = LabelledFile("a.conll", "", (LabelledSentence(words, tuple((at, at + 1, "B") for at in range(4))),))
    scorer = Scorer([file], TAG_SETS[1], tokenizer, max_tokens=32)
    begin = TAG_SETS[1].tags.index("B-B")
    assert np.mean(scorer.measure_f1(model)) < 1
    with torch.no_grad():
        find_crf(model)["first"][begin] = 500
        find_crf(model)["steps"][begin, begin] = 500
    assert np.mean(scorer.measure_f1(model)) == 1
