import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.prompts import Answer
from tests.transforms.prompts.recipes import build_answer
from transforms.prompts.answers import apply_repairs, match_label, score_mention


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (2, 6, math.sqrt(0.9 * 0.4)),  # An|na
        (3, 6, math.sqrt(0.9 * 0.4)),  # a token counts when it holds any of the characters
        (4, 6, 0.4),
        (0, 8, (0.5 * 0.9 * 0.4 * 0.7) ** 0.25),
    ],
)
def test_a_score_is_the_geometric_mean_over_the_tokens_of_a_mention(first, last, expected):
    answer = build_answer('["Anna"]', ['["', "An", "na", '"]'], [0.5, 0.9, 0.4, 0.7])
    assert score_mention(answer, first, last) == pytest.approx(expected)


def test_a_token_of_a_characters_first_bytes_counts_with_it():
    answer = build_answer("a東b", ["a", "", "東", "b"], [0.9, 0.5, 0.2, 0.9])
    assert score_mention(answer, 1, 2) == pytest.approx(math.sqrt(0.5 * 0.2))
    assert score_mention(answer, 0, 1) == pytest.approx(0.9)


def test_a_model_that_tells_no_probabilities_is_sure_of_everything():
    assert score_mention(build_answer('["Anna"]'), 2, 6) == 1.0


@given(
    pieces=st.lists(st.text(max_size=3), max_size=8),
    log_probs=st.lists(st.floats(), min_size=8, max_size=8),
    first=st.integers(0, 24),
    length=st.integers(1, 5),
)
def test_a_score_lies_between_0_and_1_whatever_the_model_tells(pieces, log_probs, first, length):
    answer = Answer("".join(pieces), tuple(pieces), tuple(log_probs[: len(pieces)]), False, 0, 0, len(pieces))
    assert 0 <= score_mention(answer, first, first + length) <= 1


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("per", "PER"),
        ("Persons", "PER"),
        ("ORGANIZATION", "ORG"),
        ("creative work", "creative-work"),
        ("pro", None),  # two begin with it
        ("p", None),
        ("", None),
        ("date", None),
    ],
)
def test_a_label_is_known_by_a_name_that_can_mean_no_other(name, label):
    assert match_label(name, ["PER", "ORG", "creative-work", "product", "programlang"]) == label


def test_repairs_that_change_nothing_are_not_named():
    repairs = (("strip", str.strip), ("lower", str.lower), ("dots", lambda text: text.rstrip(".")))
    assert apply_repairs(" Anna.", repairs) == ("anna", ("strip", "lower", "dots"))
    assert apply_repairs("anna", repairs) == ("anna", ())
