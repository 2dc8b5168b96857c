import dataclasses

import pytest

from schemas.errors import ConfigError
from schemas.specs import parse_spec, parse_specs, render_spec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lora:
    rank: int = 8
    scale: float = 2.0
    is_ranked: bool = False
    targets: tuple[str, ...] = ("query", "value")
    kind: str = "plain"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bare:
    pass


CONFIGS = {"lora": Lora, "bare": Bare}


def test_a_name_alone_stands_for_the_defaults():
    assert parse_spec("lora", CONFIGS, flag="--method") == ("lora", Lora())


def test_options_are_read_by_their_types():
    name, config = parse_spec(
        "lora:rank=4,scale=0.5,is-ranked=true,targets=key+dense,kind=odd", CONFIGS, flag="--method"
    )
    assert name == "lora"
    assert config == Lora(rank=4, scale=0.5, is_ranked=True, targets=("key", "dense"), kind="odd")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lorra", "expected --method to name one of ['bare', 'lora'], found 'lorra'; did you mean 'lora'?"),
        ("lora:rnak=4", "options ['is_ranked', 'kind', 'rank', 'scale', 'targets'] of --method lora, found 'rnak'"),
        ("bare:rank=4", "expected no options of --method bare, found 'rank'"),
        ("lora:rank=four", "expected a whole number for option rank of --method lora, found 'four'"),
        ("lora:is_ranked=yes", "expected true or false for option is_ranked of --method lora, found 'yes'"),
        ("lora:rank", "expected rank=VALUE in --method lora, found 'rank'"),
        ("lora:rank=1,rank=2", "expected option rank of --method lora once, found it twice"),
    ],
)
def test_what_is_wrong_with_a_spec_is_said(spec, message):
    with pytest.raises(ConfigError) as error:
        parse_spec(spec, CONFIGS, flag="--method")
    assert message in str(error.value)


def test_several_specs_keep_their_order_and_come_once_each():
    assert list(parse_specs(["bare", "lora:rank=2"], CONFIGS, flag="--augment")) == ["bare", "lora"]
    with pytest.raises(ConfigError, match="expected --augment bare once, found it twice"):
        parse_specs(["bare", "bare"], CONFIGS, flag="--augment")


@pytest.mark.parametrize("config", [Lora(), Lora(rank=1), Lora(is_ranked=True, targets=("a",), scale=0.1)])
def test_a_rendered_spec_stands_for_the_same_config(config):
    assert parse_spec(render_spec("lora", config), CONFIGS, flag="--method") == ("lora", config)
