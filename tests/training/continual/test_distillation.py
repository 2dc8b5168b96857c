import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError
from tests.training.continual.pasts import NEW, make_past, make_step, move_all
from training.continual.distillation import DistillationConfig, add_spans, build, sum_divergence
from training.examples import LabelledSentence


def test_divergence_is_that_of_probabilities():
    # Two words: teacher 1/2 1/2 and 3/4 1/4, student 1/4 3/4 and 3/4 1/4.
    teacher = torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log()
    student = torch.tensor([[0.25, 0.75], [0.75, 0.25]]).log()
    expected = 0.5 * torch.tensor(0.5 / 0.25).log() + 0.5 * torch.tensor(0.5 / 0.75).log()
    assert sum_divergence(teacher, student, 1.0).item() == pytest.approx(expected.item(), rel=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**16), st.floats(0.5, 4))
def test_divergence_is_zero_for_equal_answers_and_never_below(seed, temperature):
    first, second = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(seed))
    assert sum_divergence(first, first + 7, temperature).item() == pytest.approx(0, abs=1e-5)
    assert sum_divergence(first, second, temperature).item() > 0


def test_the_student_begins_as_its_teacher(past):
    term = build(DistillationConfig(), past).term
    assert term(make_step(past)).item() == pytest.approx(0, abs=1e-6)
    move_all(past.model, 0.05)
    assert term(make_step(past)).item() > 1e-4


def test_words_with_a_new_label_are_free(past):
    term = build(DistillationConfig(), past).term
    move_all(past.model, 0.05)
    alone = LabelledSentence(("otto", "mia"), ((0, 1, "person"), (1, 2, "person")))
    assert term(make_step(past, [alone])).item() == 0
    assert term(make_step(past, [dataclasses.replace(alone, spans=())])).item() > 0


def test_a_step_down_the_divergence_leads_back(past):
    term = build(DistillationConfig(), past).term
    head = past.model.classifier.weight
    with torch.no_grad():
        head.add_(0.1 * torch.randn(head.shape, generator=torch.Generator().manual_seed(0)))
    before = term(make_step(past))
    before.backward()
    with torch.no_grad():
        head.sub_(0.01 * head.grad)
    assert term(make_step(past)).item() < before.item()
    assert not head.grad[[past.tag_set.tags.index(tag) for tag in ("B-person", "I-person")]].any()


def test_the_teachers_entities_are_kept_where_nobody_was_asked_to_label_them(champion, past):
    found = build(DistillationConfig(), past).relabel(NEW)
    for sentence, filled in zip(NEW, found, strict=True):
        assert set(sentence.spans) <= set(filled.spans)
        assert {label for *_, label in set(filled.spans) - set(sentence.spans)} <= {"location"}
    # The champion has random weights, and finds locations somewhere in ten words.
    many = [LabelledSentence(("anna", "went", "to", "rome", "and", "saw", "the", "river"), ()), *NEW]
    assert any("location" in {span[2] for span in one.spans} for one in build(DistillationConfig(), past).relabel(many))
    assert build(DistillationConfig(fill=False), past).relabel(many) == many


def test_labels_of_the_training_files_are_theirs_to_judge(champion):
    sentences = [*NEW, LabelledSentence(("to", "rome"), ((1, 2, "location"),)), LabelledSentence(("to", "oslo"), ())]
    past = make_past(champion, sentences=sentences)
    assert build(DistillationConfig(), past).relabel(sentences) == sentences


@given(st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)))
def test_added_entities_meet_none_that_is_there(own, more):
    sentence = LabelledSentence(tuple("abcdef"), tuple((at, at + 1, "A") for at in sorted(own)))
    spans = add_spans(sentence, [(at, at + 2, "B") for at in sorted(more) if at % 2 == 0]).spans
    covered = [word for first, last, _ in spans for word in range(first, last)]
    assert len(covered) == len(set(covered))
    assert set(sentence.spans) <= set(spans)


@pytest.mark.parametrize("option", ["weight", "temperature"])
def test_a_weight_of_nothing_is_refused(option):
    with pytest.raises(ConfigError, match=f"expected {option} of --continual distillation above 0, found 0"):
        DistillationConfig(**{option: 0})
