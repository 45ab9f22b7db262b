"""Answers for gh: environments, variables, files, and a workflow that deploys a stack as deploy.yml does."""

import base64
import json
from typing import Any

import yaml

from tests.support.stand_in.azure import STORAGE, VAULTS, state_scope
from tests.support.stand_in.words import Words
from tests.support.stand_in.world import (
    DIRECTORY,
    REPOSITORY,
    RUNNER_TOKEN,
    SUBSCRIPTION,
    App,
    Environment,
    Refused,
    Run,
    World,
    guid,
    scope_of,
)

_POLLS = 3
_PEOPLE = {"user": 7, "users/carol": 8}


def is_change(words: Words) -> bool:
    return words.name in ("variable set", "workflow run") or words.get("--method") in ("PUT", "POST")


def answer(world: World, words: Words, stdin: str) -> Any:
    """What the command prints; raises Refused."""
    if words.name == "--version":
        return "gh version 2.80.0 (2026-09-01)"
    if words.name == "api":
        return _api(world, words, stdin)
    if words["--repo"] != REPOSITORY:
        raise Refused("HTTP 404: Not Found")
    if words.name.startswith("variable"):
        return _variables(world, words)
    if words.name == "workflow run":
        stack = words["--field"].removeprefix("stack=")
        world.runs.insert(0, Run(len(world.runs) + 1, stack, files=dict(world.files)))
        world.make(f"run for {stack}")
        return ""
    if words.name == "run list":
        return [
            {
                "databaseId": run.id,
                "displayTitle": f"Deploy {run.stack}",
                "status": run.status,
                "conclusion": run.conclusion,
                "headSha": f"commit{run.id}",
                "url": "https://run",
            }
            for run in world.runs
        ]
    (run_id,) = words.arguments
    return _polled(world, next(run for run in world.runs if run.id == int(run_id)))


def _variables(world: World, words: Words) -> Any:
    if "--env" in words and words["--env"] not in world.environments:
        raise Refused("HTTP 404: Not Found")
    variables = world.environments[words["--env"]].variables if "--env" in words else world.variables
    if words.name == "variable list":
        return [{"name": name, "value": value} for name, value in variables.items()]
    variables[words.arguments[0]] = words["--body"]
    return ""


def _api(world: World, words: Words, stdin: str) -> Any:
    (path,) = words.arguments
    if path in _PEOPLE:
        return {"id": _PEOPLE[path]}
    if path == f"repos/{REPOSITORY}":
        return {"permissions": {"admin": True}, "private": not world.is_public}
    rest = path.removeprefix(f"repos/{REPOSITORY}/")
    if rest.startswith("environments/"):
        return _environment(world, words, stdin, rest.split("/")[1:])
    if rest.startswith("actions/"):
        return _actions(world, rest.removeprefix("actions/"))
    if rest.startswith("contents/"):
        return _file(world, words, stdin, rest.removeprefix("contents/"))
    raise Refused("gh: Not Found (HTTP 404)")


def _actions(world: World, rest: str) -> Any:
    if rest == "runners/registration-token":
        return {"token": RUNNER_TOKEN}
    if rest.startswith("runners?"):
        return {"runners": [{"name": name, "status": "online"} for name in world.runners]}
    name = rest.removeprefix("variables/")
    if name not in world.variables:
        raise Refused("gh: Not Found (HTTP 404)")
    return {"name": name, "value": world.variables[name]}


def _environment(world: World, words: Words, stdin: str, parts: list[str]) -> Any:
    name, method = parts[0], words.get("--method", "GET")
    if method == "PUT":
        given = json.loads(stdin)
        if name not in world.environments:
            world.environments[name] = Environment()
            world.make(f"environment {name}")
        environment = world.environments[name]
        environment.reviewers = [each["id"] for each in given["reviewers"]]
        environment.only_branches = given["deployment_branch_policy"] is not None
        return {"name": name}
    if name not in world.environments:
        raise Refused("gh: Not Found (HTTP 404)")
    environment = world.environments[name]
    if len(parts) == 1:
        return {"name": name}
    if method == "POST":
        if not environment.only_branches:
            raise Refused("gh: Custom branch policies are not enabled (HTTP 404)")
        environment.branches.append(words["--field"].removeprefix("name="))
        world.make(f"branch policy {name}")
        return {}
    return {"branch_policies": [{"name": branch} for branch in environment.branches]}


