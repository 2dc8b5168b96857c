"""How taggers, methods, objectives and augmentations are asked for: `name` or `name:option=value,option=value`.

Each is a frozen dataclass in a registry; its fields are the options, their types say how a value is read, and the
defaults hold for what is not said. So a new method or objective needs no new flag.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.errors import ConfigError, suggest


def parse_spec(text: str, configs: Mapping[str, type[Any]], *, flag: str) -> tuple[str, Any]:
    """A spec to the name in it and the config that it stands for.

    Args:
      text: the spec, as in `lora:rank=16,targets=query+value`; a list has a plus sign between its values.
      configs: frozen dataclasses by name.
      flag: the flag it was given to, for errors.

    Raises:
      ConfigError: the name or an option is unknown, or a value is none of its type.

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Typos:
    ...     share: float = 0.5
    >>> parse_spec("typos:share=0.25", {"typos": Typos}, flag="--augment")
    ('typos', Typos(share=0.25))
    """
    name, _, rest = text.partition(":")
    if name not in configs:
        raise ConfigError(f"expected {flag} to name one of {sorted(configs)}, found {name!r}{suggest(name, configs)}")
    hints = typing.get_type_hints(configs[name])
    values: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        option = key.strip().replace("-", "_")
        if option not in hints:
            known = f"options {sorted(hints)}" if hints else "no options"
            raise ConfigError(f"expected {known} of {flag} {name}, found {key!r}{suggest(option, hints)}")
        if not equals:
            raise ConfigError(f"expected {option}=VALUE in {flag} {name}, found {part!r}")
        if option in values:
            raise ConfigError(f"expected option {option} of {flag} {name} once, found it twice")
        values[option] = _read(value.strip(), hints[option], f"option {option} of {flag} {name}")
    return name, configs[name](**values)


def parse_specs(texts: Sequence[str], configs: Mapping[str, type[Any]], *, flag: str) -> dict[str, Any]:
    """Several specs to their configs by name, in the order given.

    Raises:
      ConfigError: a spec is wrong, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, config = parse_spec(text, configs, flag=flag)
        if name in found:
            raise ConfigError(f"expected {flag} {name} once, found it twice")
        found[name] = config
    return found


def render_spec(name: str, config: Any) -> str:
    """The shortest spec that stands for a config: what differs from the defaults is said."""
    said = [
        f"{field.name}={_write(getattr(config, field.name))}"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    ]
    return name + (":" + ",".join(said) if said else "")


def _read(text: str, hint: Any, what: str) -> Any:
    if typing.get_origin(hint) is tuple:
        return tuple(_read(part, typing.get_args(hint)[0], what) for part in text.split("+") if part)
    readers: dict[Any, tuple[Callable[[str], Any], str]] = {
        bool: ({"true": True, "false": False}.__getitem__, "true or false"),
        int: (int, "a whole number"),
        float: (float, "a number"),
        str: (str, "text"),
    }
    reader, expected = readers[hint]
    try:
        return reader(text)
    except (KeyError, ValueError):
        raise ConfigError(f"expected {expected} for {what}, found {text!r}") from None


def _write(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_write, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
