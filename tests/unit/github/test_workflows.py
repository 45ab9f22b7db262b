"""The workflows are valid, name what exists, and ask for few rights."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.settings.stacks import STACKS
from tests.support.places import ROOT
from tests.support.workflows import ACTIONS, DEPENDABOT, STEPS, WORKFLOWS, Step, jobs, read

SCRIPTS = [each for each in STEPS if each.script]
# Actions of others: their makers', by commit, because a tag can be moved to other code. The comment with the
# version is for people, and the update bot changes it together with the commit.
_ACTION = re.compile(r"((?:actions|azure|pulumi)/[a-z-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)")
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


def place(each: Step) -> str:
    return each.place


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.github-actions", ACTIONS),
        ("vendor.dependabot", [DEPENDABOT]),
    ],
)
def test_they_are_valid_by_githubs_schema(schema: str, files: list[Path]) -> None:
    assert files
    run = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_there_is_a_workflow_for_each_part_of_delivery() -> None:
    assert [path.stem for path in WORKFLOWS] == [
        "deploy",
        "drift",
        "preview",
        "rehearse",
        "restore-drill",
        "test",
    ]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_are_stated_and_few(path: Path) -> None:
    """Nothing by default; each job says what it needs, and why it could need more is in the list here."""
    workflow = read(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    allowed = {
        "contents": {"read"},
        "id-token": {"write"},  # to sign in to Azure
        "actions": {"read"},  # to find an earlier package
        "pull-requests": {"write"} if path.stem == "preview" else set(),
        "issues": {"write"} if path.stem in ("drift", "rehearse", "restore-drill") else set(),
    }
    for name, job in workflow["jobs"].items():
        rights = job.get("permissions", workflow["permissions"])
        assert rights, f"{name} states none"
        for right, level in rights.items():
            assert level in allowed.get(right, set()), f"{name}: {right}: {level}"
        signs_in = any(str(each.get("uses", "")).startswith("azure/login@") for each in job.get("steps", ()))
        # A called workflow signs in by itself, and gets no more rights than its caller.
        signs_in_there = job.get("uses") == "./.github/workflows/deploy.yml"
        assert (signs_in or signs_in_there) == ("id-token" in rights), (
            f"{name} signs in to Azure, or does not"
        )
        assert not signs_in or "environment" in job, f"{name}: Entra ID trusts an environment by its name"


def test_no_preview_runs_code_of_a_fork_or_of_an_unread_version_of_a_package() -> None:
    """Its identity can decrypt the stacks' secrets."""
    condition = read(ROOT / ".github/workflows/preview.yml")["jobs"]["preview"]["if"]
    assert condition.split(" && ") == [
        "github.event.pull_request.head.repo.full_name == github.repository",
        "github.event.pull_request.user.login != 'dependabot[bot]'",
    ]


def test_nothing_stored_is_secret() -> None:
    for path in (*WORKFLOWS, *ACTIONS):
        assert "secrets." not in text(path), path.name
        assert "client-secret" not in text(path), path.name


def test_every_run_is_bounded_and_alone() -> None:
    for path in WORKFLOWS:
        assert "concurrency" in read(path), path.stem
    for name, job in jobs():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 150, name
    for stem in ("deploy", "restore-drill", "drift", "rehearse"):
        workflow = read(ROOT / ".github" / "workflows" / f"{stem}.yml")
        assert workflow["concurrency"]["cancel-in-progress"] is False, f"{stem} must not be broken off"


def test_actions_are_ours_or_their_makers_by_commit() -> None:
    commits: dict[str, set[tuple[str, str]]] = {}
    for path in (*WORKFLOWS, *ACTIONS):
        for name in re.findall(r"^\s*(?:- )?uses: (.+)$", text(path), re.MULTILINE):
            if name.startswith("./"):
                found = ROOT / name
                assert found.is_file() or (found / "action.yml").is_file(), name
                continue
            pinned = _ACTION.fullmatch(name)
            assert pinned, f"{path.name}: {name}"
            commits.setdefault(pinned[1], set()).add((pinned[2], pinned[3]))
    assert set(commits) >= {"actions/checkout", "azure/login", "pulumi/actions"}
    assert all(len(used) == 1 for used in commits.values()), "one action, two versions"


def test_a_checkout_keeps_no_token() -> None:
    for each in STEPS:
        if str(each.content.get("uses", "")).startswith("actions/checkout@"):
            assert each.content["with"]["persist-credentials"] is False, each.place


