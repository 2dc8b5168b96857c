import pytest

from schemas.errors import ConfigError
from schemas.labels import TagSet, split_tag


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("O", ("O", "")),
        ("B-PER", ("B", "PER")),
        ("I-creative-work", ("I", "creative-work")),
        ("U_ORG", ("U", "ORG")),
        ("PER", ("I", "PER")),
        ("creative-work", ("I", "creative-work")),
    ],
)
def test_split_tag_separates_prefix_and_label(tag, parts):
    assert split_tag(tag) == parts


def test_labels_of_a_tag_set_are_in_order_of_appearance():
    assert TagSet(("O", "B-PER", "I-PER", "B-LOC"), "BIO").labels == ("PER", "LOC")


def test_tag_set_refuses_a_tag_twice():
    with pytest.raises(ConfigError, match="distinct tags"):
        TagSet(("O", "B-PER", "B-PER"), "BIO")
