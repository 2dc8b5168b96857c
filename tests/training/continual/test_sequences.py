import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from training.continual.sequences import (
    average_f1,
    backward_transfer,
    forgetting,
    forward_transfer,
    learning_f1,
    mean_matrix,
)

#         news   tweets  wiki
MATRIX = [[0.90, 0.30, 0.10], [0.95, 0.80, 0.20], [0.60, 0.75, 0.70]]
MATRICES = st.integers(2, 5).flatmap(
    lambda n: st.lists(st.lists(st.floats(0, 1), min_size=n, max_size=n), min_size=n, max_size=n)
)


def test_measures_by_hand():
    assert average_f1(MATRIX) == pytest.approx((0.60 + 0.75 + 0.70) / 3)
    assert learning_f1(MATRIX) == pytest.approx((0.90 + 0.80 + 0.70) / 3)
    assert backward_transfer(MATRIX) == pytest.approx(((0.60 - 0.90) + (0.75 - 0.80)) / 2)
    assert forward_transfer(MATRIX, [0.0, 0.05, 0.02]) == pytest.approx(((0.30 - 0.05) + (0.20 - 0.02)) / 2)
    # News was best after tweets.
    assert forgetting(MATRIX) == pytest.approx(((0.95 - 0.60) + (0.80 - 0.75)) / 2)


def test_scores_before_a_task_is_learned_are_no_best():
    assert forgetting([[0.5, 0.9], [0.5, 0.4]]) == 0
    assert forgetting([[0.5, 0.9, 0], [0.5, 0.4, 0], [0.5, 0.6, 0]]) == pytest.approx(-0.1)


@given(MATRICES)
def test_forgetting_is_at_least_what_backward_transfer_says(matrix):
    assert forgetting(matrix) >= -backward_transfer(matrix) - 1e-12


@given(MATRICES)
def test_the_mean_of_one_matrix_is_itself(matrix):
    assert np.allclose(mean_matrix([matrix]), matrix)
    assert np.allclose(mean_matrix([matrix, np.zeros_like(matrix).tolist()]), np.array(matrix) / 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: forgetting([[0.5]]),
        lambda: backward_transfer([[0.5]]),
        lambda: average_f1([[0.5, 0.5], [0.5]]),
        lambda: forward_transfer(MATRIX, [0.0]),
        lambda: mean_matrix([MATRIX, [[0.5]]]),
        lambda: mean_matrix([]),
    ],
)
def test_other_shapes_are_refused(call):
    with pytest.raises(ConfigError, match="expected"):
        call()
