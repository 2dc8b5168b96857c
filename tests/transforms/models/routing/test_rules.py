"""Patterns that choose a tagger, and the file that they stand in."""

import re
import textwrap

import pytest

from schemas.errors import ConfigError
from tests.conftest import ROOT
from transforms.models.routing.rules import Rules, parse_rules

FILE = r"""
default = "news"

[rules]
tweets = '@\w+|#\w+'
code = '\w+\(\)'
"""


def test_the_first_rule_that_is_found_chooses():
    rules = parse_rules(FILE, where="routes.toml")
    assert rules == Rules((("tweets", r"@\w+|#\w+"), ("code", r"\w+\(\)")), "news")
    assert rules.load().route(["hi @anna main()", "main()", "Rome, Monday", ""]) == ["tweets", "code", "news", "news"]
    assert rules.names == ("tweets", "code", "news")


def test_the_example_of_the_docs_chooses():
    (block,) = re.findall(
        r"^    default = .*?(?=^\S)", (ROOT / "docs/continual.md").read_text(), re.DOTALL | re.MULTILINE
    )
    rules = parse_rules(textwrap.dedent(block), where="routes.toml")
    assert rules.route(["hi @anna", "nach § 5", "Rome, Monday"]) == ["tweets", "law", "base"]


def test_without_rules_all_texts_are_the_defaults():
    assert parse_rules('default = "a"', where="f").route(["x", "y"]) == ["a", "a"]


def test_what_changes_a_choice_is_told_in_the_order_that_counts():
    one, other = (Rules(rules, "c").describe() for rules in ((("a", "x"), ("b", "y")), (("b", "y"), ("a", "x"))))
    assert one != other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "expected TOML in 'f', found something else"),
        ("", "expected default = .* in 'f', for texts that no rule is found in, found None"),
        ('default = "a"\nrule = 1', r"expected the keys default and rules in 'f', found \['rule'\]"),
        ('default = "a"\nrules = 1', r"expected a table \[rules\] in 'f', found 1"),
        ('default = "a"\n[rules]\nb = 1', "expected NAME = 'PATTERN' among the rules of 'f', found b = 1"),
        ('default = "a"\n[rules]\nb = "("', r"expected a regular expression for 'b', found '\('"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_rules(text, where="f")
