"""The workflows are valid, name what exists, ask for few rights, and their scripts do what they say."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.workflows import ACTIONS, WORKFLOWS, Bench, Step, jobs, read, step, steps

DEPENDABOT = ROOT / ".github" / "dependabot.yml"
# The file that each kind of update reads in its directories.
MANIFESTS = {
    "pip": "*requirements*.txt",
    "npm": "package-lock.json",
    "github-actions": ".github/workflows/*.yml",
}
STEPS = list(steps())
SCRIPTS = [each for each in STEPS if each.script]
# Actions of others: their makers', by major version, which those move along with their fixes.
_ACTION = re.compile(r"(actions|azure|pulumi)/[a-z-]+@v\d+")
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
    assert [path.stem for path in WORKFLOWS] == ["deploy", "drift", "preview", "restore-drill", "test"]


def test_dependency_updates_find_their_files() -> None:
    updated = set()
    for update in read(DEPENDABOT)["updates"]:
        for directory in update.get("directories") or [update["directory"]]:
            found = list((ROOT / directory.strip("/")).glob(MANIFESTS[update["package-ecosystem"]]))
            assert found, directory
            updated |= set(found)
    own = {
        path
        for manifest in ("*requirements*.txt", "package-lock.json")
        for path in ROOT.rglob(manifest)
        if not {".local", ".venv", "node_modules"} & set(path.relative_to(ROOT).parts)
    }
    assert own <= updated


def test_hooks_run_the_projects_own_tools() -> None:
    for repository in read(ROOT / ".pre-commit-config.yaml")["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            program, *arguments = hook["entry"].split()
            assert (Path(sys.executable).parent / Path(program).name).exists(), hook["id"]
            if arguments[:1] == ["-m"]:
                assert importlib.util.find_spec(arguments[1]), hook["id"]


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
        "issues": {"write"} if path.stem in ("drift", "restore-drill") else set(),
    }
    for name, job in workflow["jobs"].items():
        rights = job.get("permissions", workflow["permissions"])
        assert rights, f"{name} states none"
        for right, level in rights.items():
            assert level in allowed.get(right, set()), f"{name}: {right}: {level}"
        signs_in = any(str(each.get("uses", "")).startswith("azure/login@") for each in job.get("steps", ()))
        assert signs_in == ("id-token" in rights), f"{name} signs in to Azure, or does not"
        assert not signs_in or "environment" in job, f"{name}: Entra ID trusts an environment by its name"


def test_nothing_stored_is_secret() -> None:
    for path in (*WORKFLOWS, *ACTIONS):
        assert "secrets." not in text(path), path.name
        assert "client-secret" not in text(path), path.name


def test_every_run_is_bounded_and_alone() -> None:
    for path in WORKFLOWS:
        assert "concurrency" in read(path), path.stem
    for name, job in jobs():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 150, name
    for stem in ("deploy", "restore-drill", "drift"):
        workflow = read(ROOT / ".github" / "workflows" / f"{stem}.yml")
        assert workflow["concurrency"]["cancel-in-progress"] is False, f"{stem} must not be broken off"


def test_actions_are_their_makers_or_ours() -> None:
    used = [
        str(content["uses"])
        for content in (*(each.content for each in STEPS), *dict(jobs()).values())
        if "uses" in content
    ]
    assert used
    for name in used:
        if name.startswith("./"):
            found = ROOT / name
            assert found.is_file() or (found / "action.yml").is_file(), name
        else:
            assert _ACTION.fullmatch(name), name


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
        source = ROOT / f"{targets[target].replace('.', '/')}.py"
        for option in re.findall(r"--[a-z-]+", arguments):
            assert f'"{option}"' in text(source), f"{source.name} knows no {option}"
        for word in re.findall(r"^(?:plan|apply|observe|check)\b", arguments):
            assert f'"{word}"' in text(source), f"{source.name} knows no {word}"


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
    outputs, settings = text(ROOT / "infra/program.py"), text(ROOT / "infra/settings/keys.py")
    asked = " ".join(each.script for each in SCRIPTS)
    loops = re.findall(r"for name in ([a-z_ ]+); do\n\s*value=\$\((pulumi config|pulumi stack|python)", asked)
    assert len(loops) == 3
    for names, command in loops:
        for name in names.split():
            assert f'"{name}"' in (settings if command == "pulumi config" else outputs), name
    assert '.get("staging_url", "")' in asked
    assert 'outputs["staging_url"]' in outputs
    for name in re.findall(r"pulumi config get (\w+)", asked):
        assert f'"{name}"' in settings, name


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


# The scripts that decide something, run


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("live", "swap", "swapped"),
    [
        ("new", "success", True),
        ("old", "success", False),  # somebody was faster
        ("", "success", True),  # the new version does not even answer
        ("new", "failure", True),  # the swap told of a failure and happened all the same
        ("old", "failure", False),
        ("", "failure", False),
        ("", "cancelled", False),
    ],
)
def test_only_a_version_that_failed_is_swapped_back(
    bench: Bench, live: str, swap: str, swapped: bool
) -> None:
    bench.command("az")
    answer = f"""echo '{{"info": {{"version": "{live}"}}}}'"""
    bench.command("curl", answer if live else "exit 22")
    run = bench.run(
        step("deploy/deploy/Swap back"),
        VERSION="new", SWAP=swap, URL="https://x", GROUP="rg", APP="app",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    swaps = [call for call in bench.calls if call.startswith("az functionapp deployment slot swap")]
    assert len(swaps) == swapped
    assert ("::error::" in run.stdout) == swapped


def test_swapping_back_runs_after_any_end_but_success() -> None:
    """Also after a cancellation, and never where nothing was swapped."""
    condition = step("deploy/deploy/Swap back").content["if"]
    assert "always()" in condition
    assert "steps.swap.outcome != 'skipped'" in condition
    assert "steps.live.outcome != 'success'" in condition


def test_without_slots_the_former_package_is_deployed_again(bench: Bench) -> None:
    bench.command("az")
    bench.command("gh", 'if [ "$1 $2" = "run list" ]; then echo 4711; fi')
    script = step("deploy/deploy/Deploy the former version again without a slot")
    run = bench.run(script, STACK="dev", GROUP="rg", APP="app")
    assert run.returncode == 0, run.stderr
    assert 'select(.displayTitle == "Deploy dev")' in bench.calls[0]
    assert bench.calls[1] == "gh run download 4711 --name package --dir former"
    assert "--src former/app.zip" in bench.calls[2]


def test_without_a_former_package_it_says_so(bench: Bench) -> None:
    bench.command("az")
    bench.command("gh")
    script = step("deploy/deploy/Deploy the former version again without a slot")
    run = bench.run(script, STACK="dev", GROUP="rg", APP="app")
    assert run.returncode == 1
    assert "nothing to go back to" in run.stdout
    assert not [call for call in bench.calls if call.startswith("az")]


NAMES = (
    "url", "app_name", "resource_group", "identity_name", "identity_principal_id", "postgres_host",
    "database", "key_vault",
)  # fmt: skip


def pulumi(outputs: dict[str, str]) -> str:
    """What the command does where a stack has these outputs, and every setting."""
    return f"""case "$1" in stack) echo '{json.dumps(outputs)}' ;; *) echo "a-$3" ;; esac"""


@pytest.mark.parametrize("slot", [{}, {"staging_url": "https://slot"}])
def test_the_stacks_names_come_from_pulumi_and_a_missing_slot_is_empty(
    bench: Bench, slot: dict[str, str]
) -> None:
    bench.command("pulumi", pulumi({name: f"a-{name}" for name in NAMES} | slot))
    output = bench.directory / "output"
    run = bench.run(step("deploy/deploy/Read the stack's outputs"), STACK="dev", GITHUB_OUTPUT=str(output))
    assert run.returncode == 0, run.stderr
    told = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert told == {name: f"a-{name}" for name in NAMES} | {
        "staging_url": slot.get("staging_url", ""),
        "database_admin": "a-postgres_admin_name",
    }


@pytest.mark.parametrize("failing", ["stack output", "config get"])
@pytest.mark.parametrize("place", ["deploy/deploy", "restore-drill/drill"])
def test_a_stack_that_cannot_be_asked_ends_the_run(bench: Bench, place: str, failing: str) -> None:
    """Above all it is no stack without slots, whose new version goes in the place of the old one."""
    outputs = pulumi(dict.fromkeys(NAMES, "x"))
    bench.command("pulumi", f'[ "$1 $2" != "{failing}" ] || exit 255\n{outputs}')
    asking = step(f"{place}/Read the stack's outputs")
    assert bench.run(asking, STACK="prod", GITHUB_OUTPUT=str(bench.directory / "output")).returncode == 255


@pytest.mark.parametrize("name", NAMES)
def test_an_output_that_a_deployment_needs_is_not_left_empty(bench: Bench, name: str) -> None:
    bench.command("pulumi", pulumi({other: "x" for other in NAMES if other != name}))
    run = bench.run(
        step("deploy/deploy/Read the stack's outputs"),
        STACK="dev", GITHUB_OUTPUT=str(bench.directory / "output"),
    )  # fmt: skip
    assert run.returncode == 1
    assert f"KeyError: '{name}'" in run.stderr


def test_a_package_that_cannot_be_built_ends_the_run(bench: Bench) -> None:
    output = bench.directory / "output"
    variables = {"GITHUB_SHA": "0123456789abcdef", "GITHUB_OUTPUT": str(output)}
    building = step("deploy/package/Build the package with its bytecode")
    bench.command("make", "echo version 1.2.3+0123456789ab")
    assert bench.run(building, **variables).returncode == 0
    assert output.read_text() == "version=1.2.3+0123456789ab\n"
    bench.command("make", "exit 2")
    assert bench.run(building, **variables).returncode == 2


def test_a_database_that_is_not_what_it_was_fails_the_drill(bench: Bench) -> None:
    summary = bench.directory / "summary"
    check = step("restore-drill/drill/Compare it with the live database")
    bench.command("make", "echo ok schema")
    assert bench.run(check, LOGIN="app", GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    bench.command("make", "echo FAILED trades; exit 2")
    assert bench.run(check, LOGIN="app", GITHUB_STEP_SUMMARY=str(summary)).returncode == 2
    assert summary.read_text() == "ok schema\nFAILED trades\n"


# What `pulumi preview --expect-no-changes` ends with where there are changes, since 3.226.1.
CHANGES = 7


def test_pulumi_is_one_that_tells_a_difference_from_an_error() -> None:
    (installing,) = (
        each for each in STEPS if str(each.content.get("uses", "")).startswith("pulumi/actions@")
    )
    lowest = re.fullmatch(r"\^3\.(\d+)\.(\d+)", installing.content["with"]["pulumi-version"])
    assert lowest is not None
    assert tuple(map(int, lowest.groups())) >= (226, 1)


def test_drift_of_any_stack_is_found_and_told(bench: Bench) -> None:
    search = step("drift/drift/Compare Azure with the program")
    bench.command("pulumi", "echo all the same")
    assert bench.run(search, STACKS="dev prod").returncode == 0
    bench.command("pulumi", f'case "$*" in *"--stack dev"*) echo a tag changed; exit {CHANGES} ;; esac')
    run = bench.run(search, STACKS="dev prod")
    assert run.returncode == 1
    assert "::error::" not in run.stdout
    assert "### dev" in (bench.directory / "drift.md").read_text()
    assert "### prod" not in (bench.directory / "drift.md").read_text()

    tell = step("drift/drift/Report it in an issue")
    bench.command("gh", 'if [ "$1 $2" = "issue list" ]; then cat known; fi')
    (bench.directory / "known").write_text("")
    assert bench.run(tell, RUN="https://x").returncode == 0
    assert bench.calls[-1] == (
        "gh issue create --title Infrastructure has drifted --label drift --body-file body.md"
    )
    (bench.directory / "known").write_text("12")
    assert bench.run(tell, RUN="https://x").returncode == 0
    assert bench.calls[-1].startswith("gh issue comment 12")
    assert "a tag changed" in (bench.directory / "body.md").read_text()


@pytest.mark.parametrize("status", [1, 3, 4, 255])
def test_a_search_for_drift_that_fails_is_not_told_as_drift(bench: Bench, status: int) -> None:
    search = step("drift/drift/Compare Azure with the program")
    bench.command("pulumi", f'case "$*" in *"--stack dev"*) echo no login; exit {status} ;; esac')
    run = bench.run(search, STACKS="dev prod")
    assert run.returncode == 1
    assert f"::error::dev could not be compared: pulumi preview ended with {status}\n" in run.stdout
    assert not (bench.directory / "drift.md").exists()

    bench.command("gh")
    assert bench.run(step("drift/drift/Report it in an issue"), RUN="https://x").returncode == 0
    made = [call for call in bench.calls if call.startswith("gh issue create")]
    assert made == [
        "gh issue create --title The search for drift failed --label drift-unknown --body-file body.md"
    ]
    assert "no login" in (bench.directory / "body.md").read_text()


def test_drift_of_one_stack_and_a_failure_of_another_are_both_told(bench: Bench) -> None:
    bench.command("pulumi", f'case "$*" in *"--stack dev"*) exit 4 ;; *) exit {CHANGES} ;; esac')
    search = step("drift/drift/Compare Azure with the program")
    assert bench.run(search, STACKS="dev prod").returncode == 1
    bench.command("gh")
    assert bench.run(step("drift/drift/Report it in an issue"), RUN="https://x").returncode == 0
    made = [call for call in bench.calls if call.startswith("gh issue create")]
    assert ["--label drift " in call for call in made] == [True, False]


def test_a_failed_preview_is_still_told_of(bench: Bench) -> None:
    bench.command("pulumi", 'echo "of $5"; case "$*" in *"--stack prod"*) exit 255 ;; esac')
    run = bench.run(step("preview/preview/Preview every stack"), STACKS="dev prod")
    assert run.returncode == 1
    comment = (bench.directory / "comment.md").read_text()
    assert "#### dev" in comment
    assert "of prod" in comment


@pytest.mark.parametrize(("known", "method"), [("", "POST"), ("99", "PATCH")])
def test_a_pull_request_has_one_comment(bench: Bench, known: str, method: str) -> None:
    (bench.directory / "comment.md").write_text("#### dev\n")
    bench.command("gh", f'case "$*" in *--paginate*) echo "{known}" ;; esac')
    run = bench.run(step("preview/preview/Comment"), NUMBER="7", REPOSITORY="o/r", GH_TOKEN="t")
    assert run.returncode == 0, run.stderr
    assert f"--method {method}" in bench.calls[-1]
    assert (bench.directory / "body.md").read_text().startswith("<!-- signal-cloud preview -->\n#### dev")


def test_the_first_of_many_comments_is_written_anew(bench: Bench) -> None:
    """More of them than a pipe holds: whoever reads the first one reads on."""
    (bench.directory / "comment.md").write_text("#### dev\n")
    bench.command("gh", 'case "$*" in *--paginate*) seq 99 200000 ;; esac')
    run = bench.run(step("preview/preview/Comment"), NUMBER="7", REPOSITORY="o/r", GH_TOKEN="t")
    assert run.returncode == 0, run.stderr
    assert bench.calls[-1].startswith("gh api --method PATCH repos/o/r/issues/comments/99 ")


def test_the_drill_changes_nothing_in_the_stacks_group() -> None:
    changing = re.compile(r"az [a-z -]+(?:create|delete|update|restore) --resource-group \"\$(\w+)\"")
    scripts = "".join(each.script for each in STEPS if each.place.startswith("restore-drill/"))
    assert set(changing.findall(scripts)) == {"DRILL_GROUP"}


def test_the_drill_deletes_its_own_server_alone(bench: Bench) -> None:
    script = step("restore-drill/drill/Delete the new server")
    bench.command("az")
    assert bench.run(script, DRILL="psql-signal-cloud-prod-x7k2p", DRILL_GROUP="rg").returncode == 1
    assert bench.calls == []
    assert bench.run(script, DRILL="psql-drill-4711", DRILL_GROUP="rg").returncode == 0
    assert "server delete --resource-group rg --name psql-drill-4711" in bench.calls[-1]


@pytest.mark.parametrize(("admins", "made"), [("0", True), ("1", False)])
def test_the_drills_server_gets_its_administrator(bench: Bench, admins: str, made: bool) -> None:
    bench.command("az", f'case "$*" in *" list "*) echo {admins} ;; esac')
    script = step("restore-drill/drill/Add the administrator")
    assert bench.run(script, DRILL="d", DRILL_GROUP="rg", ADMIN="a", ADMIN_ID="i").returncode == 0
    assert any("microsoft-entra-admin create" in call for call in bench.calls) == made


def test_the_smoke_tests_key_is_masked_before_it_is_used(bench: Bench) -> None:
    bench.command("az", "echo the-key")
    bench.command("make", 'test "$SIGNAL_CLOUD_KEY" = the-key')
    run = bench.run(step("smoke/0"), HOST="https://x", VERSION="1", KEY_VAULT="kv", WAIT="5")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("::add-mask::the-key\n")
    bench.command("az", "exit 3")
    assert bench.run(step("smoke/0"), HOST="h", VERSION="1", KEY_VAULT="kv", WAIT="5").returncode == 3
