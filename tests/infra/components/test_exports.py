"""Exports of licenses go to blobs that live as long as they must, and that nobody can change before."""

import pytest

from infra.offline.recording import Recording
from shared.adapters.export_blobs import CONTAINER
from shared.services.license_export import DAILY, MONTHLY
from tests.infra.recording import SELF_CONTAINED, recorded, recorded_with

_ACCOUNT = "Microsoft.Storage/storageAccounts"
_CONTAINERS = f"{_ACCOUNT}/blobServices/containers"


@pytest.fixture(params=SELF_CONTAINED)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def test_the_app_exports_to_the_container_of_its_licenses_account(stack: Recording) -> None:
    (container,) = (each for each in stack.of_type(_CONTAINERS) if each.inputs["containerName"] == CONTAINER)
    account = container.inputs["accountName"]
    assert container.inputs["publicAccess"] == "None"
    site = stack.only("Microsoft.Web/sites").inputs["siteConfig"]
    values = {each["name"]: each["value"] for each in site["appSettings"]}
    assert values["LICENSE_EXPORT_ENDPOINT"] == f"https://{account}.blob.core.windows.net"
    assert values["LICENSE_EXPORT_KEY"] == stack.settings.license_export_key


def test_exports_live_35_days_and_a_year_with_their_versions(stack: Recording) -> None:
    rules = stack.only(f"{_ACCOUNT}/managementPolicies").inputs["policy"]["rules"]
    found = {}
    for rule in rules:
        (prefix,) = rule["definition"]["filters"]["prefixMatch"]
        actions = rule["definition"]["actions"]
        days = {each["delete"]["daysAfterCreationGreaterThan"] for each in actions.values()}
        assert set(actions) == {"baseBlob", "version"}
        found[prefix] = days
    assert found == {f"{CONTAINER}/{DAILY}/": {35}, f"{CONTAINER}/{MONTHLY}/": {366}}


def test_nobody_changes_an_export_before_its_time_unless_the_stack_is_for_rehearsal(stack: Recording) -> None:
    policies = stack.of_type(f"{_CONTAINERS}/immutabilityPolicies")
    if not stack.settings.protect:
        assert not policies
        return
    (policy,) = policies
    assert policy.inputs["containerName"] == CONTAINER
    # Less than the shortest life, so that Azure's lifecycle can delete.
    assert policy.inputs["immutabilityPeriodSinceCreationInDays"] == 30
    assert policy.inputs["allowProtectedAppendWrites"] is False
    # Azure refuses to delete it without its ETag, which Pulumi does not send.
    assert policy.retain_on_delete


def test_without_a_key_nothing_is_exported_and_nothing_is_overdue() -> None:
    stack = recorded_with("dev", license_export_key="")
    site = stack.only("Microsoft.Web/sites").inputs["siteConfig"]
    assert not [each for each in site["appSettings"] if each["name"].startswith("LICENSE_EXPORT")]
    assert not [each for each in stack.resources if "license-export-overdue" in each.name]
