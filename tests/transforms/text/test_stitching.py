import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.text.stitching import Stitcher, edge_weights
from transforms.text.windows import cut_windows


def _stitch(bounds, windows, answers, order):
    stitcher = Stitcher(windows, bounds, answers[0].shape[1])
    for window in order:
        stitcher.add(window, answers[window])
    return stitcher.merge()


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False)
)
def test_stitcher_gives_the_same_bits_in_any_order(lengths, seed, random):
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    windows = cut_windows(bounds, np.ones(bounds[-1], dtype=bool), max_tokens=12, overlap_tokens=4)
    rng = np.random.default_rng(seed)
    answers = [rng.dirichlet(np.ones(3), int(n)).astype(np.float32) for n in windows.last - windows.first]
    order = list(range(len(answers)))
    expected, is_read = _stitch(bounds, windows, answers, order)
    random.shuffle(order)
    assert is_read.all()
    assert _stitch(bounds, windows, answers, order)[0].tobytes() == expected.tobytes()


@settings(deadline=None)
@given(st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_stitcher_keeps_probabilities_that_windows_agree_on(length, seed):
    truth = np.random.default_rng(seed).dirichlet(np.ones(3), length).astype(np.float32)
    bounds = np.array([0, length])
    windows = cut_windows(bounds, np.ones(length, dtype=bool), max_tokens=12, overlap_tokens=4)
    answers = [truth[first:last] for first, last in zip(windows.first, windows.last, strict=True)]
    merged, _ = _stitch(bounds, windows, answers, range(len(answers)))
    np.testing.assert_allclose(merged, truth, rtol=1e-6)


def test_stitcher_trusts_the_window_in_which_a_token_is_farther_from_the_edge():
    bounds = np.array([0, 8])
    windows = cut_windows(bounds, np.ones(8, dtype=bool), max_tokens=6, overlap_tokens=2)
    answers = [np.zeros((6, 1), np.float32), np.ones((4, 1), np.float32)]
    merged, _ = _stitch(bounds, windows, answers, [0, 1])
    np.testing.assert_allclose(merged[:, 0], [0, 0, 0, 0, 1 / 3, 2 / 3, 1, 1], rtol=1e-6)


def test_stitcher_tells_which_tokens_no_window_answered_for():
    bounds = np.array([0, 8])
    windows = cut_windows(bounds, np.ones(8, dtype=bool), max_tokens=6, overlap_tokens=2)
    _, is_read = _stitch(bounds, windows, [np.zeros((6, 1), np.float32)], [0])
    assert is_read.tolist() == [True] * 6 + [False] * 2


def test_edge_weights_see_no_edge_at_the_ends_of_a_document():
    assert edge_weights(4, opens=False, closes=False).tolist() == [1, 2, 2, 1]
    assert edge_weights(4, opens=True, closes=False).tolist() == [4, 3, 2, 1]
    assert edge_weights(4, opens=True, closes=True).tolist() == [4, 4, 4, 4]
