"""The rules of docs/architecture.md that a machine can keep."""

import ast
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT

PACKAGES = ("functions", "shared", "local", "loadtests", "examples", "operations", "infra")
MAX_MODULE_LINES = 350
MAX_FUNCTION_LINES = 60
# All that may be loaded before the first request; whatever else a request needs is imported by then.
LOADED_AT_START = {
    "azure",
    "function_app",
    "functions",
    "markupsafe",
    "msgspec",
    "opentelemetry",
    "shared",
    "typing_extensions",
    "werkzeug",
}


def modules(*packages: str) -> list[Path]:
    return sorted(
        path
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if "node_modules" not in path.parts
    )


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_import_rules_hold() -> None:
    run = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # Only the contracts that are broken, if the run got as far as that.
    assert run.returncode == 0, run.stdout.partition("Broken contracts")[2] or run.stdout + run.stderr


@pytest.mark.parametrize("path", modules(*PACKAGES, "tests"), ids=name_of)
def test_modules_stay_short(path: Path) -> None:
    assert path.read_text().count("\n") < MAX_MODULE_LINES


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=name_of)
def test_functions_stay_short(path: Path) -> None:
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES]
    assert not long


def test_examples_import_nothing_of_ours() -> None:
    ours = {"operations", "functions", "shared", "local", "infra", "loadtests", "tests", "function_app"}
    for path in (ROOT / "examples").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported = {(node.module or "").split(".")[0]}
            else:
                continue
            assert not imported & ours, f"{path.name} imports {imported & ours}"


def test_only_settings_reads_the_environment() -> None:
    for path in (ROOT / "shared").rglob("*.py"):
        if path.name == "settings.py":
            continue
        names = {
            node.attr
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        }
        assert not names & {"environ", "getenv", "environb"}, f"{name_of(path)} reads the environment"


def test_sql_lives_in_sql_files() -> None:
    verbs = ("select ", "insert into", "update ", "delete from", "create table")
    for path in (ROOT / "shared").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                found = [t for t in texts if isinstance(t, str) and t.lower().startswith(verbs)]
                assert not found, f"{name_of(path)} holds SQL: {found}"


def test_no_distribution_shadows_our_packages() -> None:
    installed = importlib.metadata.packages_distributions()
    for name in ("functions", "shared", "infra", "local", "operations", "function_app", "loadtests"):
        assert name not in installed, f"{installed.get(name)} would shadow {name} in the worker"


def test_importing_the_app_needs_no_setting_and_loads_little() -> None:
    program = (
        "import sys, json, function_app; function_app.app.get_functions(); "
        "print(json.dumps([m.split('.')[0] for m in sys.modules]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded = {name for name in json.loads(run.stdout) if name.split(".")[0] not in sys.stdlib_module_names}
    loaded = {name for name in loaded if not name.startswith("_")}
    assert loaded <= LOADED_AT_START, f"new at start: {loaded - LOADED_AT_START}"
