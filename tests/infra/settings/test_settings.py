"""A stack's configuration: every key is described, and every problem is reported together with the others."""

import re

import pytest

from infra.settings.keys import read_settings
from infra.settings.model import Settings
from infra.settings.reader import ConfigurationError, StackConfig
from infra.settings.regions import REGIONS, postgres_lacks
from infra.settings.stacks import STACKS, stack_from_files
from tests.infra.readme import section
from tests.infra.recording import problems_of, settings_of


class Keys(dict[str, str]):
    """Values that record which keys are read."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]
        self.asked.add(key)
        return super().get(key, default)


def all_keys() -> set[str]:
    config = stack_from_files("prod")
    values = Keys(dict(config.values))
    read_settings(StackConfig("prod", values, config.secret_keys))
    return values.asked


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_can_be_read(stack: str) -> None:
    assert settings_of(stack).stack == stack


def test_settings_are_frozen_and_show_no_secret() -> None:
    settings = settings_of("prod")
    assert isinstance(settings, Settings)
    with pytest.raises(AttributeError):
        settings.location = "westeurope"  # type: ignore[misc]
    assert settings.api_key_pepper not in repr(settings)
    told = settings.notifications
    for secret in (*told.slack_urls, *told.pagerduty_keys, *told.webhook_urls):
        assert secret not in repr(settings)


def test_every_problem_is_told_at_once() -> None:
    text = problems_of(
        location="East US 2",
        plan="consumption",
        autoscale_minimum="zero",
        postgres_backup_days="36",
        redis_sku="Basic_C0",
        private_network="perhaps",
        name_suffix="Not-Valid",
        engine_schedule="every minute",
        favourite_colour="red",
        alert_emails="nobody",
        deployer_addresses="203.0.113.7",
    )
    for key in (
        "location",
        "plan",
        "autoscale_minimum",
        "postgres_backup_days",
        "redis_sku",
        "private_network",
        "name_suffix",
        "engine_schedule",
        "favourite_colour is not a setting",
        "alert_emails",
        "deployer_addresses",
    ):
        assert key in text
    assert len(text.splitlines()) == 12


def test_what_is_missing_is_named_with_the_command_that_sets_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(StackConfig("prod", {}))
    text = str(caught.value)
    assert "pulumi config set location <value>" in text
    assert "pulumi config set --secret api_key_pepper <value>" in text
    assert "Traceback" not in text


def test_a_secret_in_plain_text_is_refused_and_not_repeated() -> None:
    config = stack_from_files("prod")
    with pytest.raises(ConfigurationError) as caught:
        read_settings(StackConfig("prod", config.values))
    text = str(caught.value)
    assert "api_key_pepper must be encrypted: pulumi config set --secret api_key_pepper <value>" in text
    for key in ("alert_slack_urls", "alert_pagerduty_keys", "alert_webhook_urls"):
        assert f"{key} must be encrypted" in text
    assert config.values["api_key_pepper"] not in text


def test_the_previous_pepper_is_another_one_and_long_enough() -> None:
    assert settings_of("prod").api_key_pepper_previous == ""
    config = stack_from_files("prod")
    secret = config.secret_keys | {"api_key_pepper_previous"}
    for previous, expected in (
        (config.values["api_key_pepper"], "must differ from api_key_pepper"),
        ("p" * 31, "32 bytes"),
    ):
        values = {**config.values, "api_key_pepper_previous": previous}
        with pytest.raises(ConfigurationError, match=f"api_key_pepper_previous.*{expected}"):
            read_settings(StackConfig("prod", values, secret))
        with pytest.raises(ConfigurationError, match="api_key_pepper_previous must be encrypted"):
            read_settings(StackConfig("prod", values))


def test_a_short_pepper_is_refused_and_not_repeated() -> None:
    text = problems_of(api_key_pepper="short-sekrit")
    assert "api_key_pepper must be at least 32 bytes" in text
    assert "sekrit" not in text


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"autoscale_default": "11"},
            "autoscale_default must be from autoscale_minimum (2) to autoscale_maximum (10), got 11",
        ),
        (
            {"autoscale_minimum": "3"},
            "autoscale_default must be from autoscale_minimum (3) to autoscale_maximum (10), got 2",
        ),
        (
            {"autoscale_open_minimum": "11"},
            "autoscale_open_minimum must be from autoscale_minimum (2) to autoscale_maximum (10), got 11",
        ),
        ({"zone_redundant": "true", "autoscale_minimum": "1"}, "zone_redundant needs autoscale_minimum"),
        (
            {"location": "eastus2", "postgres_sku": "Standard_D2ds_v5"},
            "location eastus2 does not fit Postgres: Standard_D2ds_v5 does not exist "
            "there, only v3 and v4 do, "
            "and new servers get no standby in another zone",
        ),
        ({"location": "eastus"}, "location eastus does not fit Postgres: new servers get no standby"),
        (
            {"location": "westus3"},
            "location westus3 does not fit Postgres: Azure keeps no backups in another",
        ),
        (
            {"postgres_sku": "Standard_D2ds_v5"},
            "a backup is restored in eastus2, which does not have Standard_D2ds_v5",
        ),
        ({"postgres_sku": "Standard_E4ads_v5"}, "Standard_E4ads_v5 does not exist there"),
        ({"alert_emails": " , ,"}, "alert_emails must be mail addresses"),
        ({"alert_sms": "+1 3125550100, 3125550100"}, "alert_sms must be numbers such as +1 3125550100"),
        ({"alert_sms": ",".join(["+1 3125550100"] * 11)}, "alert_sms must have at most 10 values, got 11"),
        (
            {"alert_webhook_urls": "http://hooks.example.com/x"},
            "alert_webhook_urls must be https:// addresses",
        ),
        ({"alert_webhook_urls": "https://"}, "alert_webhook_urls must be https:// addresses"),
        (
            {"alert_slack_urls": "https://example.com/services/x"},
            "alert_slack_urls must be addresses of incoming",
        ),
        ({"alert_pagerduty_keys": "short"}, "alert_pagerduty_keys must be integration keys of Events API v2"),
        ({"alert_pagerduty_region": "asia"}, "alert_pagerduty_region must be one of us, eu"),
        (
            {"postgres_sku": "Standard_B2s"},
            "postgres_high_availability needs another postgres_sku: a Burstable server has no standby",
        ),
        ({"webpubsub_sku": "Standard_S1", "webpubsub_maximum_units": "5"}, "needs webpubsub_sku Premium_P1"),
        ({"webpubsub_maximum_units": "1"}, "must not be below webpubsub_units"),
        ({"webpubsub_sku": "Free_F1"}, "webpubsub_sku Free_F1 has one unit"),
        ({"webpubsub_sku": "Free_F1", "webpubsub_units": "1"}, "private_network needs webpubsub_sku"),
        (
            {"address_space": "8.8.0.0/16"},
            "address_space must be a private IPv4 range of /22 or larger, "
            "such as 10.40.0.0/22, got '8.8.0.0/16'",
        ),
        ({"address_space": "10.0.0.0/23"}, "address_space must be a private IPv4 range of /22 or larger"),
        ({"address_space": "office"}, "address_space must be a private IPv4 range"),
        (
            {"flex_always_ready": "50", "flex_maximum_instances": "40"},
            "flex_always_ready must not be above",
        ),
    ],
)
def test_combinations_that_azure_refuses_are_refused_here(changed: dict[str, str], expected: str) -> None:
    assert expected in problems_of(**changed)


def test_nothing_is_told_that_only_follows_from_what_is_missing() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_settings(StackConfig("prod", {}))
    _, *problems = str(caught.value).splitlines()
    assert problems
    assert all(" is not set: pulumi config set " in problem for problem in problems), problems


def test_nothing_is_told_that_only_follows_from_what_is_wrong() -> None:
    assert len(problems_of(zone_redundant="perhaps").splitlines()) == 2
    text = problems_of(webpubsub_sku="Premium", autoscale_minimum="ten", postgres_sku="Standard_B2s")
    assert [line.split()[0] for line in text.splitlines()[1:]] == [
        "autoscale_minimum",
        "webpubsub_sku",
        "postgres_high_availability",
    ]


@pytest.mark.parametrize("key", ["alert_slack_urls", "alert_pagerduty_keys", "alert_webhook_urls"])
def test_a_secret_that_is_refused_is_not_repeated(key: str) -> None:
    text = problems_of(**{key: "https://example.com/ok,http://hooks.example.com/sekrit"})
    assert "sekrit" not in text
    assert "wrong: " in text


def test_lists_of_receivers_have_commas_between_them() -> None:
    told = settings_of(
        "prod",
        alert_sms="+1 3125550100, +44 2079460000",
        alert_webhook_urls="https://one.example.com/a,https://two.example.com/b?c=d",
    ).notifications
    assert told.sms == ("+1 3125550100", "+44 2079460000")
    assert told.webhook_urls == ("https://one.example.com/a", "https://two.example.com/b?c=d")


@pytest.mark.parametrize("stack", ["prod", "premium"])
def test_after_a_region_s_loss_a_stack_can_be_made_in_the_pair(stack: str) -> None:
    """As docs/operations.md says, with the size that a restored server has there."""
    pair = REGIONS[settings_of(stack).location].pair
    made = settings_of(
        stack, location=pair, zones="some", postgres_high_availability="false", name_suffix="x7k2q"
    )
    assert made.postgres.sku == settings_of(stack).postgres.sku


def test_every_region_has_its_pair_in_the_table() -> None:
    assert {region.pair for region in REGIONS.values()} <= set(REGIONS)
    assert not list(postgres_lacks("westeurope", "Standard_D2ds_v5", standby=True, geo_backup=True))
    assert not list(postgres_lacks("eastus2", "Standard_B1ms", standby=False, geo_backup=False))
    assert not list(postgres_lacks("westus3", "Standard_E8ads_v5", standby=True, geo_backup=False))


@pytest.mark.parametrize("stack", ["p", "production", "Prod", "prod-eu", "1st"])
def test_names_of_stacks_fit_into_names_of_resources(stack: str) -> None:
    config = stack_from_files("prod")
    with pytest.raises(ConfigurationError, match="2 to 8 lower-case letters"):
        read_settings(StackConfig(stack, config.values, config.secret_keys))


def test_the_minimum_of_lean_can_be_two() -> None:
    scaling = settings_of("lean", autoscale_minimum="2", autoscale_default="2").compute.scaling
    assert scaling.minimum == 2


def test_every_setting_is_described() -> None:
    described = set(re.findall(r"^\| `([a-z_]+)` \|", section("Settings"), flags=re.MULTILINE))
    assert described == all_keys()


def test_described_defaults_are_the_defaults() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]*) \|", section("Settings"), flags=re.MULTILINE)
    described = {key: default.strip().strip("`").replace("none", "") for key, default in rows}
    config = stack_from_files("dev")  # whose required keys go with every default
    required = {key for key, default in described.items() if default == "required"}
    # A default may be another setting's value.
    optional = {key: described.get(value, value) for key, value in described.items() if key not in required}
    bare = StackConfig(
        "dev", {key: config.values.get(key) or optional[key] for key in required}, config.secret_keys
    )
    spelt_out = StackConfig("dev", {**bare.values, **optional}, config.secret_keys)
    assert read_settings(bare) == read_settings(spelt_out)
    with pytest.raises(ConfigurationError) as caught:
        read_settings(StackConfig("prod", {}))
    missing = set(re.findall(r"^  ([a-z_]+) is not set", str(caught.value), flags=re.MULTILINE))
    assert missing == required
