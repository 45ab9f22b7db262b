"""Settings are read once, and every problem is told at once."""

import pytest

from shared.errors import ConfigurationError
from shared.payment_settings import PaymentSettings
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


BAD_VALUES = {
    "DATABASE_POOL_SIZE": ("0", "101", "-1", "8.0", "8_0", "+8", "\u0668", "many"),
    "MARKET_CLOCK": ("sun", "WALL", "wall,bars"),
    "LOG_LEVEL": ("LOUD", "info", "10"),
    "API_KEY_PEPPER": ("short", "p" * 31),
    "API_KEY_PEPPER_PREVIOUS": ("short", "q" * 31),
    "TELEMETRY_SAMPLE_RATIO": ("1.5", ".", "-0.1", "nan", "1e-3", "10%"),
    "APPLICATIONINSIGHTS_CONNECTION_STRING": ("sekrit",),
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": ("Authorization=AAD", "sekrit"),
    "AZURE_CLIENT_ID": ("sekrit", "11059fcc-5514-4800-b5f8-49808b9cfab"),
    "LICENSE_EXPORT_KEY": ("sekrit", "A" * 43, "A" * 44, "A" * 42 + "=="),
    "PUBLIC_URL": ("sekrit", "ftp://sekrit", "https://sekrit/api", "https://sekrit/", "https://me@sekrit"),
    "FRONT_DOOR_ID": ("sekrit", "11059fcc-5514-4800-b5f8-49808b9cfab"),
    "STRIPE_WEBHOOK_SECRET": ("sekrit", "sekrit,", "whsec_sekrit-one-long,sekrit", ",".join(["w" * 16] * 3)),
    "WHOP_WEBHOOK_SECRET": ("sekrit", "whsec_sekrit-sekrit", f"whsec_{'s' * 13}", ",".join(["w" * 16] * 3)),
    "PAYMENT_MODE": ("sekrit", "LIVE", "live,test"),
    "PAYMENT_PLANS": (
        "sekrit",
        "price_1=sekrit",
        "paypal:price_1=sekrit",
        "stripe:price_1=Sekrit",
        "stripe:price_1=sekrit,stripe:price_1=pro",
        "stripe:=sekrit",
        "stripe:price 1=sekrit",
        ",".join(f"stripe:price_{number}=sekrit" for number in range(201)),
    ),
    "NOTIFY_OPS": ("sekrit", "slack:/sekrit", "slack://a b", "@Microsoft.KeyVault(SecretUri=sekrit)"),
    "NOTIFY_MAIL": ("sekrit@example.com",),
    "DISCORD_GUILD_ID": ("sekrit", "12"),
    "DISCORD_ROLES": ("pro", "pro:1", "pro=123456789012345678", ":123456789012345678"),
    "VENDOR_ADDRESSES": (
        "sekrit",
        "[]",
        '{"discord": 1}',
        '{"sekrit": "http://127.0.0.1:1/a"}',
        '{"discord": "https://127.0.0.1:1/a"}',
        '{"discord": "http://sekrit.example/a"}',
        '{"discord": "http://127.0.0.1:1@sekrit.example/a"}',
        '{"discord": "http://127.0.0.1:1/../a"}',
    ),
    "CORS_ORIGINS": (
        "*",
        "null",
        "app.example.com",
        "https://app.example.com/",
        "https://app.example.com/sekrit",
        "https://App.example.com",
        "HTTPS://app.example.com",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://app.example.com:0443",
        "https://app.example.com:65536",
        "https://*.example.com",
        "https://user:sekrit@app.example.com",
        "https://app.example.com?a=1",
        "https://app.example.com\n.evil.com",
        "https://app..example.com",
        "https://-app.example.com",
        "ftp://app.example.com",
        "file://",
        "https://",
        "https://app.example.com;https://b.example.com",
        "https://app.example.com https://b.example.com",
        "https://b\u00fccher.example.com",
        "https://app.example.com,*",
        ",".join(f"https://a{number}.example.com" for number in range(51)),
    ),
}


GOOD_ORIGINS = "https://app.example.com, http://localhost:3000,https://app.example.com ,http://[::1]:8080"


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_VALUES.items() for value in values]
)
def test_a_bad_value_is_refused_by_its_setting_s_name_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"\\b{name} ") as caught:
        read_settings({**GOOD, name: value})
    assert "sekrit" not in caught.value.detail


def test_customers_reach_the_app_at_the_platforms_name_unless_a_setting_says_another() -> None:
    assert read_settings(GOOD).public_url == "http://localhost:7071"
    hosted = {**GOOD, "WEBSITE_HOSTNAME": "app.azurewebsites.net", "WEBSITE_SITE_NAME": "app"}
    assert read_settings(hosted).public_url == "https://app.azurewebsites.net"
    named = {**hosted, "PUBLIC_URL": "https://signals.example.com"}
    assert read_settings(named).public_url == "https://signals.example.com"
    with pytest.raises(ConfigurationError, match="PUBLIC_URL "):
        read_settings({**hosted, "PUBLIC_URL": "http://signals.example.com"})


