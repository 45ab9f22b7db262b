"""Answers for our own commands and for curl, against the stack that the stand-in has deployed."""

import json
from collections.abc import Mapping, Sequence

from tests.support.stand_in.world import ADDRESS, OPERATOR, Deployed, Refused, World


def python(world: World, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """What `python -m ...` prints; raises Refused."""
    module, rest = words[2], list(words[3:])
    if module in ("venv", "pip"):
        return ""
    if module == "operations.package":
        world.package = f"0.1.0+{rest[rest.index('--build') + 1]}"
        return f"version {world.package}"
    if module == "operations.smoke":
        return _smoke(world, rest, environment)
    host = environment["DATABASE_URL"].partition("@")[2].partition(":")[0]
    stack = next(name for name, each in world.deployed.items() if each.outputs["postgres_host"] == host)
    deployed = world.deployed[stack]
    is_admitted = deployed.is_inside if deployed.is_private else ADDRESS in deployed.admitted.values()
    if not is_admitted:
        raise Refused("database_unavailable: connection timed out")
    if module == "operations.migrate":
        return _migrate(world, deployed, rest)
    return _license(world, stack, rest, environment)


def _migrate(world: World, deployed: Deployed, rest: Sequence[str]) -> str:
    if not any(OPERATOR in group.members for group in world.directory_groups.values()):
        raise Refused("database_unavailable: the user is not a member of the administrators")
    assert rest[:2] == ["apply", "--entra"]
    deployed.is_migrated = True
    return "no migration was missing"


def _license(world: World, stack: str, rest: Sequence[str], environment: Mapping[str, str]) -> str:
    deployed = world.deployed[stack]
    scope = deployed.outputs["data_storage_account_id"]
    world.demand(
        "key_store_unavailable: AuthorizationPermissionMismatch", scope, "Storage Table Data Contributor"
    )
    if environment["API_KEY_PEPPER"] != world.secrets[f"{stack} signal-cloud:api_key_pepper"]:
        raise Refused("configuration_invalid: another pepper")
    if not deployed.is_migrated:
        raise Refused("The audit log did not get an entry", status=3, output="{}")
    if rest[0] == "list":
        return json.dumps([{"license_id": f"lic_{name}", "account_id": name} for name in deployed.licenses])
    if rest[0] == "show":
        key = deployed.licenses[rest[1].removeprefix("lic_")]
        return json.dumps({"keys": [{"public_id": key, "status": "active"}]})
    if rest[0] == "create":
        name = rest[rest.index("--account") + 1]
        if name in deployed.licenses:
            raise Refused(f"conflict: the account {name} has a license")
        deployed.licenses[name] = "Key001"
        world.make(f"license {name}")
        return json.dumps({"plain_key": "sc_live_Key001"})
    old = rest[1]
    assert rest[0] == "rotate"
    assert rest[2:4] == ["--overlap", "0s"]
    deployed.ended_keys.append(old)
    (account,) = (name for name, key in deployed.licenses.items() if key == old)
    deployed.licenses[account] = f"Key{int(old[3:]) + 1:03}"
    return json.dumps({"plain_key": f"sc_live_{deployed.licenses[account]}"})


def is_change(words: Sequence[str]) -> bool:
    """Whether a command of ours changes something; a read of the licenses does not."""
    return words[2] != "operations.license" or words[3] not in ("list", "show")


def _smoke(world: World, rest: Sequence[str], environment: Mapping[str, str]) -> str:
    url, version = rest[0], rest[rest.index("--expect-version") + 1]
    for deployed in world.deployed.values():
        versions = {
            deployed.outputs["url"]: deployed.live,
            deployed.outputs.get("staging_url", ""): deployed.staged,
        }
        if url in versions:
            key = environment["SIGNAL_CLOUD_KEY"].removeprefix("sc_live_")
            if versions[url] != version:
                raise Refused(f"FAILED  version     {versions[url]} answers, not {version}")
            if not deployed.is_migrated or key not in deployed.licenses.values():
                raise Refused("FAILED  keys        the key is unknown")
            return f"ok      version     {version}"
    raise Refused(f"FAILED  version     {url} does not answer")


def curl(world: World, words: Sequence[str]) -> str:
    """What curl prints of a deployment's OpenAPI document; raises Refused."""
    url = words[-1].removesuffix("/api/openapi.json")
    for deployed in world.deployed.values():
        for output, version in (("url", deployed.live), ("staging_url", deployed.staged)):
            if deployed.outputs.get(output) == url and version:
                return json.dumps({"info": {"version": version}})
    raise Refused("curl: (22) The requested URL returned error: 404", status=22)
