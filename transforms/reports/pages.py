"""The templates of HTML pages.

    page.html.j2        head, style and frame of every page
    parts.html.j2       what pages share: labels, bars, marked entities, tables of settings
    <story>.html.j2     a page

A page stands alone: no script, no external resource, and a policy that forbids both. Everything is escaped.
"""

import functools
import importlib.resources
import unicodedata
from collections.abc import Mapping
from typing import Any

import jinja2

from transforms.reports import charts
from transforms.reports.figures import (
    format_duration,
    format_interval,
    format_rate,
    format_score,
    format_share,
    format_size,
)

_OVERRIDES = ("\u202d", "\u202e")


def render_page(name: str, view: Mapping[str, Any]) -> str:
    """The name of a template and its values in, a page out."""
    return _environment().get_template(name).render(view, colors=charts.COLORS)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": format_share,
        "rate": format_rate,
        "duration": format_duration,
        "size": format_size,
        "score": format_score,
        "interval": format_interval,
        "count": "{:,}".format,
        "line": charts.printable,
        "short": charts.shorten,
        "prose": _keep_lines,
        "setting": _write_setting,
    }
    return environment


def _read_template(name: str) -> str:
    return importlib.resources.files("transforms.reports").joinpath(name).read_text(encoding="utf-8")


def _write_setting(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{key}={item}" for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    return "none" if value in (None, "") else str(value)


def _keep_lines(text: str) -> str:
    """A document's text without what HTML does not allow, and without characters that turn other text around."""
    return "".join(
        "\ufffd"
        if char in _OVERRIDES or (unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t\r")
        else char
        for char in text
    )
