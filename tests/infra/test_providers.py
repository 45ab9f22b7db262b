"""The bootstrap registers the resource providers of all resources that a stack makes."""

import pytest

from infra.settings.stacks import STACKS
from operations.bootstrap import foundation
from operations.bootstrap.foundation import providers
from tests.infra.recording import recorded


@pytest.fixture(autouse=True)
def _recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foundation, "record_stack", recorded)


# Azure registers them in each subscription by itself.
ALWAYS = {"Microsoft.Authorization", "Microsoft.Resources", "Microsoft.Consumption"}


@pytest.mark.parametrize("stack", STACKS)
def test_the_providers_are_those_of_the_stacks_resources(stack: str) -> None:
    needed = {resource.type.partition("/")[0] for resource in recorded(stack).resources}
    assert needed - providers(stack) <= ALWAYS
    assert not ALWAYS & providers(stack)


@pytest.mark.parametrize("provider", ["Microsoft.App", "Microsoft.AlertsManagement"])
def test_providers_of_resources_that_azure_makes_beside_ours_are_registered(provider: str) -> None:
    """Flex Consumption joins a network by the first; Application Insights makes a rule of the second."""
    assert all(provider in providers(stack) for stack in STACKS)
