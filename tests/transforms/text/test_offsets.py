import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from transforms.text.offsets import convert_offsets, restore_offsets

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(_TEXT, st.sampled_from([("utf8", "utf-8", 1), ("utf16", "utf-16-le", 2)]))
def test_convert_offsets_counts_units_of_the_encoding(text, unit):
    name, encoding, width = unit
    expected = [len(text[:at].encode(encoding)) // width for at in range(len(text) + 1)]
    assert convert_offsets(text, np.arange(len(text) + 1), name).tolist() == expected


def test_convert_offsets_leaves_code_points_alone():
    assert convert_offsets("a😀b", np.array([0, 2, 3]), "codepoint").tolist() == [0, 2, 3]


def test_convert_offsets_refuses_other_units():
    with pytest.raises(ConfigError, match="'utf32'"):
        convert_offsets("é", np.array([0]), "utf32")


@given(_TEXT, st.sampled_from(["codepoint", "utf8", "utf16"]))
def test_restore_offsets_is_the_inverse(text, unit):
    places = np.arange(len(text) + 1)
    assert restore_offsets(text, convert_offsets(text, places, unit), unit).tolist() == places.tolist()


@pytest.mark.parametrize(("unit", "offset"), [("utf16", 1), ("utf8", 2), ("utf16", 4), ("codepoint", -1)])
def test_restore_offsets_refuses_places_within_characters_and_beyond_the_text(unit, offset):
    with pytest.raises(ValueError, match="expected offsets between characters"):
        restore_offsets("😀a", np.array([offset]), unit)
