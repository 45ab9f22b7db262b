"""Answers for az: resources, roles and data, with the refusals that Azure makes."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.stand_in.words import Words
from tests.support.stand_in.world import (
    DIRECTORY,
    NO_BLOBS,
    NO_SECRETS,
    OPERATOR,
    PROVIDER_S,
    SUBSCRIPTION,
    Deployed,
    Role,
    Vault,
    World,
    refuse,
    scope_of,
)

STORAGE, VAULTS = "Microsoft.Storage/storageAccounts", "Microsoft.KeyVault/vaults"
_ALL_PROVIDERS = (
    "Microsoft.App", "Microsoft.AlertsManagement", "Microsoft.Cache", "Microsoft.Cdn", "Microsoft.Compute",
    "Microsoft.DBforPostgreSQL", "microsoft.insights", "Microsoft.KeyVault", "Microsoft.Logic",
    "Microsoft.ManagedIdentity", "Microsoft.Network", "Microsoft.OperationalInsights",
    "Microsoft.SignalRService", "Microsoft.Storage", "Microsoft.Web",
)  # fmt: skip


def provider_state(world: World, name: str) -> str:
    since = {each.lower(): at for each, at in world.providers.items()}.get(name.lower())
    if since is None:
        return "NotRegistered"
    return "Registered" if world.now - since >= PROVIDER_S else "Registering"


def _need(world: World, provider: str) -> None:
    if provider_state(world, provider) != "Registered":
        refuse("MissingSubscriptionRegistration", f"The subscription is not registered to use {provider}")


def _account_show(world: World, words: Words, stdin: str) -> Any:
    if not world.is_signed_in:
        refuse("Unauthenticated", "Please run 'az login' to setup account.")
    user = {"name": "alice@example.com", "type": "user"}
    return {"id": SUBSCRIPTION, "name": "Example", "tenantId": DIRECTORY, "user": user}


def _provider_list(world: World, words: Words, stdin: str) -> Any:
    return [{"namespace": name, "registrationState": provider_state(world, name)} for name in _ALL_PROVIDERS]


def _provider_register(world: World, words: Words, stdin: str) -> Any:
    name = words["--namespace"]
    if name.lower() not in {each.lower() for each in _ALL_PROVIDERS}:
        refuse("InvalidResourceNamespace", f"The resource namespace {name} is invalid.")
    world.providers.setdefault(name, world.now)


def _group_create(world: World, words: Words, stdin: str) -> Any:
    name, location = words["--name"], words["--location"]
    if world.groups.setdefault(name, location) != location:
        refuse("InvalidResourceGroupLocation", f"The group exists in {world.groups[name]}.")
    if f"group {name}" not in world.made:
        world.make(f"group {name}")
    return {"name": name}


def _group_show(world: World, words: Words, stdin: str) -> Any:
    if words["--name"] not in world.groups:
        refuse("ResourceGroupNotFound", "Resource group could not be found.", 3)
    return {"name": words["--name"]}


def _storage_create(world: World, words: Words, stdin: str) -> Any:
    _need(world, "Microsoft.Storage")
    name = words["--name"]
    if name in world.taken:
        refuse("StorageAccountAlreadyTaken", f"The storage account named {name} is already taken.")
    if words["--resource-group"] not in world.groups:
        refuse("ResourceGroupNotFound")
    if name not in world.accounts:
        world.accounts[name] = False
        world.make(f"account {name}")
    return {"name": name}


def _storage_list(world: World, words: Words, stdin: str) -> Any:
    if words["--resource-group"] not in world.groups:
        refuse("ResourceGroupNotFound", "Resource group could not be found.", 3)
    return [{"name": name} for name in world.accounts]


def _storage_show(world: World, words: Words, stdin: str) -> Any:
    return {"name": _known_account(world, words["--name"])}


def _known_account(world: World, name: str) -> str:
    if name not in world.accounts:
        refuse("ResourceNotFound", f"The storage account {name} was not found.", 3)
    return name


def _versioning_show(world: World, words: Words, stdin: str) -> Any:
    return {"isVersioningEnabled": world.accounts[_known_account(world, words["--account-name"])]}


def _versioning_update(world: World, words: Words, stdin: str) -> Any:
    world.accounts[_known_account(world, words["--account-name"])] = words["--enable-versioning"] == "true"


def state_scope(kind: str, name: str) -> str:
    return scope_of("rg-signal-cloud-pulumi", kind, name)


def _demand_blobs(world: World, words: Words) -> str:
    if words["--auth-mode"] != "login":
        refuse("KeyBasedAuthenticationNotPermitted", "Key based authentication is not permitted.")
    name = _known_account(world, words["--account-name"])
    role = "Storage Blob Data Contributor"
    world.demand(NO_BLOBS, state_scope(STORAGE, name), role)
    return f"{name}/{words['--name']}"


def _container_exists(world: World, words: Words, stdin: str) -> Any:
    return {"exists": _demand_blobs(world, words) in world.containers}


def _container_create(world: World, words: Words, stdin: str) -> Any:
    name = _demand_blobs(world, words)
    if name not in world.containers:
        world.containers.append(name)
        world.make(f"container {name}")
    return {"created": True}


def _entity_query(world: World, words: Words, stdin: str) -> Any:
    deployed, group = _deployed_by(world, "data_storage_account", words["--account-name"])
    _reach(deployed)
    scope = scope_of(group, STORAGE, words["--account-name"])
    world.demand(NO_BLOBS, scope, "Storage Table Data Contributor")
    return {"items": []}


def _reach(deployed: Deployed) -> None:
    if deployed.is_private:
        refuse("PublicNetworkAccessDisabled", "Public access is disabled: use the private endpoint.")


def _deployed_by(world: World, output: str, value: str) -> tuple[Deployed, str]:
    for deployed in world.deployed.values():
        if deployed.outputs.get(output) == value:
            return deployed, deployed.outputs["resource_group"]
    return refuse("ResourceNotFound", f"There is no {value}.", 3)


def _vault_show(world: World, words: Words, stdin: str) -> Any:
    if words["--name"] not in world.vaults:
        refuse("ResourceNotFound", "The vault was not found.", 3)
    return {"name": words["--name"]}


def _vault_create(world: World, words: Words, stdin: str) -> Any:
    _need(world, "Microsoft.KeyVault")
    name = words["--name"]
    if name in world.vaults:
        refuse("InvalidArgumentValue", f"The specified vault: {name} already exists")
    if name in world.deleted_vaults:
        refuse("ConflictError", f"A vault with the name {name} exists in a recoverable state.")
    world.vaults[name] = Vault(words["--resource-group"])
    world.make(f"vault {name}")


def _vault_recover(world: World, words: Words, stdin: str) -> Any:
    world.deleted_vaults.remove(words["--name"])
    world.vaults[words["--name"]] = Vault(words["--resource-group"], keys=["pulumi"])


def _deleted_vaults(world: World, words: Words, stdin: str) -> Any:
    return [{"name": name} for name in world.deleted_vaults]


def _vault(world: World, words: Words, role: str) -> Vault:
    """The vault, if the operator may use its data."""
    name = words["--vault-name"]
    if name not in world.vaults:
        refuse("ResourceNotFound", f"Vault {name} was not found.")
    vault = world.vaults[name]
    for deployed in world.deployed.values():
        if deployed.outputs["key_vault"] == name:
            _reach(deployed)
    world.demand(NO_SECRETS, scope_of(vault.group, VAULTS, name), role)
    return vault


def _key_show(world: World, words: Words, stdin: str) -> Any:
    if words["--name"] not in _vault(world, words, "Key Vault Crypto Officer").keys:
        refuse("KeyNotFound", "A key with this name was not found in this key vault.")
    return {"key": {"kid": words["--name"]}}


def _key_create(world: World, words: Words, stdin: str) -> Any:
    _vault(world, words, "Key Vault Crypto Officer").keys.append(words["--name"])
    world.make(f"key {words['--name']}")


def _secret_show(world: World, words: Words, stdin: str) -> Any:
    secrets = _vault(world, words, "Key Vault Secrets Officer").secrets
    if words["--name"] not in secrets:
        refuse("SecretNotFound", "A secret with this name was not found in this key vault.")
    return {"value": secrets[words["--name"]]}


def _secret_set(world: World, words: Words, stdin: str) -> Any:
    assert words["--file"] == "/dev/stdin"
    assert "--value" not in words
    _vault(world, words, "Key Vault Secrets Officer").secrets[words["--name"]] = stdin
    return {"value": stdin}


def _role_list(world: World, words: Words, stdin: str) -> Any:
    scope, principal = words["--scope"].lower(), words.get("--assignee-object-id")
    inherited = "--include-inherited" in words
    return [
        {"roleDefinitionName": each.role, "scope": each.scope, "principalId": each.principal}
        for each in world.roles
        if (each.scope.lower() == scope or (inherited and scope.startswith(each.scope.lower())))
        and words.get("--role", each.role) == each.role
        and (not principal or each.principal == principal)
    ]


def _role_create(world: World, words: Words, stdin: str) -> Any:
    role, scope, principal = words["--role"], words["--scope"], words["--assignee-object-id"]
    group = scope.split("/")[4] if "/resourceGroups/" in scope else None
    if group is not None and group not in world.groups:
        refuse("ResourceGroupNotFound", f"Resource group {group} could not be found.")
    same = [
        each for each in world.roles if (each.role, each.scope, each.principal) == (role, scope, principal)
    ]
    if not same:
        world.roles.append(Role(role, scope, principal, words["--name"], world.now))
        world.make(f"role {role} {scope} {principal}")


def _deploy_zip(world: World, words: Words, stdin: str) -> Any:
    deployed, _ = _deployed_by(world, "app_name", words["--name"])
    has_slot = "staging_url" in deployed.outputs
    if has_slot != (words.get("--slot") == "staging"):
        refuse("BadRequest", "There is no such slot.")
    if not world.package:
        refuse("FileNotFound", "There is no package.")
    if has_slot:
        deployed.staged = world.package
    else:
        deployed.live = world.package
    world.make(f"deployment of {world.package}")


def _swap(world: World, words: Words, stdin: str) -> Any:
    deployed, _ = _deployed_by(world, "app_name", words["--name"])
    deployed.live, deployed.staged = deployed.staged, deployed.live
    world.make("swap")


def _rest(world: World, words: Words, stdin: str) -> Any:
    path, _, version = words["--uri"].partition("?api-version=")
    assert version == "2025-04-01"
    if words["--method"] == "get":
        if path not in world.redis:
            refuse("ResourceNotFound", "Not Found", 3)
        return {"id": path}
    body = json.loads(words["--body"])["properties"]
    assert body == {"accessPolicyName": "default", "user": {"objectId": OPERATOR}}
    world.redis.append(path)
    world.make(f"redis {path}")
    return {"id": path}


Handler = Callable[[World, Words, str], Any]
READS: Mapping[str, Handler] = {
    "version": lambda *_: {"azure-cli": "2.91.0"},
    "account show": _account_show,
    "provider list": _provider_list,
    "group show": _group_show,
    "storage account list": _storage_list,
    "storage account show": _storage_show,
    "storage account blob-service-properties show": _versioning_show,
    "storage container exists": _container_exists,
    "storage entity query": _entity_query,
    "keyvault show": _vault_show,
    "keyvault list-deleted": _deleted_vaults,
    "keyvault key show": _key_show,
    "keyvault secret show": _secret_show,
    "role assignment list": _role_list,
}
CHANGES: Mapping[str, Handler] = {
    "provider register": _provider_register,
    "group create": _group_create,
    "storage account create": _storage_create,
    "storage account blob-service-properties update": _versioning_update,
    "storage container create": _container_create,
    "keyvault create": _vault_create,
    "keyvault recover": _vault_recover,
    "keyvault key create": _key_create,
    "keyvault secret set": _secret_set,
    "role assignment create": _role_create,
    "functionapp deployment source config-zip": _deploy_zip,
    "functionapp deployment slot swap": _swap,
    "rest": _rest,
}
