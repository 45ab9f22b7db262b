"""Answers for `az ad`: groups, members and applications; the directory does not show new ones at once."""

import json
from typing import Any

from tests.support.stand_in.azure import Handler
from tests.support.stand_in.words import Words
from tests.support.stand_in.world import DIRECTORY_S, OPERATOR, App, Group, Refused, World, guid, refuse


def _me(world: World, words: Words, stdin: str) -> Any:
    return {"id": OPERATOR}


def _user(world: World, words: Words, stdin: str) -> Any:
    if words["--id"] not in world.users:
        refuse("Request_ResourceNotFound", "Resource does not exist.", 3)
    return {"id": world.users[words["--id"]]}


def _group_show(world: World, words: Words, stdin: str) -> Any:
    group = world.directory_groups.get(words["--group"])
    if group is None or world.now - group.since < DIRECTORY_S:
        refuse("Request_ResourceNotFound", f"No group matches the name of '{words['--group']}'", 3)
    return {"id": group.id}


def _group_create(world: World, words: Words, stdin: str) -> Any:
    name = words["--display-name"]
    if name not in world.directory_groups:
        world.directory_groups[name] = Group(guid(name), world.now)
        world.make(f"directory group {name}")
    return {"id": world.directory_groups[name].id}


def _group(world: World, group_id: str) -> Group:
    found = [each for each in world.directory_groups.values() if each.id == group_id]
    if not found:
        refuse("Request_ResourceNotFound", f"Resource '{group_id}' does not exist.", 3)
    return found[0]


def _member_check(world: World, words: Words, stdin: str) -> Any:
    return {"value": words["--member-id"] in _group(world, words["--group"]).members}


def _member_add(world: World, words: Words, stdin: str) -> Any:
    members, member = _group(world, words["--group"]).members, words["--member-id"]
    if member in members:
        refuse("Request_BadRequest", "One or more added object references already exist.")
    young = [each for each in world.apps.values() if each.principal == member]
    if young and world.now - young[0].since < DIRECTORY_S:
        raise Refused(
            f"ERROR: Resource '{member}' does not exist or one of its queried reference-property objects are "
            "not present."
        )
    members[member] = world.now
    world.make(f"member {member}")


def _app_list(world: World, words: Words, stdin: str) -> Any:
    return [
        {"appId": app.app_id, "displayName": name, "passwordCredentials": [{}] * app.has_password}
        for name, app in world.apps.items()
        # A filter by display name matches its beginning.
        if name.startswith(words["--display-name"]) and world.now - app.since >= DIRECTORY_S
    ]


def _app_create(world: World, words: Words, stdin: str) -> Any:
    name = words["--display-name"]
    if name not in world.apps:
        world.apps[name] = App(guid(f"app {name}"), world.now)
        world.make(f"application {name}")
    return {"appId": world.apps[name].app_id}


def _app(world: World, app_id: str) -> App:
    return next(each for each in world.apps.values() if each.app_id == app_id)


def _sp_create(world: World, words: Words, stdin: str) -> Any:
    app = _app(world, words["--id"])
    if world.now - app.since < DIRECTORY_S:
        raise Refused(
            "ERROR: When using this permission, the backing application of the service principal being "
            "created must in the local tenant"
        )
    if app.principal:
        refuse("Request_MultipleObjectsWithSameKeyValue", "The service principal name is already in use.")
    app.principal = guid(f"principal {app.app_id}")
    world.make(f"principal {app.principal}")
    return {"id": app.principal}


def _sp_show(world: World, words: Words, stdin: str) -> Any:
    app = _app(world, words["--id"])
    if not app.principal:
        refuse("Request_ResourceNotFound", "Resource does not exist.", 3)
    return {"id": app.principal}


def _group_owners(world: World, words: Words, stdin: str) -> Any:
    return [{"id": owner} for owner in _group(world, words["--group"]).owners]


def _app_owners(world: World, words: Words, stdin: str) -> Any:
    return [{"id": owner} for owner in _app(world, words["--id"]).owners]


def _sp_owners(world: World, words: Words, stdin: str) -> Any:
    (app,) = (each for each in world.apps.values() if each.principal == words["--id"])
    return [{"id": owner} for owner in app.owners]


def _credential_list(world: World, words: Words, stdin: str) -> Any:
    issuer = "https://token.actions.githubusercontent.com"
    return [{"issuer": issuer, "subject": subject} for subject in _app(world, words["--id"]).subjects]


def _credential_create(world: World, words: Words, stdin: str) -> Any:
    app, given = _app(world, words["--id"]), json.loads(words["--parameters"])
    assert given["issuer"] == "https://token.actions.githubusercontent.com"
    assert given["audiences"] == ["api://AzureADTokenExchange"]
    if given["subject"] in app.subjects:
        refuse(
            "Request_MultipleObjectsWithSameKeyValue", "FederatedIdentityCredential with name github exists."
        )
    app.subjects.append(given["subject"])
    world.make(f"trust {given['subject']}")


READS: dict[str, Handler] = {
    "ad signed-in-user show": _me,
    "ad user show": _user,
    "ad group show": _group_show,
    "ad group member check": _member_check,
    "ad group owner list": _group_owners,
    "ad app list": _app_list,
    "ad app owner list": _app_owners,
    "ad sp owner list": _sp_owners,
    "ad sp show": _sp_show,
    "ad app federated-credential list": _credential_list,
}
CHANGES: dict[str, Handler] = {
    "ad group create": _group_create,
    "ad group member add": _member_add,
    "ad app create": _app_create,
    "ad sp create": _sp_create,
    "ad app federated-credential create": _credential_create,
}
