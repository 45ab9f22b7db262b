"""The stand-in refuses what the tools and Azure refuse; otherwise it would prove nothing."""

import json

import pytest

from operations.process import Answer, Call
from tests.support.stand_in.answers import answer
from tests.support.stand_in.world import (
    OPERATOR,
    PROVIDER_S,
    ROLE_S,
    Role,
    Vault,
    World,
    empty_world,
    guid,
    scope_of,
)

VAULT = scope_of("rg-signal-cloud-pulumi", "Microsoft.KeyVault/vaults", "kv")


def ask(world: World, *words: str, stdin: str = "") -> Answer:
    return answer(world, Call(words, stdin))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("az", "group", "create", "--name", "x"), "required: --location"),
        (
            ("az", "group", "create", "--name", "x", "--location", "y", "--colour", "red"),
            "arguments: --colour",
        ),
        (("az", "group", "invent"), "unknown command"),
        (("az", "keyvault", "key", "create", "--vault", "kv"), "arguments: --vault"),
        (("gh", "variable", "set", "X", "--value", "1"), "arguments: --value"),
        (("pulumi", "stack", "init", "prod", "--secret-provider", "x"), "arguments: --secret-provider"),
    ],
)
def test_words_that_a_tool_does_not_take_are_a_misuse(words: tuple[str, ...], text: str) -> None:
    refused = ask(empty_world(), *words)
    assert refused.status == 2
    assert text in refused.error


def test_a_resource_needs_a_registered_provider() -> None:
    world = empty_world(groups={"rg": "eastus2"})
    create = ("az", "storage", "account", "create", "--name", "x", "--resource-group", "rg")
    assert "MissingSubscriptionRegistration" in ask(world, *create).error
    assert ask(world, "az", "provider", "register", "--namespace", "Microsoft.Storage").status == 0
    assert "MissingSubscriptionRegistration" in ask(world, *create).error
    world.now += PROVIDER_S
    assert ask(world, *create).status == 0


def test_a_role_has_no_effect_at_once_and_an_owner_has_no_right_to_data() -> None:
    world = empty_world(vaults={"kv": Vault("rg-signal-cloud-pulumi")})
    create = ("az", "keyvault", "key", "create", "--vault-name", "kv", "--name", "pulumi")
    assert "not authorized" in ask(world, *create).error
    world.roles.append(Role("Key Vault Crypto Officer", VAULT, OPERATOR, guid("x"), world.now))
    assert "not authorized" in ask(world, *create).error
    world.now += ROLE_S
    assert ask(world, *create).status == 0


def test_a_new_membership_gives_no_right_for_an_hour() -> None:
    world = empty_world(vaults={"kv": Vault("rg-signal-cloud-pulumi")})
    ask(world, "az", "ad", "group", "create", "--display-name", "g", "--mail-nickname", "g")
    group = world.directory_groups["g"]
    group.members[OPERATOR] = world.now
    world.roles.append(Role("Key Vault Crypto Officer", VAULT, group.id, guid("x"), world.now))
    world.now += ROLE_S
    assert not world.may("Key Vault Crypto Officer", VAULT)
    world.now += 3600
    assert world.may("Key Vault Crypto Officer", VAULT)


def test_what_is_not_idempotent_in_azure_is_refused_the_second_time() -> None:
    world = empty_world()
    (app,) = [json.loads(ask(world, "az", "ad", "app", "create", "--display-name", "a").output)["appId"]]
    assert "backing application" in ask(world, "az", "ad", "sp", "create", "--id", app).error
    world.now += 60
    assert ask(world, "az", "ad", "sp", "create", "--id", app).status == 0
    assert "already in use" in ask(world, "az", "ad", "sp", "create", "--id", app).error


def test_a_busy_service_refuses_a_change_once_and_a_lost_answer_hides_an_effect() -> None:
    world = empty_world(busy_every=1, fault_at=1, fault_after=True)
    group = ("az", "group", "create", "--location", "y", "--name")
    assert "TooManyRequests" in ask(world, *group, "a").error
    assert ask(world, *group, "a").status == 0
    assert "TooManyRequests" in ask(world, *group, "b").error
    assert "Connection aborted" in ask(world, *group, "b").error
    assert set(world.groups) == {"a", "b"}