@pytest.mark.parametrize("each", SCRIPTS, ids=place)
def test_scripts_are_valid_shell_without_expressions_in_them(each: Step) -> None:
    """What an expression would paste into a script could be anybody's text: values come as variables."""
    assert not _EXPRESSION.search(each.script)
    run = subprocess.run(["bash", "-n"], input=each.script, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_every_script_ends_at_a_failure_within_a_pipe() -> None:
    """GitHub runs bash with pipefail only where a workflow names bash."""
    for path in WORKFLOWS:
        assert read(path)["defaults"] == {"run": {"shell": "bash"}}, path.stem
    assert {each.shell for each in SCRIPTS} == {"bash"}


@pytest.mark.parametrize("each", SCRIPTS, ids=place)
def test_no_failure_is_lost_in_the_arguments_of_a_command(each: Step) -> None:
    """The status of `echo "x=$(false)"` is echo's; of `x=$(false)` it is that of false."""
    assert not re.search(r"^\s*(?:echo|printf|export|local)\b.*\$\(", each.script, re.MULTILINE)


@pytest.mark.parametrize("each", SCRIPTS, ids=place)
def test_scripts_name_make_targets_and_options_that_exist(each: Step) -> None:
    targets = dict(
        re.findall(
            r"^([a-z-]+): ##.*\n(?:\t@\$\(PROJECT_PYTHON\) -m ([\w.]+))?",
            text(ROOT / "Makefile"),
            re.MULTILINE,
        )
    )
    for target, arguments in re.findall(r'\bmake (?:--silent )?([a-z-]+)(?: ARGS="([^"]*)")?', each.script):
        assert target in targets, target
        module = ROOT / targets[target].replace(".", "/")
        # A package, or a module that takes options from others of its folder.
        sources = "".join(map(text, (module if module.is_dir() else module.parent).glob("*.py")))
        for option in re.findall(r"--[a-z-]+", arguments):
            assert f'"{option}"' in sources, f"{targets[target]} knows no {option}"
        for word in re.findall(r"^(?:plan|apply|observe|check|licenses)\b", arguments):
            assert f'"{word}"' in sources, f"{targets[target]} knows no {word}"


def test_what_a_step_takes_from_another_is_there() -> None:
    for name, job in jobs():
        known = {each["id"]: str(each.get("run", "")) for each in job.get("steps", ()) if "id" in each}
        for number, each in enumerate(job.get("steps", ())):
            for source, output in re.findall(r"steps\.(\w+)\.outputs\.(\w+)", str(each)):
                assert re.search(rf"\b{output}\b", known[source]), f"{name}: {source} tells no {output}"
                earlier = [other.get("id") for other in job["steps"][:number]]
                assert source in earlier, f"{name}: {source} comes later"
            for source in re.findall(r"steps\.(\w+)\.outcome", str(each)):
                assert source in known, f"{name}: there is no step {source}"


def test_variables_that_scripts_use_are_given() -> None:
    """Each upper-case variable is the step's, the job's, an earlier step's, or the runner's own."""
    of_runner = {
        "GITHUB_ENV",
        "GITHUB_OUTPUT",
        "GITHUB_REPOSITORY",
        "GITHUB_SHA",
        "GITHUB_STEP_SUMMARY",
        "SECONDS",
        "PULUMI_BACKEND_URL",
    }
    given_by_job = {name: set(job.get("env", {})) for name, job in jobs()}
    for each in SCRIPTS:
        given = set(each.content.get("env", {})) | given_by_job.get(
            "/".join(each.place.split("/")[:2]), set()
        )
        made = set(re.findall(r"\b([A-Z_]{3,})=", each.script)) | (
            {"MOMENT"} if "restore-drill" in each.place else set()
        )
        used = set(re.findall(r"\$\{?([A-Z_]{2,})\b", each.script))
        assert used <= given | made | of_runner, f"{each.place}: {used - given - made - of_runner}"


def test_what_is_asked_of_pulumi_exists() -> None:
    outputs = text(ROOT / "infra/program.py")
    settings = "".join(text(path) for path in (ROOT / "infra/settings").glob("*keys.py"))
    asked = " ".join(each.script for each in SCRIPTS)
    loops = re.findall(r"for name in ([a-z_ ]+); do\n\s*value=\$\((pulumi config|pulumi stack|python)", asked)
    assert len(loops) == 4
    for names, command in loops:
        for name in names.split():
            assert f'"{name}"' in (settings if command == "pulumi config" else outputs), name
    for name in ("staging_url", "operations_machine", "operations_bastion"):
        # Not every stack has them.
        assert f'outputs["{name}"]' in outputs
    for name in re.findall(r"pulumi config get (\w+)", asked):
        assert f'"{name}"' in settings, name


def test_every_stack_that_stays_can_be_deployed_and_a_rehearsal_only_by_its_own_workflow() -> None:
    # YAML 1.2 reads `on` as a text.
    chosen = read(ROOT / ".github/workflows/deploy.yml")["on"]["workflow_dispatch"]["inputs"]["stack"]
    assert set(STACKS) - {"rehearse"} <= set(chosen["options"])
    assert "rehearse" not in chosen["options"]


def test_paths_in_scripts_exist() -> None:
    asked = " ".join(each.script for each in SCRIPTS)
    for path in {*re.findall(r"infra/[\w./-]+\.txt", asked), *re.findall(r"--cwd ([\w./-]+)", asked)}:
        assert (ROOT / path).exists(), path
    for pack in set(re.findall(r"--policy-pack ([\w./-]+)", asked)):
        assert (ROOT / "infra" / pack / "PulumiPolicy.yaml").exists(), pack
    assert '"vnet-signal-cloud-$STACK"' in asked
    assert "--name endpoints" in asked
    assert 'name="endpoints"' in text(ROOT / "infra/components/network.py")


def test_a_deployment_goes_in_the_one_order_that_is_safe() -> None:
    names = [each.get("name", "") for each in dict(jobs())["deploy/deploy"]["steps"]]
    order = [
        "Infrastructure",
        "Migrate beside the live version",
        "Deploy to the staging slot",
        "Smoke test of the warm slot",
        "Swap",
        "Smoke test of the live version",
        "Swap back",
    ]
    assert [name for name in names if name in order] == order
    assert set(dict(jobs())["deploy/deploy"]["needs"]) == {"test", "package"}