def _file(world: World, words: Words, stdin: str, path: str) -> Any:
    path, _, ref = path.partition("?ref=")
    if words.get("--method") != "PUT":
        commits = {f"commit{run.id}": run.files for run in world.runs} | {"main": world.files}
        if path not in commits[ref]:
            raise Refused("gh: Not Found (HTTP 404)")
        return {"content": commits[ref][path], "sha": guid(commits[ref][path])}
    given = json.loads(stdin)
    if world.is_protected:
        raise Refused(
            "gh: Repository rule violations found: changes must be made through a pull request (HTTP 409)"
        )
    if path in world.files and given.get("sha") != guid(world.files[path]):
        raise Refused(f"gh: {path} does not match {given.get('sha')} (HTTP 409)")
    world.files[path] = given["content"]
    world.make(f"commit {path} {guid(given['content'])}")
    return {}


def _polled(world: World, run: Run) -> Any:
    """A run waits for its reviewers, works, and ends."""
    run.polls += 1
    run.status = "waiting" if run.polls < _POLLS - 1 else "in_progress"
    if run.polls >= _POLLS and not run.conclusion:
        run.status = "completed"
        run.problem = _problem(world, run.stack)
        run.conclusion = "failure" if run.problem else "success"
        if not run.problem:
            _make_live(world, run.stack)
    return {"status": run.status, "conclusion": run.conclusion}


def _make_live(world: World, stack: str) -> None:
    deployed = world.deployed[stack]
    deployed.is_migrated = True
    second = json.loads(world.variables.get("SECOND_REGIONS", "{}")).get(stack)
    if second is not None:
        world.deployed[second].is_migrated = True
        deployed.second_origin = _config(world, stack).get("signal-cloud:second_origin_host", "")
    if f"smoke-test-{stack}" not in deployed.licenses:
        deployed.licenses[f"smoke-test-{stack}"] = "Ab12Cd"
        world.make(f"license smoke-test-{stack}")
    world.vaults[deployed.outputs["key_vault"]].secrets.setdefault("smoke-key", "sc_live_Ab12Cd")
    deployed.live = "0.1.0+main"


def _problem(world: World, stack: str) -> str:
    """Why the workflow would fail on GitHub, empty if it would not."""
    environment = world.environments.get(stack, Environment())
    wanted = {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID"}
    if not wanted <= set(environment.variables):
        return "the environment has no identity"
    app = next(
        (each for each in world.apps.values() if each.app_id == environment.variables["AZURE_CLIENT_ID"]),
        None,
    )
    subject = f"repo:{REPOSITORY}:environment:{stack}"
    if app is None or subject not in app.subjects or environment.variables["AZURE_TENANT_ID"] != DIRECTORY:
        return "Entra ID does not trust the environment"
    if environment.branches != ["main"] or not environment.reviewers:
        return "the environment is not protected"
    config = _config(world, stack)
    if "signal-cloud:api_key_pepper" not in config:
        return "the file of the stack has no pepper"
    if "signal-cloud:primary_postgres_id" in config and not world.deployed[stack].is_migrated:
        return "the database has no login of the second region"
    label = json.loads(world.variables.get("RUNNERS", "{}")).get(stack)
    return _missing_right(world, app, stack) if label in world.runners else "no runner takes the job"


def _config(world: World, stack: str) -> dict[str, str]:
    document = yaml.safe_load(base64.b64decode(world.files.get(f"infra/Pulumi.{stack}.yaml", "e30=")))
    return dict(document["config"]) if "secretsprovider" in document else {}


def _missing_right(world: World, app: App, stack: str) -> str:
    account = world.variables["PULUMI_BACKEND_URL"].rpartition("=")[2]
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-signal-cloud-{stack}"
    vault = next(iter(name for name in world.vaults if name.startswith("kv-sig-pulumi")))
    container = f"{state_scope(STORAGE, account)}/blobServices/default/containers/state"
    own = world.deployed[stack].outputs["key_vault"]
    data = world.deployed[stack].outputs["data_storage_account_id"]
    for role, scope in (
        ("Contributor", group),
        ("Role Based Access Control Administrator", group),
        ("Storage Blob Data Contributor", container),
        ("Key Vault Crypto User", f"{state_scope(VAULTS, vault)}/keys/pulumi"),
        ("Key Vault Secrets Officer", scope_of(f"rg-signal-cloud-{stack}", VAULTS, own)),
        ("Storage Table Data Contributor", data),
    ):
        given = {(each.role, each.scope) for each in world.roles if each.principal == app.principal}
        if (role, scope) not in given:
            return f"no {role} over {scope}"
    if not any(app.principal in each.members for each in world.directory_groups.values()):
        return "not a member of the database's administrators"
    return ""
