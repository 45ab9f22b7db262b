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


def test_telemetry_is_off_until_it_has_somewhere_to_go() -> None:
    assert not read_settings(GOOD).telemetry.is_on
    assert read_settings({**GOOD, "TELEMETRY_FILE": "-"}).telemetry.is_on


def test_telemetry_goes_to_azure_as_the_identity_named() -> None:
    client_id = "01234567-89ab-cdef-0123-456789abcdef"
    telemetry = read_settings(
        {
            **GOOD,
            "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=k;IngestionEndpoint=https://x/",
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"Authorization=AAD;ClientId={client_id}",
            "TELEMETRY_SAMPLE_RATIO": "0.1",
        }
    ).telemetry
    assert (telemetry.client_id, telemetry.sample_ratio, telemetry.is_on) == (client_id, 0.1, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TELEMETRY_SAMPLE_RATIO", "1.5"),
        ("TELEMETRY_SAMPLE_RATIO", "."),
        ("TELEMETRY_SAMPLE_RATIO", "-0.1"),
        ("TELEMETRY_SAMPLE_RATIO", "nan"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "sekrit"),
        ("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "Authorization=AAD"),
    ],
)
def test_bad_telemetry_settings_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        read_settings({**GOOD, name: value})
    assert "sekrit" not in caught.value.detail


def test_a_previous_pepper_is_another_one_of_the_same_strength() -> None:
    assert read_settings(GOOD | {"API_KEY_PEPPER_PREVIOUS": "q" * 32}).api_key_pepper_previous == "q" * 32
    for value, told in (("short", "at least 32 bytes, or empty"), ("p" * 32, "is the pepper itself")):
        with pytest.raises(ConfigurationError, match=told):
            read_settings(GOOD | {"API_KEY_PEPPER_PREVIOUS": value})
