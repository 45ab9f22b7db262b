"""Answers for pulumi: a state under Azure's rights, a stack's file, and an update that makes a stack."""

import copy
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from operations.bootstrap.foundation import providers
from tests.support.stand_in.azure import STORAGE, VAULTS, provider_state, state_scope
from tests.support.stand_in.words import Words
from tests.support.stand_in.world import NO_SECRETS, Deployed, Refused, Vault, World, guid, refuse, scope_of

_PREFIX = "signal-cloud:"
_NEEDED = (
    "owner", "cost_centre", "name_suffix", "alert_emails", "postgres_admin_object_id", "postgres_admin_name",
    "api_key_pepper", "alerts_quiet",
)  # fmt: skip


def answer(world: World, words: Words, stdin: str, environment: Mapping[str, str]) -> Any:
    """What the command prints, as JSON or text; raises Refused."""
    if words.name in ("version", "install"):
        return "v3.272.0"
    if words.name == "login":
        (world.pulumi_login,) = words.arguments
    _state(world, environment.get("PULUMI_BACKEND_URL", world.pulumi_login))
    if words.name == "login":
        return f"Logged in to {world.pulumi_login}"
    if words.name == "stack ls":
        return [{"name": name} for name in world.pulumi_stacks]
    stack = words.get("--stack") or words.arguments[0]
    file = Path(words["--cwd"]) / f"Pulumi.{stack}.yaml"
    if words.name == "stack init":
        return _init(world, words, file)
    if stack not in world.pulumi_stacks:
        raise Refused(f"error: no stack named '{stack}' found", 255)
    return _of_stack(world, words, stdin, stack, file)


def _of_stack(world: World, words: Words, stdin: str, stack: str, file: Path) -> Any:
    if words.name == "config set":
        return _set(world, words, stdin, file)
    if words.name == "up":
        return _up(world, words, file)
    if words.name == "config get":
        assert "--json" in words
        key = f"{_PREFIX}{words.arguments[0]}"
        value = world.secrets.get(f"{stack} {key}") or _document(file)["config"][key]
        return {"name": key, "value": value, "secret": True}
    if words.name == "config":
        return {key: _shown(value) for key, value in _document(file)["config"].items()}
    return world.deployed[stack].outputs if stack in world.deployed else {}


def _shown(value: object) -> dict[str, object]:
    return {"secret": True} if isinstance(value, dict) else {"value": _text(value), "secret": False}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _state(world: World, url: str) -> None:
    """Refuses an operator that may not read the state."""
    account = url.removeprefix("azblob://state?storage_account=")
    if account not in world.accounts:
        raise Refused(f"error: dial tcp: lookup {account}.blob.core.windows.net: no such host", 255)
    if f"{account}/state" not in world.containers:
        raise Refused(f"error: could not list bucket {url}: blob (code=NotFound)", 255)
    if not world.may("Storage Blob Data Contributor", state_scope(STORAGE, account)):
        raise Refused("error: RESPONSE 403: AuthorizationPermissionMismatch", 255)


def _encrypt(world: World, provider: str) -> None:
    vault = provider.removeprefix("azurekeyvault://").partition(".")[0]
    if "pulumi" not in world.vaults[vault].keys:
        raise Refused("error: KeyNotFound", 255)
    if not world.may("Key Vault Crypto Officer", state_scope(VAULTS, vault)):
        raise Refused(f"error: secrets: RESPONSE 403: 403 Forbidden ERROR CODE: Forbidden {NO_SECRETS}", 255)


def _document(file: Path) -> dict[str, Any]:
    return copy.deepcopy(_parsed(file.read_text(encoding="utf-8")))


@functools.cache
def _parsed(text: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(text) if text.startswith("{") else yaml.safe_load(text))


def _write(file: Path, document: Mapping[str, Any]) -> None:
    # JSON is YAML too, and is written and read much faster.
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _init(world: World, words: Words, file: Path) -> str:
    (stack,) = words.arguments
    if stack in world.pulumi_stacks:
        raise Refused(f"error: stack '{stack}' already exists", 255)
    _encrypt(world, words["--secrets-provider"])
    world.pulumi_stacks[stack] = words["--secrets-provider"]
    _write(file, {"secretsprovider": words["--secrets-provider"], **_document(file)})
    world.make(f"stack {stack}")
    return ""


def _set(world: World, words: Words, stdin: str, file: Path) -> str:
    document, key = _document(file), f"{_PREFIX}{words.arguments[0]}"
    if "--secret" in words:
        assert len(words.arguments) == 1, "a secret must not be an argument"
        _encrypt(world, world.pulumi_stacks[words["--stack"]])
        world.secrets[f"{words['--stack']} {key}"] = stdin
        document["config"][key] = {"secure": f"v1:{guid(stdin)}"}
    else:
        _, document["config"][key] = words.arguments
    world.make(
        f"setting {words['--stack']} {words.arguments[0]} {'' if '--secret' in words else words.arguments[1]}"
    )
    _write(file, document)
    return ""


