"""`spanmill annotate` as a Dataflow Flex Template: its parameters for people who launch it, and those back to flags.

    make template        writes deploy/dataflow/metadata.json

Parameters have the names of the options with underscores. One that takes many values has them as words of a shell.
"""

import dataclasses
import json
import shlex
import sys
import typing
from collections.abc import Sequence
from typing import Any

from pipelines.annotate import DESCRIPTION, run
from pipelines.console.options import check_beam_flags, parse_options
from pipelines.runs.options import AnnotateOptions
from pipelines.workers.runners import HINTS
from schemas.errors import ConfigError, PipelineError

LOCAL_OPTIONS = ("workers", "max_restarts", "tune")
"""Options about processes on the driver's machine, of which a cluster has none."""

_PREFIX = "spanmill_"
_TAKEN = ("labels",)
"""Options whose names are those of Beam's flags, so that their parameters begin with `spanmill_`."""

_REGEXES = {
    bool: "^(true|false)$",
    int: "^[0-9]+$",
    float: r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$",
    str: r"^\S(.*\S)?$",
}


def describe_template() -> dict[str, Any]:
    """The metadata of the template, with a parameter and its regex for each option that a cluster knows."""
    hints = typing.get_type_hints(AnnotateOptions)
    return {
        "name": "spanmill annotate",
        "description": DESCRIPTION,
        "parameters": [_describe(field, hints[field.name]) for field in _template_fields()],
    }


def read_arguments(arguments: Sequence[str]) -> tuple[AnnotateOptions, list[str]]:
    """What the launcher gives, `--NAME=VALUE`, to options of the job and flags of Beam.

    Raises:
      ConfigError: a value is not what its option takes, or a flag is not known.
    """
    known = {_parameter(field.name): field.name for field in _template_fields()}
    own: list[str] = []
    beam_flags: list[str] = []
    for argument in arguments:
        parameter, mark, value = argument.removeprefix("--").partition("=")
        if mark and parameter in known:
            own += _to_flag(parameter, known[parameter], value)
        else:
            beam_flags.append(argument)
    options, _ = parse_options(AnnotateOptions, own, prog="spanmill annotate", description=DESCRIPTION)
    check_beam_flags(beam_flags, AnnotateOptions, has_beam=True)
    return options, beam_flags


def _to_flag(parameter: str, name: str, value: str) -> list[str]:
    """A parameter of the template to words of the command line."""
    hint = typing.get_type_hints(AnnotateOptions)[name]
    flag = name.replace("_", "-")
    if hint is bool:
        if value not in ("true", "false"):
            raise ConfigError(f"expected {parameter} to be true or false, found {value!r}")
        return [f"--{flag}" if value == "true" else f"--no-{flag}"]
    if typing.get_origin(hint) is not tuple:
        return [f"--{flag}={value}"]
    try:
        return [f"--{flag}", *shlex.split(value)]
    except ValueError as error:
        raise ConfigError(f"expected {parameter} with words as in a shell, found {error}") from error


def _describe(field: Any, hint: Any) -> dict[str, Any]:
    is_many = typing.get_origin(hint) is tuple
    choices = field.metadata["choices"]
    text = f"{field.metadata['help']}{'; words as in a shell' if is_many else ''}."
    has_default = field.default is not dataclasses.MISSING
    regex = f"^({'|'.join(choices)})$" if choices else _REGEXES[str if is_many else hint]
    described: dict[str, Any] = {
        "name": _parameter(field.name),
        "label": field.name.replace("_", " ").capitalize(),
        "helpText": text[0].upper() + text[1:],
        "isOptional": has_default,
        "regexes": [f"^{HINTS[field.name]}$" if field.name in HINTS else regex],
    }
    if has_default and field.default not in ("", ()):
        default = field.default
        described["defaultValue"] = str(default).lower() if isinstance(default, bool) else str(default)
    return described


def _template_fields() -> list[Any]:
    return [field for field in dataclasses.fields(AnnotateOptions) if field.name not in LOCAL_OPTIONS]


def _parameter(name: str) -> str:
    return _PREFIX + name if name in _TAKEN else name


def main(arguments: Sequence[str]) -> int:
    """Prints the metadata without arguments, and else launches the job."""
    if not arguments:
        print(json.dumps(describe_template(), indent=2))
        return 0
    try:
        options, beam_flags = read_arguments(arguments)
        return run(options, beam_flags)
    except PipelineError as error:
        print(f"spanmill: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
