"""Labelled files that several tests of training read."""

import pytest

from tests.training.recipes import make_labelled_file
from training.examples import read_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    patterns = [
        make_labelled_file(folder / "a.conll", n_sentences=54),
        make_labelled_file(folder / "b.conll", n_sentences=9),
    ]
    return read_files([str(path) for path in patterns], flag="--train")
