"""The futures that the engine knows, and their prices on the tick."""

from decimal import Decimal

import pytest

from shared.domain.market.instruments import INSTRUMENTS


def test_each_future_has_its_tick_and_market() -> None:
    assert {name: (str(one.tick_size), one.market) for name, one in INSTRUMENTS.items()} == {
        "ES": ("0.25", "equity"),
        "NQ": ("0.25", "equity"),
        "YM": ("1", "equity"),
        "RTY": ("0.10", "equity"),
        "CL": ("0.01", "crude"),
    }
    assert all(name == one.symbol for name, one in INSTRUMENTS.items())


@pytest.mark.parametrize(
    ("symbol", "price", "on_tick"),
    [
        ("ES", "6543.30", "6543.25"),
        ("ES", "6543.375", "6543.50"),
        ("ES", "6543.125", "6543.00"),
        ("ES", "6543.12500001", "6543.25"),
        ("CL", "-37.634", "-37.63"),
        ("RTY", "2300.25", "2300.20"),
        ("YM", "46000.5", "46000"),
        ("YM", "46001.5", "46002"),
    ],
)
def test_a_price_goes_to_the_nearest_tick_and_a_half_to_the_even_one(
    symbol: str, price: str, on_tick: str
) -> None:
    assert INSTRUMENTS[symbol].to_tick(Decimal(price)) == Decimal(on_tick)
    assert INSTRUMENTS[symbol].to_tick(float(price)) == Decimal(on_tick)
