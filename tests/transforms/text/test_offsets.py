import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from transforms.text.offsets import convert_offsets

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
