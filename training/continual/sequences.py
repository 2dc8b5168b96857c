"""A model that learns one task after another: how well it does, what it forgot, and what old tasks gave to new ones.

    R[i][j] = entity F1 on task j after learning task i             tasks 0 ... T-1

               task 0   task 1   task 2
    after 0      90       20       10       above the diagonal: tasks not met yet
    after 1      70       80       15       the diagonal: tasks just learned
    after 2      60       75       70       below it: tasks of before

All measures are functions of R; F1 is a share between 0 and 1, and differences have its unit.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.errors import ConfigError

Matrix = Sequence[Sequence[float]]
"""A row per task learned, with F1 on each task."""


def average_f1(matrix: Matrix) -> float:
    """Mean F1 on all tasks once the last is learned: `1/T * sum_j R[T-1][j]` (Lopez-Paz and Ranzato, 2017).

    >>> average_f1([[0.9, 0.2], [0.7, 0.8]])
    0.75
    """
    return float(np.mean(_read(matrix)[-1]))


def learning_f1(matrix: Matrix) -> float:
    """Mean F1 on each task when it was just learned: `1/T * sum_i R[i][i]`.

    What a way costs on the new tasks is what it loses here against plain training.

    >>> round(learning_f1([[0.9, 0.2], [0.7, 0.8]]), 9)
    0.85
    """
    return float(np.mean(np.diag(_read(matrix))))


def backward_transfer(matrix: Matrix) -> float:
    """What later tasks did to earlier ones: `1/(T-1) * sum_{i<T-1} (R[T-1][i] - R[i][i])`.

    Below 0 where the model forgets (Lopez-Paz and Ranzato, 2017).

    Raises:
      ConfigError: there is one task only.

    >>> round(backward_transfer([[0.9, 0.2], [0.7, 0.8]]), 9)
    -0.2
    """
    found = _read(matrix, least=2)
    return float(np.mean(found[-1, :-1] - np.diag(found)[:-1]))


def forward_transfer(matrix: Matrix, untrained: Sequence[float]) -> float:
    """What earlier tasks did for later ones: `1/(T-1) * sum_{i>0} (R[i-1][i] - b[i])` (Lopez-Paz and Ranzato, 2017).

    Args:
      matrix: R.
      untrained: b, F1 on each task of the model before the first training; about 0 where its head is new.

    Raises:
      ConfigError: there is one task only, or another number of scores.

    >>> round(forward_transfer([[0.9, 0.2], [0.7, 0.8]], [0.0, 0.05]), 9)
    0.15
    """
    found = _read(matrix, least=2)
    if len(untrained) != len(found):
        raise ConfigError(f"expected {len(found)} scores of the untrained model, found {len(untrained)}")
    return float(np.mean(np.diag(found, k=1) - np.asarray(untrained, dtype=np.float64)[1:]))


def forgetting(matrix: Matrix) -> float:
    """How far old tasks have fallen from their best: `1/(T-1) * sum_{j<T-1} (max_{j<=l<T-1} R[l][j] - R[T-1][j])`.

    After Chaudhry et al. (2018), with the best taken since the task was learned. A model that has got better on a task
    than it ever was forgets less than nothing there.

    Raises:
      ConfigError: there is one task only.

    >>> round(forgetting([[0.9, 0.2], [0.7, 0.8]]), 9)
    0.2
    """
    found = _read(matrix, least=2)
    best = [found[task:-1, task].max() for task in range(len(found) - 1)]
    return float(np.mean(np.array(best) - found[-1, :-1]))


def mean_matrix(matrices: Sequence[Matrix]) -> list[list[float]]:
    """The mean of several matrices, such as those of several seeds.

    Raises:
      ConfigError: there are none, or their sizes differ.
    """
    sizes = sorted({len(matrix) for matrix in matrices})
    if len(sizes) != 1:
        raise ConfigError(f"expected matrices of one size, found sizes {sizes}")
    means: list[list[float]] = np.mean([_read(matrix) for matrix in matrices], axis=0).tolist()
    return means


def _read(matrix: Matrix, *, least: int = 1) -> npt.NDArray[np.float64]:
    n_tasks = len(matrix)
    if n_tasks < least or any(len(row) != n_tasks for row in matrix):
        raise ConfigError(
            f"expected F1 on each of at least {least} tasks after each of them, found rows of {[*map(len, matrix)]}"
        )
    return np.asarray(matrix, dtype=np.float64)
