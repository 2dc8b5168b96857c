"""What the tests of the registry share."""

import pytest

from tests.training.registry.recipes import EARLY, add_folder, write_folder


@pytest.fixture(params=["posix", "s3"])
def store(request):
    """A disk and a bucket in turn."""
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def still_clock(monkeypatch):
    """Records that are written twice are equal."""
    for module in ("checkpoints", "history", "refusals", "garbage"):
        monkeypatch.setattr(f"training.registry.{module}.tell_time", lambda: EARLY)


@pytest.fixture
def add(tmp_path):
    """Store and weights in, the record of a model with such weights out; a base makes it an adapter."""

    def make(store, weights, *, base=None):
        below = write_folder(tmp_path / f"folder-{base}", base) if base else None
        return add_folder(store, write_folder(tmp_path / f"folder-{weights}", weights), base=below)

    return make
