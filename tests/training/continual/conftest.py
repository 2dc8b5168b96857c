"""A champion that all ways begin from."""

import pytest

from tests.training.continual.pasts import make_champion, make_past


@pytest.fixture(scope="package")
def champion(tmp_path_factory):
    return make_champion(tmp_path_factory.mktemp("continual"))


@pytest.fixture
def past(champion):
    return make_past(champion)
