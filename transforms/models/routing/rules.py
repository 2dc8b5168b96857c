r"""Which tagger a text is for, by patterns that a person wrote: the first that is found in the text decides.

default = "news"

[rules]
tweets = '@\w+|#\w+'
code = '\w+\(\)'
"""

import dataclasses
import re
import sys
from collections.abc import Sequence
from typing import Any

from schemas.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclasses.dataclass(frozen=True)
class Rules:
    """Patterns in the order they are tried; see `RouterConfig`.

    Attributes:
      patterns: tagger and regular expression.
      default: the tagger of what no pattern is found in.
    """

    patterns: tuple[tuple[str, str], ...]
    default: str

    def __post_init__(self) -> None:
        for name, pattern in self.patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"expected a regular expression for {name!r}, found {pattern!r}: {error}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Taggers that may be chosen."""
        return tuple(dict.fromkeys([*(name for name, _ in self.patterns), self.default]))

    def describe(self) -> dict[str, Any]:
        """Everything about it that changes a choice, by name."""
        return {"router": "rule", "rules": [list(rule) for rule in self.patterns], "default": self.default}

    def load(self) -> "Rules":
        """There is nothing to load."""
        return self

    def route(self, texts: Sequence[str]) -> list[str]:
        """Texts to names of taggers.

        >>> Rules((("tweets", "@[a-z]+"),), "news").route(["hi @anna", "Rome, Monday"])
        ['tweets', 'news']
        """
        compiled = [(name, re.compile(pattern)) for name, pattern in self.patterns]
        return [next((name for name, one in compiled if one.search(text)), self.default) for text in texts]


def parse_rules(text: str, *, where: str) -> Rules:
    """TOML to rules, in the order in which they stand there.

    Args:
      text: the content of a file.
      where: the file, for errors.

    Raises:
      ConfigError: the text is no TOML, or holds something else than rules.
    """
    try:
        content = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"expected TOML in {where!r}, found something else: {error}") from error
    default, rules = content.pop("default", None), content.pop("rules", {})
    if content:
        raise ConfigError(f"expected the keys default and rules in {where!r}, found {sorted(content)}")
    if not isinstance(default, str):
        raise ConfigError(
            f'expected default = "NAME" in {where!r}, for texts that no rule is found in, found {default!r}'
        )
    if not isinstance(rules, dict):
        raise ConfigError(f"expected a table [rules] in {where!r}, found {rules!r}")
    for name, pattern in rules.items():
        if not isinstance(pattern, str):
            raise ConfigError(f"expected NAME = 'PATTERN' among the rules of {where!r}, found {name} = {pattern!r}")
    return Rules(tuple(rules.items()), default)
