"""Templates of prompts: TOML files that a person can write without knowing the code.

    name = "json"
    format = "json"         how answers are written; see formats/formats.py
    system = "..."          instructions; the same for every document. May be empty.
    user = "..."            what is asked about one text

Both are jinja2 (sandboxed; an unknown variable is an error). They may use `labels`, a list with `name` (as answers are
to write it) and `description` each; `user` also `text` and, where each label is asked for by itself, `label`. `| json`
makes a JSON string. Examples are shown as earlier turns: `user` with their text, then the right answer in the format.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import jinja2.sandbox

from schemas.errors import ConfigError, suggest
from transforms.prompts.formats.formats import FORMATS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SHIPPED = importlib.resources.files("transforms.prompts") / "templates"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """What a prompt says, but for the document.

    Attributes:
      name: its name.
      format: how answers are written, one of FORMATS.
      system: jinja2 of the instructions.
      user: jinja2 of what is asked about a text.
    """

    name: str
    format: str
    system: str
    user: str

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not isinstance(getattr(self, field.name), str):
                raise ConfigError(f"expected text for {field.name}, found {getattr(self, field.name)!r}")
        if self.format not in FORMATS:
            raise ConfigError(
                f"expected a format of {sorted(FORMATS)}, found {self.format!r}{suggest(self.format, FORMATS)}"
            )
        by_label = ("label",) if FORMATS[self.format].is_by_label else ()
        _check_variables("system", self.system, allowed=("labels",), wanted=())
        _check_variables("user", self.user, allowed=("labels", "text", *by_label), wanted=("text", *by_label))
        sample = [{"name": "PER", "description": "people"}, {"name": "ORG", "description": ""}]
        self.render_system(sample)
        self.render_user(sample, text="Anna", label=sample[0])

    def render_system(self, labels: Sequence[Mapping[str, str]]) -> str:
        """The instructions for some labels; may be empty.

        Args:
          labels: name and description of each.
        """
        return _render("system", self.system, labels=labels)

    def render_user(self, labels: Sequence[Mapping[str, str]], *, text: str, label: Mapping[str, str]) -> str:
        """What is asked about a text.

        Args:
          labels: name and description of each.
          text: the text, as the format shows it.
          label: the label that is asked for, where each is asked for by itself.
        """
        return _render("user", self.user, labels=labels, text=text, label=label)

    def describe(self) -> dict[str, str]:
        """Name, format, and SHA-256 of what it says, hex."""
        content = json.dumps([self.format, self.system, self.user]).encode()
        return {"name": self.name, "format": self.format, "digest": hashlib.sha256(content).hexdigest()}


def load_template(name_or_path: str) -> Template:
    """A template that comes with spanmill, by name, or one of the user's, by path.

    Raises:
      ConfigError: there is none, or it is not as it should be.
    """
    names = sorted(file.name.removesuffix(".toml") for file in _SHIPPED.iterdir() if file.name.endswith(".toml"))
    if name_or_path in names:
        return _read(name_or_path, (_SHIPPED / f"{name_or_path}.toml").read_bytes())
    path = Path(name_or_path)
    if not path.is_file():
        raise ConfigError(
            f"expected a template of {names} or a TOML file, found {name_or_path!r}{suggest(name_or_path, names)}"
        )
    return _read(name_or_path, path.read_bytes())


def _read(file: str, content: bytes) -> Template:
    try:
        value = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a template in TOML, found {file!r} which is none ({error}); mend it") from error
    keys = [field.name for field in dataclasses.fields(Template)]
    if unknown := sorted(value.keys() - set(keys)):
        raise ConfigError(
            f"expected the keys {keys} in template {file!r}, found {unknown[0]!r}{suggest(unknown[0], keys)}"
        )
    if missing := [key for key in keys if key not in value]:
        raise ConfigError(f"expected the keys {keys} in template {file!r}, found no {missing[0]!r}; add it")
    try:
        return Template(**value)
    except ConfigError as error:
        raise ConfigError(f"cannot use template {file!r}: {error}") from error


def _check_variables(key: str, source: str, *, allowed: Sequence[str], wanted: Sequence[str]) -> None:
    try:
        used = jinja2.meta.find_undeclared_variables(_environment().parse(source))
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"expected jinja2 for {key}, found {error.message} in line {error.lineno} of it") from error
    if unknown := sorted(used - set(allowed)):
        raise ConfigError(f"expected {key} to use {list(allowed)}, found {unknown[0]!r}{suggest(unknown[0], allowed)}")
    if missing := [name for name in wanted if name not in used]:
        raise ConfigError(f"expected {key} to use {list(wanted)}, found no {{{{ {missing[0]} }}}} in it; add it")


def _render(key: str, source: str, **values: Any) -> str:
    try:
        return _compile(source).render(values).strip()
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise ConfigError(f"expected {key} to be rendered, found an error: {error}; mend the template") from error


@functools.cache
def _compile(source: str) -> jinja2.Template:
    return _environment().from_string(source)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = functools.partial(json.dumps, ensure_ascii=False)
    return environment
