"""Records stacks under Pulumi's mocks, each once per process, for all tests."""

import functools
from typing import Any

import pytest

from infra.offline.recording import Recording, record
from infra.settings.keys import read_settings
from infra.settings.model import Settings
from infra.settings.reader import ConfigurationError, StackConfig
from infra.settings.stacks import STACKS, stack_from_files

DNS_ZONE = (
    "/subscriptions/00000000-0000-4000-8000-0000000000ff/resourceGroups/rg-names"
    "/providers/Microsoft.Network/dnsZones/example.com"
)
TWO_REGIONS = {
    "domain": "api.signals.example.com",
    "second_origin_host": "func-signal-cloud-standby-demo1.azurewebsites.net",
}
# All stacks, prod on the other kind of plan with a name of its own, prod whose only machine that deploys is
# in its network, prod with a name of its own and a second region, and each of the two in the other role.
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    **{stack: (stack, {}) for stack in STACKS},
    "prod-flex": ("prod", {"plan": "flex", "domain": TWO_REGIONS["domain"]}),
    "prod-subnet": ("prod", {"deployer_addresses": ""}),
    "prod-two": ("prod", TWO_REGIONS | {"dns_zone_id": DNS_ZONE}),
    "prod-passive": ("prod", TWO_REGIONS | {"dns_zone_id": DNS_ZONE, "role": "passive"}),
    "standby-active": ("standby", {"role": "active"}),
}
# Those that have a database and licenses of their own; test_regions.py has rules for the others.
SELF_CONTAINED = [name for name, (stack, _) in VARIANTS.items() if stack != "standby"]
# A recording takes a second, and many tests want the same.
_RECORDINGS: list[Recording] = []


def settings_of(stack: str, **changed: str) -> Settings:
    """Settings as the stack's file has them, with some keys changed."""
    config = stack_from_files(stack)
    return read_settings(StackConfig(config.stack, {**config.values, **changed}, config.secret_keys))


def recorded_as(settings: Settings) -> Recording:
    """The recording of these settings, which all tests of a process share and none may change."""
    found = next((each for each in _RECORDINGS if each.settings == settings), None)
    if found is None:
        found = record(settings)
        _RECORDINGS.append(found)
    return found


@functools.cache
def recorded(variant: str) -> Recording:
    """One of VARIANTS."""
    stack, changed = VARIANTS[variant]
    return recorded_with(stack, **changed)


def recorded_with(stack: str, **changed: str) -> Recording:
    """A stack with some settings changed."""
    return recorded_as(settings_of(stack, **changed))


def input_at(resource: Any, path: str) -> Any:
    """The input at a dotted path, None where it is absent."""
    value: Any = resource.inputs
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def problems_of(stack: str = "prod", **changed: str) -> str:
    """What the settings say about a stack with some keys changed."""
    with pytest.raises(ConfigurationError) as caught:
        settings_of(stack, **changed)
    return str(caught.value)
