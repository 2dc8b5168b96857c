import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.costs import RESOURCES, Prices
from schemas.errors import ConfigError

SECONDS = st.fixed_dictionaries({what: st.floats(0, 1e9) for what in RESOURCES})
PRICES = st.builds(Prices, *[st.floats(0, 1e3)] * 3)


def test_a_bare_price_is_that_of_a_worker():
    assert Prices.parse(["0.5"]) == Prices.parse(["worker=0.5"]) == Prices(worker=0.5)


def test_a_table_prices_what_it_names_and_nothing_else():
    prices = Prices.parse(["core=0.05", "gpu=2"])
    assert prices.cost({"worker": 7200.0, "core": 7200.0, "gpu": 1800.0}) == pytest.approx(1.1)
    assert prices.to_json() == {"core": 0.05, "gpu": 2.0}


def test_no_price_is_no_cost_of_nothing():
    assert Prices.parse([]) is None


@pytest.mark.parametrize("value", ["cheap", "disk=1", "-1", "nan", "inf", "core=", "=1"])
def test_what_is_no_price_is_refused_with_its_words(value):
    with pytest.raises(ConfigError, match="expected --price-per-hour") as caught:
        Prices.parse([value])
    assert repr(value) in str(caught.value)


def test_two_prices_of_one_thing_are_refused():
    with pytest.raises(ConfigError, match="expected one --price-per-hour of a worker, found 1 and 2"):
        Prices.parse(["1", "worker=2"])


@settings(deadline=None)
@given(PRICES, SECONDS, SECONDS)
def test_costs_of_parts_add_up_to_that_of_the_whole(prices, one, other):
    whole = {what: one[what] + other[what] for what in RESOURCES}
    assert prices.cost(whole) == pytest.approx(prices.cost(one) + prices.cost(other))
