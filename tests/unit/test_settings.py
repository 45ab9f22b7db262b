"""Settings are read once, and every problem is told at once."""

import pytest

from shared.errors import ConfigurationError
from shared.settings import read_settings

GOOD = {
    "DATABASE_URL": "postgresql://localhost/x",
    "REDIS_URL": "redis://localhost",
    "TABLES_CONNECTION_STRING": "UseDevelopmentStorage=true",
    "WEBPUBSUB_CONNECTION_STRING": "Endpoint=http://localhost;AccessKey=k;",
    "API_KEY_PEPPER": "p" * 32,
}


def test_defaults_fill_what_is_optional() -> None:
    settings = read_settings(GOOD)
    assert (settings.database_role, settings.market_clock, settings.database_pool_size) == (
        "signal_functions",
        "wall",
        8,
    )


def test_every_problem_is_reported_together_and_no_value_is_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(
            {
                "API_KEY_PEPPER": "sekrit",
                "DATABASE_POOL_SIZE": "many",
                "MARKET_CLOCK": "sun",
                "REDIS_URL": " ",
            }
        )
    text = caught.value.detail
    for name in ("DATABASE_URL", "REDIS_URL", "API_KEY_PEPPER", "DATABASE_POOL_SIZE", "MARKET_CLOCK"):
        assert name in text
    assert "sekrit" not in text


def test_bars_may_set_the_clock_on_one_machine_only() -> None:
    assert read_settings({**GOOD, "MARKET_CLOCK": "bars"}).market_clock == "bars"
    with pytest.raises(ConfigurationError, match="MARKET_CLOCK=bars"):
        read_settings({**GOOD, "MARKET_CLOCK": "bars", "WEBSITE_INSTANCE_ID": "7"})


def test_a_previous_pepper_is_another_one_of_the_same_strength() -> None:
    assert read_settings(GOOD | {"API_KEY_PEPPER_PREVIOUS": "q" * 32}).api_key_pepper_previous == "q" * 32
    for value, told in (("short", "at least 32 bytes, or empty"), ("p" * 32, "is the pepper itself")):
        with pytest.raises(ConfigurationError, match=told):
            read_settings(GOOD | {"API_KEY_PEPPER_PREVIOUS": value})
