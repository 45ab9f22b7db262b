"""The program as Pulumi runs it, and how it is built."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.settings.stacks import STACKS, running_stack, stack_from_files

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
COMPONENTS = sorted((INFRA / "components").glob("*.py"))
MAX_MAIN_LINES = 30

# Runs the program as the CLI does: inside its folder, with its configuration in the environment. Mocks
# replace only the engine.
LIKE_PULUMI = """
import asyncio, runpy, sys
import pulumi
from pulumi.runtime import mocks, stack
from pulumi.runtime.settings import set_root_resource

class Engine(mocks.Mocks):
    def new_resource(self, args):
        return args.name, {"name": args.name}
    def call(self, args):
        return {"tenantId": "tenant", "subscriptionId": "subscription"}, []

async def main():
    mocks.set_mocks(Engine(), project="signal-cloud", stack="STACK", preview=True)
    set_root_resource(None)  # the mocks made one, and the program makes its own
    await stack.run_in_stack(lambda: runpy.run_path(".", run_name="__main__"))

try:
    asyncio.run(main())
except pulumi.RunError as error:
    sys.exit(f"error: {error}")
print("made")
"""


def run_like_pulumi(
    stack: str, values: dict[str, str], secrets: frozenset[str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LIKE_PULUMI.replace("STACK", stack)],
        cwd=INFRA,
        env={
            "PATH": os.environ["PATH"],
            "PULUMI_CONFIG": json.dumps({f"signal-cloud:{key}": value for key, value in values.items()}),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps([f"signal-cloud:{key}" for key in secrets]),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_s_configuration_comes_from_pulumi(monkeypatch: pytest.MonkeyPatch) -> None:
    config = stack_from_files("prod")
    foreign = {"azure-native:location": "westus", "signal-cloud:extra": "1"}
    values = {f"signal-cloud:{key}": value for key, value in config.values.items()}
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(values | foreign))
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(["signal-cloud:api_key_pepper", "aws:key"]))
    read = running_stack()
    assert read.values == {**config.values, "extra": "1"}
    assert read.secret_keys == {"api_key_pepper"}


def test_pulumi_runs_the_folder() -> None:
    config = stack_from_files("dev")
    run = run_like_pulumi("dev", dict(config.values), config.secret_keys)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "made\n"


def test_bad_configuration_is_told_without_a_stack_trace() -> None:
    config = stack_from_files("prod")
    values = dict(config.values) | {"plan": "consumption", "colour": "red"}
    run = run_like_pulumi("prod", values, config.secret_keys)
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "error: The configuration of stack prod has problems:",
        "  plan must be one of dedicated, flex, got 'consumption'",
        "  colour is not a setting",
    ]


def test_main_is_a_few_lines() -> None:
    assert len((INFRA / "__main__.py").read_text().splitlines()) <= MAX_MAIN_LINES


@pytest.mark.parametrize("stack", STACKS)
def test_stack_files_explain_themselves(stack: str) -> None:
    lines = (INFRA / f"Pulumi.{stack}.yaml").read_text().splitlines()
    assert lines[0].startswith(f"# {stack}: ")
    assert sum(line.lstrip().startswith("#") for line in lines) >= 3


def test_infra_imports_nothing_of_the_app() -> None:
    for path in INFRA.rglob("*.py"):
        for module in imported(path):
            ours = module.split(".")[0] in {
                "shared",
                "functions",
                "function_app",
                "delivery",
                "operations",
                "local",
                "loadtests",
                "tests",
            }
            assert not ours, f"{path.relative_to(ROOT)} imports {module}"


def test_the_app_does_not_know_infra() -> None:
    # The local host runs timers by the project's one NCRONTAB reader, which needs the standard library alone.
    allowed = {"infra.ncrontab"}
    for package in ("shared", "functions", "local", "loadtests", "examples"):
        for path in (ROOT / package).rglob("*.py"):
            known = {module for module in imported(path) if module.split(".")[0] == "infra"}
            assert known <= (allowed if package == "local" else set()), path
    reader = ROOT / "infra" / "ncrontab.py"
    assert {module.split(".")[0] for module in imported(reader)} <= sys.stdlib_module_names


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_inputs_are_typed_and_no_dictionaries(path: Path) -> None:
    """A typed argument refuses what Azure does not know; headers and tags are mappings by nature."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                untyped = isinstance(keyword.value, ast.Dict) and keyword.arg not in {"headers", "tags"}
                assert not untyped, f"line {node.lineno}: {keyword.arg} is a plain dictionary"


def test_every_requirement_is_pinned() -> None:
    pinned = pins(INFRA / "requirements.txt")
    assert {"pulumi", "pulumi-azure-native"} <= set(pinned)
    # The tests have both in one environment.
    of_the_app = pins(ROOT / "requirements-dev.txt")
    assert {name: of_the_app[name] for name in pinned if name in of_the_app}.items() <= pinned.items()


def pins(path: Path) -> dict[str, str]:
    """Versions by package; raises ValueError for one that is not pinned."""
    found = {}
    for line in filter(None, path.read_text().splitlines()):
        name, version = line.split(";")[0].strip().split("==")
        found[name] = version
    return found
