import dataclasses

import pytest

from pipelines.console.options import option, parse_options
from schemas.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyOptions:
    """What a job that copies would take."""

    source: str = option("where from", metavar="SOURCE", is_positional=True)
    target: str = option("where to", metavar="TARGET", is_positional=True)
    names: tuple[str, ...] = option("what", (), metavar="NAME")
    limit: int = option("how many", 20)
    deep: bool = option("folders too", default=False)


def parse(*arguments):
    return parse_options(CopyOptions, arguments, prog="spanmill copy", description="Copy.", has_beam=False)[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "b", "--limit", "3"],
        ["--limit", "3", "a", "b"],
        ["a", "--limit=3", "b"],
        ["--limit=3", "--", "a", "b"],
    ],
)
def test_positional_options_are_told_by_their_place_whatever_stands_between(arguments):
    assert parse(*arguments) == CopyOptions(source="a", target="b", limit=3)


def test_positional_options_stand_before_a_flag_of_many_values():
    assert parse("a", "b", "--names", "x", "y") == CopyOptions(source="a", target="b", names=("x", "y"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected SOURCE and TARGET, found none; see spanmill copy --help"),
        (["a"], "expected TARGET, found none"),
        (["", "b"], "expected a value for SOURCE, found none"),
        (["a", "b", "c"], "expected a flag, found 'c'"),
        (["a", "b", "--source", "c"], "unknown flag '--source'"),
        (["a", "b", "--deep", "false"], "expected no value after --deep, found 'false'; --deep alone says yes, --no-"),
    ],
)
def test_positional_options_that_are_wrong_are_named_as_in_the_help(arguments, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        parse(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits = 3", "unknown key 'limits' in .*; did you mean 'limit'"),
        ("[copy]\nlimit = 3", r"unknown key 'copy'"),
        ("[limit]\nmost = 3", r"expected options at the top of .*, found a table \[limit\]"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_one_line(tmp_path, text, message):
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        parse("a", "b", "--config", str(tmp_path / "job.toml"))


def test_a_switch_may_stand_before_a_flag_of_somebody_else():
    with pytest.raises(ConfigError, match="unknown flag '--runner'"):
        parse("a", "b", "--deep", "--runner=x")


def test_a_file_gives_positional_options_that_the_command_line_overrides(tmp_path):
    (tmp_path / "job.toml").write_text('source = "a"\ntarget = "b"\n')
    config = ["--config", str(tmp_path / "job.toml")]
    assert parse(*config) == CopyOptions(source="a", target="b")
    assert parse(*config, "c") == CopyOptions(source="c", target="b")


def test_help_shows_positional_options_first(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "usage: spanmill copy SOURCE TARGET [options]"
    assert "  SOURCE                where from" in lines
