"""Options of a job: a frozen dataclass becomes flags, a TOML file gives defaults, Beam's own flags ride along.

Nothing here imports Beam before a job runs, so that `--help` answers at once.
"""

import argparse
import contextlib
import dataclasses
import io
import itertools
import logging
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pipelines.workers.runners import check_runner
from schemas.errors import ConfigError, suggest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_NEAR = 0.5

LOCAL_WORKER_FLAGS = ("--direct_num_workers", "--direct_running_mode")
"""Beam's flags for the workers of a local runner, for which our own workers stand."""


def option(
    text: str,
    default: Any = dataclasses.MISSING,
    *,
    choices: Sequence[str] = (),
    metavar: str | None = None,
    is_positional: bool = False,
) -> Any:
    """A dataclass field with the help text, choices and placeholder of its flag; required without a default.

    One that is positional is given by its place on the command line; it has a metavar, no default and no choices. The
    last of them may take many values.
    """
    metadata = {"help": text, "choices": tuple(choices), "metavar": metavar, "is_positional": is_positional}
    return dataclasses.field(default=default, metadata=metadata)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def build_parser(options: type, *, prog: str, description: str, has_beam: bool = True) -> argparse.ArgumentParser:
    """A parser with one argument per field of a dataclass."""
    parser = _Parser(prog=prog, description=description, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE.toml", help="defaults for these options; flags override them")
    add_options(parser, options)
    hints = typing.get_type_hints(options)
    if positionals := [
        _spell(field) + ("..." if typing.get_origin(hints[field.name]) is tuple else "")
        for field in dataclasses.fields(options)
        if field.metadata["is_positional"]
    ]:
        # They come first, for a flag with many values would take them along.
        parser.usage = " ".join([prog, *positionals, "[options]"])
    if has_beam:
        parser.epilog = "Beam's own flags are accepted too, such as --runner or --project."
    return parser


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Adds an argument per field, without defaults, so that what was given can be told from what was not."""
    hints = typing.get_type_hints(options)
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        arguments: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(field)}
        if field.metadata["is_positional"]:
            is_many = typing.get_origin(hint) is tuple
            arguments["type"] = typing.get_args(hint)[0] if is_many else hint
            arguments["nargs"] = "*" if is_many else None
            action = parser.add_argument(field.name, metavar=field.metadata["metavar"], **arguments)
            # A file may give it; whoever merges the two finds out what is missing.
            action.required = False
            continue
        arguments["dest"] = field.name
        if hint is bool:
            arguments["action"] = argparse.BooleanOptionalAction
        else:
            is_many = typing.get_origin(hint) is tuple
            arguments["type"] = typing.get_args(hint)[0] if is_many else hint
            arguments["metavar"] = field.metadata["metavar"] or field.name.rpartition("_")[2].upper()
            if is_many:
                arguments["nargs"] = "+"
                arguments["action"] = "extend"
            if field.metadata["choices"]:
                arguments["choices"] = field.metadata["choices"]
                del arguments["metavar"]
        parser.add_argument(_spell(field), **arguments)


def parse_options(
    options: type[T], arguments: Sequence[str], *, prog: str, description: str, has_beam: bool = True
) -> tuple[T, list[str]]:
    """Flags to the options of a job and what is left for Beam, if the job has a use for that.

    Raises:
      ConfigError: a flag or key is unknown, missing or of the wrong type.
    """
    parser = build_parser(options, prog=prog, description=description, has_beam=has_beam)
    given, beam_flags = parser.parse_known_args(list(arguments))
    values = vars(given)
    config = values.pop("config", None)
    defaults, config_flags = read_config(Path(config), options) if config else ({}, [])
    if config_flags:
        check_beam_flags(config_flags, options, has_beam=has_beam, where=f" from [beam] in {config!r}")
    _check_switches(arguments, beam_flags, options)
    check_beam_flags(beam_flags, options, has_beam=has_beam)
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    merged = {**defaults, **values}
    missing = [
        _spell(field)
        for field in dataclasses.fields(options)  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and field.name not in merged
    ]
    if missing:
        raise ConfigError(f"expected {' and '.join(missing)}, found none; see {prog} --help")
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if field.default is dataclasses.MISSING and merged[field.name] in ("", ("",)):
            raise ConfigError(f"expected a value for {_spell(field)}, found none")
    return options(**merged), [*config_flags, *beam_flags]


def _check_switches(arguments: Sequence[str], left: Sequence[str], options: type) -> None:
    """Refuses a value after an option that takes none.

    Raises:
      ConfigError: naming the option.
    """
    hints = typing.get_type_hints(options)
    switches = {_spell(field) for field in dataclasses.fields(options) if hints[field.name] is bool}
    for flag, value in itertools.pairwise(arguments):
        if flag in switches and value in left[:1] and not value.startswith("-"):
            raise ConfigError(
                f"expected no value after {flag}, found {value!r}; {flag} alone says yes, --no-{flag[2:]} no"
            )


def read_config(path: Path, options: type) -> tuple[dict[str, Any], list[str]]:
    """A TOML file to option values and, from its `[beam]` table, to Beam flags.

    Raises:
      ConfigError: the file is no TOML, a key is unknown, or a value has the wrong type.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --config {str(path)!r}: {error}") from error
    beam = content.pop("beam", {})
    values = read_values(content, options, where=str(path), remedy="; Beam's own keys go into a [beam] table")
    return values, render_beam_flags(beam)


def render_beam_flags(table: Mapping[str, Any]) -> list[str]:
    """A `[beam]` table to flags.

    >>> render_beam_flags({"runner": "FlinkRunner", "streaming": False})
    ['--runner=FlinkRunner']
    """
    return [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in table.items() if value is not False
    ]


def read_values(content: Mapping[str, Any], options: type, *, where: str, remedy: str = "") -> dict[str, Any]:
    """Keys and values as TOML has them to option values.

    Raises:
      ConfigError: a key is unknown, or a value has the wrong type; names `where` they stand.
    """
    hints = typing.get_type_hints(options)
    choices = {field.name: field.metadata["choices"] for field in dataclasses.fields(options)}
    values = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in choices:
            keys = [choice.replace("_", "-") for choice in choices]
            raise ConfigError(f"unknown key {key!r} in {where!r}{suggest(key, keys, cutoff=_NEAR)}{remedy}")
        if isinstance(value, dict):
            raise ConfigError(
                f"expected options at the top of {where!r}, found a table [{key}]; take its first line out"
            )
        values[name] = _coerce(value, hints[name], f"key {key!r} in {where!r}")
        if choices[name] and values[name] not in choices[name]:
            raise ConfigError(f"expected key {key!r} in {where!r} to be one of {choices[name]}, found {value!r}")
    return values


def check_beam_flags(flags: Sequence[str], options: type, *, has_beam: bool, where: str = "") -> None:
    """Refuses flags that neither the job nor Beam knows, and values that Beam does not take.

    Args:
      flags: what is left for Beam.
      options: the options of the job.
      has_beam: whether the job has a use for flags of Beam.
      where: where the flags come from, for errors.

    Raises:
      ConfigError: naming the flag and the nearest known one.
    """
    names = [flag.partition("=")[0] for flag in flags if flag.startswith("-")]
    if not flags:
        return
    if not flags[0].startswith("-"):
        raise ConfigError(f"expected a flag, found {flags[0]!r}")
    own = [_spell(field) for field in dataclasses.fields(options)]
    known = beam_flag_names() if has_beam else set()
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown flag {name!r}{where}{suggest(name, [*own, *known], cutoff=_NEAR)}")
    check_runner(flags)
    build_beam_options(flags)


def beam_flag_names() -> set[str]:
    """Every flag that Beam's own PipelineOptions define."""
    quiet_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    parser = argparse.ArgumentParser(add_help=False, conflict_handler="resolve")
    classes = list(PipelineOptions.__subclasses__())
    for class_ in classes:
        if class_.__module__.startswith("apache_beam.") and "_add_argparse_args" in vars(class_):
            class_._add_argparse_args(parser)
    return {name for action in parser._actions for name in action.option_strings}


def build_beam_options(flags: Sequence[str]) -> Any:
    """Beam flags to PipelineOptions.

    Raises:
      ConfigError: a value is not what Beam wants.
    """
    quiet_beam()
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.runner import create_runner

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            options = PipelineOptions(list(flags))
            options.get_all_options()
            create_runner(options.view_as(StandardOptions).runner or "FnApiRunner")
    except SystemExit:
        # Beam's parser prints pages and exits; its last line says what is wrong.
        raise ConfigError(complaint.getvalue().strip().splitlines()[-1].partition("error: ")[2]) from None
    except (ValueError, ImportError) as error:
        raise ConfigError(" ".join(str(error).split())) from error
    return options


def quiet_beam() -> None:
    """Keeps Beam's log out of the terminal: it warns of packages it does without, and repeats errors as tracebacks."""
    logging.getLogger().setLevel(logging.CRITICAL + 1)


def parse_pairs(values: Sequence[str], *, flag: str) -> dict[str, str]:
    """`KEY=VALUE` arguments to a mapping.

    Raises:
      ConfigError: one has no equals sign.

    >>> parse_pairs(["ORG=0.7"], flag="--label-threshold")
    {'ORG': '0.7'}
    """
    pairs = {}
    for value in values:
        key, mark, right = value.partition("=")
        if not mark or not key or not right:
            raise ConfigError(f"expected {flag} KEY=VALUE, found {value!r}")
        pairs[key] = right
    return pairs


def _spell(field: Any) -> str:
    """An option as a person writes it."""
    return str(field.metadata["metavar"]) if field.metadata["is_positional"] else "--" + field.name.replace("_", "-")


def _help(field: Any) -> str:
    text = str(field.metadata["help"])
    if field.default in (dataclasses.MISSING, "", (), False):
        return text
    shown = " ".join(field.default) if isinstance(field.default, tuple) else field.default
    return f"{text} (default: {shown})".replace("%", "%%")


def _coerce(value: Any, hint: Any, where: str) -> Any:
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        items = value if isinstance(value, list) else [value]
        return tuple(_coerce(item, inner, where) for item in items)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = hint if isinstance(hint, type) and not isinstance(hint, types.GenericAlias) else object
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise ConfigError(f"expected {where} to be {expected.__name__}, found {value!r}")
    return value