def test_bars_may_set_the_clock_on_one_machine_only() -> None:
    assert read_settings({**GOOD, "MARKET_CLOCK": "bars"}).market_clock == "bars"
    with pytest.raises(ConfigurationError, match="MARKET_CLOCK=bars"):
        read_settings({**GOOD, "MARKET_CLOCK": "bars", "WEBSITE_INSTANCE_ID": "7"})


def test_origins_are_those_that_browsers_send() -> None:
    assert read_settings(GOOD).cors_origins == ()
    assert read_settings({**GOOD, "CORS_ORIGINS": " , "}).cors_origins == ()
    assert read_settings({**GOOD, "CORS_ORIGINS": GOOD_ORIGINS}).cors_origins == (
        "https://app.example.com",
        "http://localhost:3000",
        "http://[::1]:8080",
    )


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


def test_a_previous_pepper_is_another_one_of_the_same_strength() -> None:
    assert read_settings(GOOD | {"API_KEY_PEPPER_PREVIOUS": "q" * 32}).api_key_pepper_previous == "q" * 32
    for value, told in (("short", "at least 32 bytes, or empty"), ("p" * 32, "is the pepper itself")):
        with pytest.raises(ConfigurationError, match=told):
            read_settings(GOOD | {"API_KEY_PEPPER_PREVIOUS": value})


ENTRA = {
    "AZURE_CLIENT_ID": "11059fcc-5514-4800-b5f8-49808b9cfab6",
    "AZURE_TENANT_ID": "ab1f708d-50f6-404c-a006-d71b2ac7a606",
    "WEBPUBSUB_EVENTS_PRINCIPAL": "5d2a1c56-07a4-4b41-8c0e-3c8a1f0de111",
    "DATABASE_URL": "postgresql://signal-app@db.postgres.database.azure.com:6432/x?sslmode=verify-full",
    "REDIS_URL": "rediss://signal.westeurope.redis.azure.net:10000/0",
    "TABLES_ENDPOINT": "https://signal.table.core.windows.net",
    "WEBPUBSUB_ENDPOINT": "https://signal.webpubsub.azure.com",
    "API_KEY_PEPPER": "p" * 32,
}
REFERENCE = "@Microsoft.KeyVault(SecretUri=https://signal-kv.vault.azure.net/secrets/api-key-pepper)"


def test_a_client_id_asks_for_endpoints_and_no_keys() -> None:
    settings = read_settings(ENTRA)
    assert settings.tables_endpoint == ENTRA["TABLES_ENDPOINT"]
    assert settings.webpubsub_endpoint == ENTRA["WEBPUBSUB_ENDPOINT"]
    assert (settings.tables_connection_string, settings.webpubsub_connection_string) == ("", "")
    assert not settings.managed_identity
    assert read_settings({**ENTRA, "IDENTITY_ENDPOINT": "http://169.254.0.1/token"}).managed_identity
    assert read_settings(GOOD).azure_client_id == ""


def test_every_problem_under_entra_id_is_reported_together_and_no_value_is_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(
            {
                "AZURE_CLIENT_ID": "the-sekrit-one",
                "DATABASE_URL": "postgresql://signal-app:sekrit@db/x?sslmode=verify-full",
                "REDIS_URL": "redis://signal:10000/0",
                "TABLES_ENDPOINT": "http://signal.table.core.windows.net",
                "TABLES_CONNECTION_STRING": "AccountKey=sekrit",
                "API_KEY_PEPPER": "@Microsoft.KeyVault(sekrit)",
                "WEBPUBSUB_HUB": REFERENCE,
                "WEBSITE_INSTANCE_ID": "7",
            }
        )
    text = caught.value.detail
    for problem in (
        "AZURE_CLIENT_ID must be",
        "no identity is assigned",
        "DATABASE_URL must be",
        "REDIS_URL must be rediss://",
        "TABLES_ENDPOINT must be https://",
        "TABLES_CONNECTION_STRING is not used with Entra ID",
        "WEBPUBSUB_ENDPOINT is not set",
        "AZURE_TENANT_ID is not set",
        "WEBPUBSUB_EVENTS_PRINCIPAL is not set",
        "API_KEY_PEPPER is a Key Vault reference",
        "WEBPUBSUB_HUB is a Key Vault reference",
    ):
        assert problem in text
    assert "sekrit" not in text


