"""Answers for az about what a stack has made: its app, its data, its machine, and who may reach them."""

import json
from collections.abc import Mapping
from typing import Any

from tests.support.stand_in.azure import Handler
from tests.support.stand_in.words import Words
from tests.support.stand_in.world import (
    NO_BLOBS,
    OPERATOR,
    RUNNER_TOKEN,
    Deployed,
    World,
    refuse,
    scope_of,
)


def _deployed_by(world: World, output: str, value: str) -> tuple[Deployed, str]:
    for deployed in world.deployed.values():
        if deployed.outputs.get(output) == value:
            return deployed, deployed.outputs["resource_group"]
    return refuse("ResourceNotFound", f"There is no {value}.", 3)


def _entity_query(world: World, words: Words, stdin: str) -> Any:
    deployed, _ = _deployed_by(world, "data_storage_account", words["--account-name"])
    deployed.reach()
    world.demand(NO_BLOBS, deployed.outputs["data_storage_account_id"], "Storage Table Data Contributor")
    return {"items": []}


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
    if "/runCommands/" in words["--uri"]:
        return _run_command(world, words, stdin)
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


def _vm_show(world: World, words: Words, stdin: str) -> Any:
    _deployed_by(world, "operations_machine", words["--name"])
    machine = scope_of(words["--resource-group"], "Microsoft.Compute/virtualMachines", words["--name"])
    return {"id": machine, "location": "centralus"}


def _run_command(world: World, words: Words, stdin: str) -> Any:
    """The machine registers its runner, if it gets a token that GitHub gave."""
    if words["--method"] == "get":
        return {"properties": {"instanceView": {"executionState": "Succeeded"}}}
    if words["--method"] == "put":
        assert words["--body"] == "@-"
        properties = json.loads(stdin)["properties"]
        given = {each["name"]: each["value"] for each in properties["parameters"]}
        (token,) = (each["value"] for each in properties["protectedParameters"])
        assert token == RUNNER_TOKEN
        if given["RUNNER_LABEL"] not in world.runners:
            world.runners.append(given["RUNNER_LABEL"])
            world.make(f"runner {given['RUNNER_LABEL']}")
    return None


def _admit(world: World, words: Words, stdin: str) -> Any:
    """Postgres takes one change at a time, and is still busy with the last one."""
    deployed, _ = _deployed_by(world, "postgres_server", words["--server-name"])
    if world.postgres_busy:
        world.postgres_busy -= 1
        refuse("ServerIsBusy", "Cannot complete operation while server is busy.")
    if words.name.endswith("create"):
        assert words["--start-ip-address"] == words["--end-ip-address"]
        deployed.admitted[words["--name"]] = words["--start-ip-address"]
    else:
        assert "--yes" in words, "it would ask"
        deployed.admitted.pop(words["--name"], None)


READS: Mapping[str, Handler] = {
    "storage entity query": _entity_query,
    "vm show": _vm_show,
}
CHANGES: Mapping[str, Handler] = {
    "functionapp deployment source config-zip": _deploy_zip,
    "functionapp deployment slot swap": _swap,
    "rest": _rest,
    "postgres flexible-server firewall-rule create": _admit,
    "postgres flexible-server firewall-rule delete": _admit,
}