def _up(world: World, words: Words, file: Path) -> str:
    """Makes the stack's resources; the first attempt meets a Postgres that is busy, halfway."""
    stack, config = words["--stack"], _document(file)["config"]
    assert {"--yes", "--non-interactive", "--policy-pack"} <= {each for each in _UP if each in words}
    missing = [key for key in _NEEDED if f"{_PREFIX}{key}" not in config]
    if missing:
        raise Refused(f"error: {', '.join(missing)} is not set", 255)
    for provider in providers(stack):
        if provider_state(world, provider) != "Registered":
            refuse("MissingSubscriptionRegistration", f"{provider}", 255)
    group = f"rg-signal-cloud-{stack}"
    if group in world.groups and stack not in world.deployed and f"pulumi {group}" not in world.made:
        raise Refused(f"error: cannot create already existing resource {group}", 255)
    if f"pulumi {group}" not in world.made:
        world.groups[group] = config[f"{_PREFIX}location"]
        world.make(f"pulumi {group}")
    if world.postgres_busy:
        world.postgres_busy -= 1
        raise Refused('error: Code="ServerIsBusy" Cannot complete operation while server is busy', 255)
    quiet = _text(config[f"{_PREFIX}alerts_quiet"]) == "true"
    if stack in world.deployed:
        world.deployed[stack].is_quiet = quiet
        return "    15 unchanged"
    document = {key.removeprefix(_PREFIX): _text(value) for key, value in config.items()}
    plan, private = config[f"{_PREFIX}plan"], _text(config[f"{_PREFIX}private_network"]) == "true"
    outputs = _outputs(stack, group, has_slot=plan == "dedicated")
    if "primary_postgres_id" in document:
        _follow(world, stack, document, outputs)
    elif document["edge"] != "none":
        outputs["front_door_id"] = guid(f"door {stack}")
    if document.get("operations_machine") == "true":
        outputs["operations_machine"] = f"vm-signal-cloud-{stack}"
    deployers = document.get("deployer_addresses", "")
    world.deployed[stack] = Deployed(outputs, private, quiet)
    world.deployed[stack].admitted = {f"deployer-{at}": at for at in deployers.split(",") if at}
    # The last change of Postgres goes on in the background.
    world.postgres_busy = 1
    world.vaults[outputs["key_vault"]] = Vault(
        group, secrets={"api-key-pepper": world.secrets[f"{stack} {_PREFIX}api_key_pepper"]}
    )
    return "    90 created"


def _follow(world: World, stack: str, settings: Mapping[str, str], outputs: dict[str, str]) -> None:
    """A second region shares the first one's licenses, and answers only its Front Door."""
    first = next(
        (
            (name, each)
            for name, each in world.deployed.items()
            if each.outputs["postgres_server_id"] == settings["primary_postgres_id"]
        ),
        None,
    )
    if first is None or settings["primary_front_door_id"] != first[1].outputs["front_door_id"]:
        raise Refused("error: ResourceNotFound: the server of the first region", 255)
    if (
        world.secrets[f"{stack} {_PREFIX}api_key_pepper"]
        != world.secrets[f"{first[0]} {_PREFIX}api_key_pepper"]
    ):
        raise Refused("error: the two regions have different peppers", 255)
    for name in ("data_storage_account", "data_storage_account_id"):
        outputs[name] = first[1].outputs[name]
    outputs["url"] = outputs["app_url"]


_UP = ("--yes", "--non-interactive", "--policy-pack")


def _outputs(stack: str, group: str, *, has_slot: bool) -> dict[str, str]:
    account, server = f"stsigdata{stack}abc12", f"psql-signal-cloud-{stack}-abc12"
    outputs = {
        "app_host": f"func-signal-cloud-{stack}-abc12.azurewebsites.net",
        "data_storage_account_id": scope_of(group, STORAGE, account),
        "postgres_server_id": scope_of(group, "Microsoft.DBforPostgreSQL/flexibleServers", server),
        "url": f"https://{stack}.example.net",
        "app_url": f"https://func-{stack}.azurewebsites.net",
        "app_name": f"func-signal-cloud-{stack}-abc12",
        "resource_group": group,
        "identity_name": f"id-signal-cloud-{stack}",
        "identity_client_id": guid(f"client {stack}"),
        "identity_principal_id": guid(f"identity {stack}"),
        "jobs_identity_name": f"id-signal-cloud-{stack}-jobs",
        "jobs_identity_principal_id": guid(f"jobs {stack}"),
        "postgres_server": server,
        "postgres_host": f"psql-signal-cloud-{stack}-abc12.postgres.database.azure.com",
        "database": "signal_cloud",
        "redis_host": f"redis-signal-cloud-{stack}-abc12.centralus.redis.azure.net",
        "data_storage_account": account,
        "webpubsub_endpoint": f"https://wps-signal-cloud-{stack}-abc12.webpubsub.azure.com",
        "key_vault": f"kv-signal-{stack}abc12",
    }
    return outputs | ({"staging_url": f"https://func-{stack}-staging.azurewebsites.net"} if has_slot else {})