@pytest.mark.parametrize(
    "changed",
    [
        {"DATABASE_URL": "postgresql://db/x?sslmode=verify-full"},
        {"DATABASE_URL": "postgresql://app@db/x"},
        {"DATABASE_URL": "postgresql://app@db/x?sslmode=require"},
        {"DATABASE_URL": "postgresql://app@[db/x?sslmode=verify-full"},
        {"REDIS_URL": "rediss://user:password@signal:10000/0"},
        {"REDIS_URL": "rediss://signal:port/0"},
        {"WEBPUBSUB_ENDPOINT": "signal.webpubsub.azure.com"},
        {"TABLES_ENDPOINT": "https://"},
    ],
)
def test_no_token_goes_where_its_receiver_is_not_proven(changed: dict[str, str]) -> None:
    (name,) = changed
    with pytest.raises(ConfigurationError, match=f"^{name} must be"):
        read_settings(ENTRA | changed)


@pytest.mark.parametrize("name", ["TABLES_ENDPOINT", "WEBPUBSUB_ENDPOINT"])
def test_an_endpoint_without_an_identity_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} is for Entra ID and needs AZURE_CLIENT_ID$"):
        read_settings({**GOOD, name: "https://signal.example"})


def test_exports_go_to_the_account_of_the_tables_or_under_entra_id_to_an_endpoint() -> None:
    key = {"LICENSE_EXPORT_KEY": "A" * 43 + "="}
    assert (read_settings(GOOD).license_export_key, read_settings(ENTRA).exports_address) == ("", "")
    assert read_settings(GOOD | key).exports_address == GOOD["TABLES_CONNECTION_STRING"]
    endpoint = "https://signal.blob.core.windows.net"
    assert read_settings(ENTRA | key | {"LICENSE_EXPORT_ENDPOINT": endpoint}).exports_address == endpoint
    for address in ({}, {"LICENSE_EXPORT_ENDPOINT": "http://signal.blob.core.windows.net"}):
        with pytest.raises(ConfigurationError, match=r"^LICENSE_EXPORT_ENDPOINT "):
            read_settings(ENTRA | key | address)


def test_a_reference_is_never_taken_for_the_pepper() -> None:
    for others in (ENTRA, GOOD):
        with pytest.raises(ConfigurationError, match="that the platform has not resolved"):
            read_settings({**others, "API_KEY_PEPPER": REFERENCE})


def test_payments_are_off_until_they_are_set_up() -> None:
    assert read_settings(GOOD).payments == PaymentSettings()
    given = {
        "STRIPE_WEBHOOK_SECRET": " whsec_0123456789, whsec_abcdefghij ",
        "WHOP_WEBHOOK_SECRET": "ws_0123456789abc",
        "PAYMENT_PLANS": "stripe:price_1=pro, whop:plan_2=starter,",
        "PAYMENT_MODE": "test",
    }
    assert read_settings(GOOD | given).payments == PaymentSettings(
        stripe_secrets=("whsec_0123456789", "whsec_abcdefghij"),
        whop_secrets=("ws_0123456789abc",),
        plans={"stripe:price_1": "pro", "whop:plan_2": "starter"},
        mode="test",
    )


def test_the_secrets_of_vendors_are_in_no_representation() -> None:
    given = {"STRIPE_WEBHOOK_SECRET": "whsec_0123456789", "WHOP_WEBHOOK_SECRET": "ws_0123456789abc"}
    assert "0123456789" not in repr(read_settings(GOOD | given).payments)


def test_addresses_of_channels_are_read_by_the_names_of_their_settings() -> None:
    given = {
        "NOTIFY_OPS": "slack://T/B/C",
        "NOTIFY_A_CHANNEL_OF_OUR_OWN": "discord://1/2",
        "DISCORD_ROLES": "pro:123456789012345678, starter:223456789012345678",
        "VENDOR_ADDRESSES": '{"discord": "http://127.0.0.1:7100/discord"}',
    }
    read = read_settings({**GOOD, **given}).notifications
    assert read.addresses == {name: value for name, value in given.items() if name.startswith("NOTIFY")}
    assert read.discord_roles == {"pro": "123456789012345678", "starter": "223456789012345678"}
    assert not read.has_roles, "there is no bot"
    assert read.vendor_addresses == {"discord": "http://127.0.0.1:7100/discord"}


def test_stand_ins_of_vendors_are_refused_on_a_platform() -> None:
    hosted = {**GOOD, "WEBSITE_SITE_NAME": "app", "PUBLIC_URL": "https://a.example"}
    with pytest.raises(ConfigurationError, match="VENDOR_ADDRESSES is for stand-ins"):
        read_settings({**hosted, "VENDOR_ADDRESSES": '{"discord": "http://127.0.0.1:7100/discord"}'})
