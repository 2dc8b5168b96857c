import pytest

from transforms.models.late import LateTagger


class _Config:
    labels = ("PER", "LOC")

    def __init__(self, **described):
        self._described = described

    def describe(self):
        return self._described


@pytest.fixture
def built():
    """Each tagger that was built."""
    return []


@pytest.fixture
def late(build_tagger, built):
    def build():
        built.append(build_tagger()[0])
        return built[-1]

    return LateTagger(_Config(), build)


def test_a_tagger_is_built_once_when_it_is_first_asked(late, built, build_tagger):
    assert built == []
    for _ in range(2):
        assert late.tag(["Anna in Berlin"]).start.tolist() == build_tagger()[0].tag(["Anna in Berlin"]).start.tolist()
    assert len(built) == 1


def test_labels_and_names_are_known_before(late, built):
    assert (late.labels, late.names) == (("PER", "LOC"), ("",))
    assert LateTagger(_Config(members={"a": {}, "b": {}}), built.pop).names == ("a", "b")
    assert built == []
