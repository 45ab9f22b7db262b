"""Holds every document against the tree: commands, settings, routes, links, paths, records, alerts."""

import dataclasses
import re
import subprocess
import tomllib
from typing import Any

import msgspec
import pytest

import function_app  # noqa: F401 - registers every route
from functions.timer_table import TIMERS
from functions.web.routes import declared_routes
from shared.errors import ConfigurationError
from shared.notification_settings import NAMES
from shared.settings import read_settings
from shared.version import VERSION
from tests.support.documents import DOCUMENTS, ROOMS, code_of, made, rows, section, shell_blocks, slug
from tests.support.places import ROOT

# Everything but the changelog, which also names what is no longer there.
PRESENT = {name: text for name, text in DOCUMENTS.items() if name != "CHANGELOG.md"}
README = DOCUMENTS["README.md"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RECIPES = (
    "a route",
    "a query",
    "a plan",
    "a strategy",
    "a mapping of alerts",
    "a timer",
    "a setting",
    "a migration",
    "an alert",
    "a notification",
)
# The platform sets these; no deployment configures them.
PLATFORM_SETTINGS = {f"WEBSITE_{each}" for each in ("HOSTNAME", "INSTANCE_ID", "SITE_NAME")} | {
    "CONTAINER_NAME_FOR_FUNCTIONS",
    "IDENTITY_ENDPOINT",
}
# Names of files that look like names of modules.
FILES_WITH_DOTS = {"local.settings.json", "local.settings.sample.json"}
# Where a make target's options are declared.
COMMAND_MODULES = {
    "bootstrap": ("operations/bootstrap/__main__.py",),
    "migrate": ("operations/migrate.py",),
    "drill": ("operations/restore_drill.py", "operations/exports.py"),
    "license": ("operations/license/parser.py",),
    "package": ("operations/package.py",),
    "infra-preview": ("infra/offline/preview.py",),
}


# Commands

BLOCKS = [(name, block) for name, text in PRESENT.items() for block in shell_blocks(text)]


@pytest.mark.parametrize(("name", "block"), BLOCKS, ids=[f"{n}: {b.splitlines()[0][:30]}" for n, b in BLOCKS])
def test_commands_are_valid_shell(name: str, block: str) -> None:
    # <placeholders> would be redirections.
    run = subprocess.run(
        ["bash", "-n"], input=re.sub(r"<[a-z -]+>", "x", block), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{name}: {run.stderr}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_their_variables_and_options_exist(name: str) -> None:
    for target, rest in made(DOCUMENTS[name]):
        assert re.search(rf"^{target}:.* ##", MAKEFILE, re.MULTILINE), target
        for variable in re.findall(r"\b([A-Z_]+)=", re.sub(r'"[^"]*"', '""', rest)):
            known = re.search(rf"^export .*\b{variable}\b|\$\({variable}\)", MAKEFILE, re.MULTILINE)
            assert known, f"{target} {variable}"
        for option in re.findall(r"--[a-z][a-z-]+", rest) if target in COMMAND_MODULES else ():
            modules = [(ROOT / file).read_text(encoding="utf-8") for file in COMMAND_MODULES[target]]
            takes_it = option == "--help" or any(f'"{option}"' in module for module in modules)
            assert takes_it, f"{target} {option}"


def test_every_make_target_is_in_a_document() -> None:
    targets = set(re.findall(r"^([a-z-]+):.* ##", MAKEFILE, re.MULTILINE))
    named = {target for text in DOCUMENTS.values() for target, _ in made(text)}
    # `make help` shows the rest: what only a maintainer of locks and simulated bars needs.
    assert targets - named <= {"calendars", "clean", "lock", "simulate"}


@pytest.mark.parametrize("name", PRESENT)
def test_modules_that_a_command_starts_exist(name: str) -> None:
    for module in re.findall(rf"python3? -m ((?:{ROOMS})(?:\.\w+)*)", PRESENT[name]):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_the_readmes_tests_are_those_of_continuous_integration() -> None:
    (block,) = shell_blocks(section(README, "Test"))
    script = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()[-1]
    assert block.splitlines() == re.findall(r"make [a-z-]+", script)


# Settings, routes, dependencies


class Asked(dict[str, str]):
    """An environment that remembers which settings were read."""

    def __init__(self, **values: str) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def test_the_readme_names_every_setting_and_no_other() -> None:
    read = {timer.setting for timer in TIMERS}
    for environment in (Asked(), Asked(AZURE_CLIENT_ID="x")):
        with pytest.raises(ConfigurationError):
            read_settings(environment)
        read |= environment.names
    described = {
        name for cells in rows(section(README, "Settings")) for name in re.findall(r"`(\w+)`", cells[0])
    }
    assert described == read - PLATFORM_SETTINGS


def test_the_readme_gives_the_default_of_every_setting() -> None:
    needed = {
        "DATABASE_URL": "postgresql://localhost/x",
        "REDIS_URL": "redis://localhost",
        "TABLES_CONNECTION_STRING": "UseDevelopmentStorage=true",
        "WEBPUBSUB_CONNECTION_STRING": "Endpoint=http://localhost;AccessKey=k;",
        "API_KEY_PEPPER": "p" * 32,
    }
    settings = read_settings(needed)
    telemetry = settings.telemetry
    defaults = {
        field.name.upper(): getattr(settings, field.name) for field in dataclasses.fields(settings)
    } | {
        "CORS_ORIGINS": ",".join(settings.cors_origins),
        "TELEMETRY_FILE": telemetry.file,
        "TELEMETRY_SAMPLE_RATIO": telemetry.sample_ratio,
        "APPLICATIONINSIGHTS_CONNECTION_STRING": telemetry.connection_string,
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": telemetry.client_id,
        "PAYMENT_MODE": settings.payments.mode,
        **dict.fromkeys((*needed, *NAMES), ""),
        **dict.fromkeys(("STRIPE_WEBHOOK_SECRET", "WHOP_WEBHOOK_SECRET", "PAYMENT_PLANS"), ""),
        **{timer.setting: "see functions/timers.toml" for timer in TIMERS},
    }
    for names, default, *_ in list(rows(section(README, "Settings")))[1:]:
        for name in re.findall(r"`(\w+)`", names):
            assert default.replace("`", "") in (str(defaults[name]), str(defaults[name]) or "none"), name


def test_the_readme_names_every_route_with_its_scope_and_no_other() -> None:
    described = {}
    for route, scope, *_ in rows(section(README, "HTTP")):
        for method, path, query in re.findall(r"`([A-Z]+) ([\w./{}-]+)(?:\?([^`]*))?`", route):
            described[method, path] = "public" if scope in ("none", "Web PubSub", "secret") else scope, query
    routes = {(route.method, route.path): route for route in declared_routes()}
    assert {key: scope for key, (scope, _) in described.items()} == {
        key: route.scope for key, route in routes.items()
    }
    for key, (_, query) in described.items():
        if query:
            fields = {field.encode_name for field in msgspec.structs.fields(routes[key].parameters)}
            assert set(re.findall(r"(\w+)=", query)) <= fields, key


def test_the_readme_names_every_direct_dependency_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    direct = {*project["project"]["dependencies"], *(each for group in groups.values() for each in group)}
    name = re.compile(r"[a-z][a-z0-9-]+")
    wanted = {found[0] for each in direct if (found := name.match(each))}
    cells = [cells[0] for cells in rows(section(README, "Dependencies"))]
    described = {each for cell in cells for each in name.findall(re.sub(r"\[.*?\]|<\d+|\(.*?\)", "", cell))}
    assert wanted - described <= {"checkov", "pulumi-policy"}, "these have environments of their own"
    assert described - wanted <= {"deployed", "development", "benchmarks"}, "these head the tables"


# Links and paths


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    text = re.sub(r"```.*?```", "", DOCUMENTS[name], flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        linked = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


@pytest.mark.parametrize("name", PRESENT)
def test_every_path_and_module_that_a_document_names_exists(name: str) -> None:
    for code in code_of(PRESENT[name]):
        if re.fullmatch(rf"(?:(?:{ROOMS})/|\.github/)[\w./-]*", code):
            assert (ROOT / code).exists(), code
        if re.fullmatch(r"(?:functions|shared|infra|loadtests|local|operations|tests)(?:\.[a-z_]+)+", code):
            path = ROOT / code.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file() or code in FILES_WITH_DOTS, code


def test_each_recipe_names_files_and_a_test_that_exist() -> None:
    recipes = re.split(r"^### Add ", section(DOCUMENTS["CONTRIBUTING.md"], "Recipes"), flags=re.MULTILINE)[1:]
    assert tuple(recipe.splitlines()[0] for recipe in recipes) == RECIPES
    for recipe in recipes:
        tests = re.findall(r"`(tests/[\w/]+\.py)`", recipe)
        assert tests, recipe
        assert all((ROOT / path).is_file() for path in tests), tests


# Decisions and the changelog


def test_every_decision_record_is_listed_and_complete() -> None:
    folder = ROOT / "docs/decisions"
    listed = {
        re.findall(r"\((.*?)\)", record)[0]: title
        for record, title in list(rows(DOCUMENTS["docs/decisions/README.md"]))[1:]
    }
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert sorted(listed) == [path.name for path in records]
    assert len({path.name[:4] for path in records}) == len(records), "a number is used twice"
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert text.splitlines()[0] == f"# {path.name[:4]}: {listed[path.name]}"
        headings = [*re.findall(r"^## (.+)$", text, re.MULTILINE)]
        kept = [each for each in headings if each in ("Context", "Decision", "Turned down")]
        assert kept == ["Context", "Decision", "Turned down"], path.name


def test_the_changelog_sorts_changes_by_kind_and_knows_the_version() -> None:
    text = DOCUMENTS["CHANGELOG.md"]
    versions = re.findall(r"^## (\S+)", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert VERSION in versions
    kinds = ["Added", "Changed", "Fixed", "Security"]
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        found = re.findall(r"^### (.+)$", part, re.MULTILINE)
        assert found == [kind for kind in kinds if kind in found], found
        assert not re.findall(r"^- ", part.split("### ")[0], re.MULTILINE), "an entry without a kind"
