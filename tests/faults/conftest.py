"""The workshop that the rows of the matrix share, and what pytest must not import."""

import pytest

from tests.faults.harness import Workshop

collect_ignore = ["warm.py"]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, tiny_checkpoint):
    """A model, a corpus and how it is annotated when nobody disturbs."""
    return Workshop(tmp_path_factory.mktemp("faults"), tiny_checkpoint)
