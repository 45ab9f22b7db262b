"""Changes that Azure takes one at a time are ordered, and what needs a name waits until it resolves."""

from collections.abc import Iterator

import pytest

from infra.offline.recording import Recording, Resource
from tests.infra.recording import VARIANTS, recorded

# Kinds of resources that accept one change at a time, with what Azure answers to a second one, or says of it.
ONE_AT_A_TIME = {
    "Microsoft.DBforPostgreSQL/flexibleServers": "ServerIsBusy",
    "Microsoft.Cache/redisEnterprise": "the cluster is updating",
    "Microsoft.Web/sites": "Cannot modify this site because another operation is in progress",
    "Microsoft.KeyVault/vaults": "ConflictError: serialize the operations (pulumi-azure-native #1013)",
    "Microsoft.Storage/storageAccounts": "StorageAccountOperationInProgress (bicep-registry-modules #6001)",
    "Microsoft.SignalRService/webPubSub": "Conflict",
}
# They lie in other services, and change nothing of the resource that they name.
APART = {"Microsoft.Insights/diagnosticSettings", "Microsoft.Authorization/roleAssignments"}
ENDPOINT = "Microsoft.Network/privateEndpoints"
NAMES = f"{ENDPOINT}/privateDnsZoneGroups"
LINK = "Microsoft.Network/privateDnsZones/virtualNetworkLinks"


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def before(stack: Recording, resource: Resource) -> frozenset[str]:
    """URNs of all resources that exist before Pulumi makes this one."""
    by_urn = {each.urn: each for each in stack.resources}
    found: set[str] = set()
    open_urns = set(resource.depends_on)
    while open_urns:
        urn = open_urns.pop()
        if urn not in found:
            found.add(urn)
            open_urns |= by_urn[urn].depends_on if urn in by_urn else set()
    return frozenset(found)


def changes_of(stack: Recording, changed: Resource) -> list[Resource]:
    """The resource itself, its parts, and its private endpoints, each of which is a change of it."""

    def is_change(each: Resource) -> bool:
        if each.type in APART:
            return False
        if each.type == ENDPOINT:
            (connection,) = each.inputs["privateLinkServiceConnections"]
            return bool(connection["privateLinkServiceId"] == changed.id)
        return each.id == changed.id or each.id.startswith(f"{changed.id}/")

    return [each for each in stack.resources if is_change(each)]


def unordered(stack: Recording) -> Iterator[tuple[str, str]]:
    """Pairs of changes of the same resource that Pulumi would make at the same time."""
    for kind in ONE_AT_A_TIME:
        for changed in stack.of_type(kind):
            changes = changes_of(stack, changed)
            waits_for = {each.urn: before(stack, each) for each in changes}
            for index, one in enumerate(changes):
                for other in changes[index + 1 :]:
                    if one.urn not in waits_for[other.urn] and other.urn not in waits_for[one.urn]:
                        yield one.name, other.name


def test_no_two_changes_of_a_resource_run_at_the_same_time(stack: Recording) -> None:
    assert not list(unordered(stack))
    for kind in ONE_AT_A_TIME:
        for changed in stack.of_type(kind):
            assert len(changes_of(stack, changed)) > 1, "the test sees no change of it"


def test_postgres_is_reachable_then_administered_then_set_up_then_filled() -> None:
    stack = recorded("prod")
    server = stack.only("Microsoft.DBforPostgreSQL/flexibleServers")
    changes = changes_of(stack, server)
    order = sorted(changes, key=lambda each: len(before(stack, each)))
    kinds = list(dict.fromkeys(each.type.rsplit("/", 1)[-1] for each in order))
    assert kinds == ["flexibleServers", "privateEndpoints", "administrators", "configurations", "databases"]
    names = next(
        each for each in stack.of_type(NAMES) if each.inputs["privateEndpointName"] == order[1].own_name
    )
    assert names.urn in before(stack, order[2])


def test_the_app_starts_when_every_private_name_resolves(stack: Recording) -> None:
    """A name resolves if its record exists (zone group) and the network asks its zone (link)."""
    app = before(stack, stack.only("Microsoft.Web/sites"))
    for each in (*stack.of_type(NAMES), *stack.of_type(LINK)):
        assert each.urn in app, each.name
    for names in stack.of_type(NAMES):
        zones = {config["privateDnsZoneId"] for config in names.inputs["privateDnsZoneConfigs"]}
        (link,) = (each for each in stack.of_type(LINK) if each.id.rsplit("/", 2)[0] in zones)
        assert link.urn in before(stack, names)
