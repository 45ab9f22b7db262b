"""Strategies as their files declare them."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from shared.domain.confidence.strategy import (
    Feature,
    Prior,
    Strategy,
    StrategyCatalog,
    is_strategy_name,
    parse_strategy,
)
from shared.errors import ConfigurationError, SignalCloudError
from tests.support.strategies import DEFAULT, STRATEGIES

MINIMAL_TOML = """
name = "s"
version = 1
title = "S"
symbols = ["ES"]
default = true
[prior]
mean = 0.5
strength = 10
[features.x]
type = "number"
range = [0, 1]
quantum = 0.1
description = "x"
"""


def test_the_default_strategy_comes_first_and_both_of_the_notes_ship() -> None:
    assert next(iter(STRATEGIES)) == DEFAULT.name == "vwap_bounce"
    for name in ("vwap_bounce", "capitulation_reversal"):
        assert set(STRATEGIES[name].symbols) == {"ES", "NQ", "CL", "YM", "RTY"}


@pytest.mark.parametrize("name", ["m", "manual", "my_2nd", "m" * 64])
def test_a_strategy_of_a_publisher_may_have_this_name(name: str) -> None:
    assert is_strategy_name(name)


@pytest.mark.parametrize("name", ["", "Manual", "2nd", "_m", "a b", "manual\n", "a\0", "m" * 65, "m\u00e9"])
def test_nothing_else_is_looked_up_as_a_strategy(name: str) -> None:
    assert not is_strategy_name(name)


def test_the_entry_table_is_handed_on_untouched() -> None:
    strategy: Strategy = parse_strategy(MINIMAL_TOML + "[entry]\nband = 2.5\n")
    assert strategy.entry == {"band": 2.5}


@pytest.mark.parametrize(
    ("found", "replaced", "said"),
    [
        ("quantum = 0.1", "quantum = 0.3", "multiples of the quantum"),
        ("quantum = 0.1", "quantum = 0", "positive quantum"),
        ("range = [0, 1]", "", "needs a range"),
        ("range = [0, 1]", "range = [1, 0]", "needs a range"),
        ('type = "number"', 'type = "boolean"', "has no range"),
        ('type = "number"', 'type = "complex"', "Invalid enum value"),
        ('type = "number"', 'type = "number"\ncategories = ["a"]', "categories"),
        ("quantum = 0.1", "quantums = 0.1", "unknown field"),
        ("mean = 0.5", "mean = 1", "mean between 0 and 1"),
        ("version = 1", "version = ", "Invalid value"),
        ("[features.x]", "[feature.x]", "unknown field"),
        ("[features.x]", '[features."g ap"]', "a feature's name has lower-case letters"),
        ("[features.x]", "[features.Gap]", "a feature's name has lower-case letters"),
        ("[features.x]", "[features.class]", "a feature's name has lower-case letters"),
        ("[features.x]", "[features.symbol]", "a request has a field of this name already"),
        ("[features.x]", "[features.strategy]", "a request has a field of this name already"),
        ("[features.x]", "[features.signal_type]", "a request has a field of this name already"),
        ('name = "s"', 'name = "s:1"', "a strategy's name has lower-case letters"),
        ('symbols = ["ES"]', "symbols = []", "at least one symbol"),
        ('symbols = ["ES"]', 'symbols = ["ES", "ES"]', "each only once"),
    ],
)
def test_a_wrong_strategy_file_is_a_configuration_error_that_says_why(
    found: str, replaced: str, said: str
) -> None:
    parse_strategy(MINIMAL_TOML)
    with pytest.raises(ConfigurationError) as caught:
        parse_strategy(MINIMAL_TOML.replace(found, replaced))
    assert said in caught.value.detail
    assert isinstance(caught.value, SignalCloudError)


def feature(**declared: Any) -> Feature:
    whole: dict[str, Any] = {"name": "x", "type": "number", "description": "X."}
    whole |= {"range": (0.0, 1.0), "quantum": 0.1}
    return Feature(**{name: value for name, value in (whole | declared).items() if value is not None})


def test_what_a_file_says_is_what_the_strategy_is() -> None:
    strategy = parse_strategy(MINIMAL_TOML)
    assert (strategy.name, strategy.version, strategy.title, strategy.symbols) == ("s", 1, "S", ("ES",))
    assert (strategy.default, strategy.prior, strategy.entry) == (True, Prior(0.5, 10), {})
    (x,) = strategy.features
    assert (x.name, x.type, x.range, x.quantum, x.unit) == ("x", "number", (0.0, 1.0), 0.1, "")
    assert (x.optional, x.modelled, x.categories) == (False, True, ())
    assert strategy.untrained_version == "s-untrained"


def test_a_feature_that_is_not_modelled_is_not_in_the_model() -> None:
    text = MINIMAL_TOML + '[features.y]\ntype = "boolean"\ndescription = "y"\nmodelled = false\n'
    strategy = parse_strategy(text)
    assert [each.name for each in strategy.features] == ["x", "y"]
    assert [each.name for each in strategy.modelled] == ["x"]


@pytest.mark.parametrize(
    "declared",
    [
        {"range": None},
        {"range": (1.0, 1.0)},
        {"range": (0.0, 0.95)},
        {"range": (0.05, 1.0)},
        {"quantum": 0.0},
        {"quantum": -0.1},
        {"type": "integer", "range": (0.0, 1.0), "quantum": 0.5},
        {"type": "integer", "range": None},
        {"type": "boolean"},
        {"type": "category", "categories": ("a",)},
        {"type": "category", "range": None},
        {"type": "category", "range": None, "categories": ("a", "a")},
        {"categories": ("a",)},
        {"type": "boolean", "range": None, "categories": ("a",)},
    ],
)
def test_a_feature_that_makes_no_sense_cannot_be_declared(declared: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^x: "):
        feature(**declared)


@pytest.mark.parametrize(
    ("declared", "accepted"),
    [
        ({}, "a number between 0 and 1"),
        ({"range": (-2.5, 1.0)}, "a number between -2.5 and 1"),
        ({"type": "integer", "range": (0.0, 23.0), "quantum": 1}, "an integer between 0 and 23"),
        ({"type": "boolean", "range": None}, "true or false"),
        ({"type": "category", "range": None, "categories": ("a", "b")}, "one of a, b"),
    ],
)
def test_a_feature_says_what_it_accepts(declared: dict[str, Any], accepted: str) -> None:
    assert feature(**declared).accepted() == accepted


def test_a_quantum_is_exact() -> None:
    assert feature().exact_quantum == Fraction(1, 10)
    assert feature(quantum=0.25).exact_quantum == Fraction(1, 4)
    assert feature(quantum=1).exact_quantum == 1


@pytest.mark.parametrize(("mean", "strength"), [(0.0, 1.0), (1.0, 1.0), (0.5, 0.0), (0.5, -1.0)])
def test_a_prior_that_makes_no_sense_cannot_be_declared(mean: float, strength: float) -> None:
    with pytest.raises(ValueError, match="a mean between 0 and 1 and a positive strength"):
        Prior(mean, strength)


def test_a_base_rate_is_a_posterior_mean() -> None:
    assert Prior(0.4, 10).base_rate(0, 0) == pytest.approx(0.4)
    assert Prior(0.4, 10).base_rate(6, 10) == pytest.approx(0.5)


def test_a_catalog_begins_with_its_default_and_holds_every_symbol_once() -> None:
    other = msgspec.structs.replace(DEFAULT, name="other", default=False, symbols=("ZN", "ES"))
    catalog = StrategyCatalog([other, DEFAULT])
    assert list(catalog) == ["vwap_bounce", "other"]
    assert len(catalog) == 2
    assert catalog.default is catalog["vwap_bounce"] is DEFAULT
    assert catalog.symbols == ("ES", "NQ", "CL", "YM", "RTY", "ZN")
    assert len({catalog, catalog, StrategyCatalog([other, DEFAULT])}) == 2, "each is itself and no other"
    with pytest.raises(KeyError):
        catalog["momentum"]


def test_a_catalog_has_one_default_and_no_name_twice() -> None:
    other = msgspec.structs.replace(DEFAULT, default=False)
    second = msgspec.structs.replace(DEFAULT, name="other")
    for strategies, found in (([], "none"), ([other], "none"), ([DEFAULT, second], "vwap_bounce, other")):
        with pytest.raises(ConfigurationError, match=f"`default = true`; these have it: {found}"):
            StrategyCatalog(strategies)
    with pytest.raises(ConfigurationError, match="Two strategies have the same name"):
        StrategyCatalog([DEFAULT, other])
