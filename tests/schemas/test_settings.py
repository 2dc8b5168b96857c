"""Settings are held against the types of their fields."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from schemas.errors import ConfigError
from schemas.settings import check_type, check_types


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, ""),
        (bool, True),
        (int, np.int64(3)),
        (float, 3),
        (float, np.float32(0.5)),
        (int | None, None),
        (Sequence[str], ["a", "b"]),
        (Sequence[str], ()),
        (tuple[str, ...], ["a"]),
        (tuple[tuple[str, float], ...], [("a", 1), ["b", 0.5]]),
        (Mapping[str, float], {"a": 0}),
    ],
)
def test_values_of_their_type_pass(kind, value):
    check_type(value, kind, "value")


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (str, b"a", "expected value to be text, found b'a'"),
        (int, True, "expected value to be a whole number, found True"),
        (int, 0.5, "expected value to be a whole number, found 0.5"),
        (float, "0.5", "expected value to be a number, found '0.5'"),
        (bool, 1, "expected value to be true or false, found 1"),
        (int | None, "", "expected value to be a whole number or none, found ''"),
        (Sequence[str], "ab", "expected value to be a list of text, found 'ab'"),
        (Sequence[str], ["a", 1], r"expected value to be a list of text, found \['a', 1\]"),
        (tuple[str, float], ("a",), r"expected value to be \(text, a number\), found \('a',\)"),
        (Mapping[str, float], {1: 1}, "expected value to be a mapping of text to a number, found {1: 1}"),
        (Mapping[str, float], [], r"expected value to be a mapping of text to a number, found \[\]"),
        (ConfigError, 1, "expected value to be ConfigError, found 1"),
        (str, list(range(99)), r"expected value to be text, found \[0, 1, 2, 3, 4, 5, \.\.\.\]"),
    ],
)
def test_others_are_refused_by_name(kind, value, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        check_type(value, kind, "value")


def test_each_field_of_a_dataclass_is_held_against_its_type():
    settings = dataclasses.make_dataclass("Settings", [("least", float), ("labels", Sequence[str])])
    check_types(settings(0.5, []))
    with pytest.raises(ConfigError, match="expected labels to be a list of text, found None"):
        check_types(settings(0.5, None))
