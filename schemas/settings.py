"""Settings that a person writes in Python or YAML, held against the types of their fields.

The command line and TOML have readers of their own, which know what a flag may hold (see pipelines.console.options).
"""

import dataclasses
import numbers
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.errors import ConfigError

_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number", types.NoneType: "none"}
_NUMBERS = {int: numbers.Integral, float: numbers.Real}
"""Those of NumPy are numbers, too."""


def check_types(settings: Any) -> None:
    """Refuses a dataclass with a field that holds something else than its type says.

    Raises:
      ConfigError: naming the field.
    """
    for field in dataclasses.fields(settings):
        check_type(getattr(settings, field.name), field.type, field.name)


def check_type(value: Any, kind: Any, name: str) -> None:
    """Refuses a value of another type.

    Args:
      value: what was given.
      kind: a class, union, mapping, sequence or tuple; a list will do for either of the last two.
      name: what it was given as.

    Raises:
      ConfigError: naming it.

    >>> check_type("high", float, "threshold")
    Traceback (most recent call last):
        ...
    schemas.errors.ConfigError: expected threshold to be a number, found 'high'
    """
    if not _fits(value, kind):
        raise ConfigError(f"expected {name} to be {_describe(kind)}, found {reprlib.repr(value)}")


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(all(map(_fits, pair, inner)) for pair in value.items())
    if origin in (Sequence, tuple):
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            return False
        kinds = inner if _is_fixed(kind) else inner[:1] * len(value)
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    return isinstance(value, kind)


def _describe(kind: Any) -> str:
    """A type as a message names it.

    >>> _describe(tuple[tuple[str, float], ...]), _describe(Sequence[int] | None)
    ('a list of (text, a number)', 'a list of a whole number or none')
    """
    origin, inner = typing.get_origin(kind), [_describe(each) for each in typing.get_args(kind) if each is not ...]
    if origin in (typing.Union, types.UnionType):
        return " or ".join(inner)
    if origin is Mapping:
        return f"a mapping of {inner[0]} to {inner[1]}"
    if origin in (Sequence, tuple):
        return f"({', '.join(inner)})" if _is_fixed(kind) else f"a list of {inner[0]}"
    return _NAMES.get(kind, getattr(kind, "__name__", str(kind)))


def _is_fixed(kind: Any) -> bool:
    """Whether a tuple has a type for each of its values, unlike a list."""
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[-1] is not ...
