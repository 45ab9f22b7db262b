"""Web pages may call the app from the origins of the stack's settings; Azure's own CORS stays off."""

import pytest

from infra.settings.reader import ConfigurationError
from shared.errors import ConfigurationError as AppRefuses
from shared.settings_reader import SettingsReader
from tests.infra.components.test_compute import settings_in, sites_of
from tests.infra.recording import VARIANTS, recorded, recorded_with, settings_of
from tests.unit.shared.test_settings import BAD_VALUES, GOOD_ORIGINS


@pytest.mark.parametrize("plan", ["dedicated", "flex"])
def test_the_app_gets_the_origins(plan: str) -> None:
    given = "https://app.example.com, http://localhost:3000"
    for site in sites_of(recorded_with("prod", plan=plan, cors_origins=given)):
        assert settings_in(site)["CORS_ORIGINS"] == "https://app.example.com,http://localhost:3000"
        assert "cors" not in site["siteConfig"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_origins_there_is_no_such_setting_and_the_platform_answers_no_preflight(variant: str) -> None:
    for site in sites_of(recorded(variant)):
        assert "CORS_ORIGINS" not in settings_in(site)
        assert "cors" not in site["siteConfig"]


@pytest.mark.parametrize("value", [each for each in BAD_VALUES["CORS_ORIGINS"] if each.count(",") < 50])
def test_what_the_app_refuses_the_stack_refuses(value: str) -> None:
    with pytest.raises(ConfigurationError, match="cors_origins must be origins"):
        settings_of("prod", cors_origins=value)


def test_what_the_stack_accepts_the_app_accepts() -> None:
    accepted = settings_of("prod", cors_origins=GOOD_ORIGINS).compute.cors_origins
    reader = SettingsReader({"CORS_ORIGINS": ",".join(accepted)})
    assert set(reader.origins("CORS_ORIGINS")) == set(accepted)
    reader.check(AppRefuses)
