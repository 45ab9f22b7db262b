"""The scripts that search for drift, preview a change and drill a restore do what they say."""

import json
import re
from pathlib import Path

import pytest

from tests.support.workflows import STEPS, Bench, step


def test_a_database_that_is_not_what_it_was_fails_the_drill(bench: Bench) -> None:
    summary = bench.directory / "summary"
    check = step("restore-drill/drill/Compare it with the live database")
    bench.command("make", "echo ok schema")
    assert bench.run(check, LOGIN="app", GITHUB_STEP_SUMMARY=str(summary)).returncode == 0
    bench.command("make", "echo FAILED trades; exit 2")
    assert bench.run(check, LOGIN="app", GITHUB_STEP_SUMMARY=str(summary)).returncode == 2
    assert summary.read_text() == "ok schema\nFAILED trades\n"


# The status of `pulumi preview --expect-no-changes` if there are changes, since 3.226.1.
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
    """A pipe cannot hold so many, so the script must read all of them to get the first."""
    (bench.directory / "comment.md").write_text("#### dev\n")
    bench.command("gh", 'case "$*" in *--paginate*) seq 99 200000 ;; esac')
    run = bench.run(step("preview/preview/Comment"), NUMBER="7", REPOSITORY="o/r", GH_TOKEN="t")
    assert run.returncode == 0, run.stderr
    assert bench.calls[-1].startswith("gh api --method PATCH repos/o/r/issues/comments/99 ")


def test_the_drill_changes_nothing_in_the_stacks_group() -> None:
    changing = re.compile(r"az [a-z -]+(?:create|delete|update|restore) --resource-group \"\$(\w+)\"")
    scripts = "".join(each.script for each in STEPS if each.place.startswith("restore-drill/"))
    assert set(changing.findall(scripts)) == {"DRILL_GROUP"}


@pytest.mark.parametrize("status", [0, 1])
def test_nobody_else_can_read_the_private_key_of_exports_during_the_drill(bench: Bench, status: int) -> None:
    script = step(
        "restore-drill/drill/Restore the newest export of licenses to an account of its own, and compare it "
        "with the live tables"
    )
    bench.command(
        "az",
        """while [ "$#" -gt 0 ]; do
          if [ "$1" = --file ]; then
            echo secret > "$2"
            stat --format %a "$(dirname "$2")" > mode
            echo "$2" > place
          fi
          shift
        done""",
    )
    bench.command("make", f"test -s $(cat place) && exit {status}")
    run = bench.run(
        script, DRILL_GROUP="rg", SCRATCH="stdrill1", EXPORT_KEY_SECRET="https://v/secrets/k",
        GITHUB_STEP_SUMMARY=str(bench.directory / "summary"),
    )  # fmt: skip
    assert run.returncode == status, run.stderr
    assert (bench.directory / "mode").read_text() == "700\n"
    assert not Path((bench.directory / "place").read_text().strip()).exists()


def test_the_drill_deletes_its_own_server_alone(bench: Bench) -> None:
    script = step("restore-drill/drill/Delete the new server")
    bench.command("az")
    assert bench.run(script, DRILL="psql-signal-cloud-prod-x7k2p", DRILL_GROUP="rg").returncode == 1
    assert bench.calls == []
    assert bench.run(script, DRILL="psql-drill-4711", DRILL_GROUP="rg").returncode == 0
    assert "server delete --resource-group rg --name psql-drill-4711" in bench.calls[-1]


def test_a_public_stacks_drill_server_admits_whom_the_live_one_admits(bench: Bench) -> None:
    """GitHub's machines have Azure's addresses. Microsoft does not say that a restore copies the rules."""
    script = step("restore-drill/drill/Let a public stack's server admit whom the live one admits")
    assert script.content["if"] == "steps.stack.outputs.private_network == 'false'"
    rules = "azure-services\\t0.0.0.0\\t0.0.0.0\\ndeployer-0\\t192.0.2.7\\t192.0.2.9\\n"
    bench.command("az", f'case "$*" in *" list "*) printf "{rules}" ;; esac')
    run = bench.run(script, DRILL="psql-drill-1", DRILL_GROUP="rg-drill", GROUP="rg", SOURCE="psql")
    assert run.returncode == 0, run.stderr
    made = [call for call in bench.calls if " create " in call]
    assert [call.partition(" --name ")[2].partition(" --output")[0] for call in made] == [
        "azure-services --start-ip-address 0.0.0.0 --end-ip-address 0.0.0.0",
        "deployer-0 --start-ip-address 192.0.2.7 --end-ip-address 192.0.2.9",
    ]
    assert all("--resource-group rg-drill --server-name psql-drill-1" in call for call in made)
    bench.command("az", "exit 1")
    assert bench.run(script, DRILL="d", DRILL_GROUP="g", GROUP="rg", SOURCE="psql").returncode == 1


def drill_stack(role: str, settings: dict[str, str]) -> str:
    """The command pulumi for a stack of that role with these settings."""
    shown = json.dumps({f"signal-cloud:{key}": {"value": value} for key, value in settings.items()})
    asked = f"""config\\ --json*) echo '{shown}' ;; *" role "*) echo {role} ;;"""
    return f"""case "$*" in {asked} *) echo "a-$3" ;; esac"""


@pytest.mark.parametrize("settings", [{}, {"license_export_key": "the-public-key"}])
def test_the_drill_restores_licenses_of_a_stack_that_exports_them(
    bench: Bench, settings: dict[str, str]
) -> None:
    bench.command("pulumi", drill_stack("active", settings))
    output = bench.directory / "output"
    asking = step("restore-drill/drill/Read the stack's outputs")
    assert bench.run(asking, STACK="lean", GITHUB_OUTPUT=str(output)).returncode == 0
    told = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert told["license_export_key"] == settings.get("license_export_key", "")
    restoring = [
        each
        for each in STEPS
        if each.place.startswith("restore-drill/drill/Restore the newest export of licenses")
    ]
    assert "steps.stack.outputs.license_export_key != ''" in restoring[0].content["if"]


def test_a_passive_stack_is_not_drilled(bench: Bench) -> None:
    bench.command("pulumi", drill_stack("passive", {}))
    asking = step("restore-drill/drill/Read the stack's outputs")
    run = bench.run(asking, STACK="prod", GITHUB_OUTPUT=str(bench.directory / "output"))
    assert run.returncode == 1
    assert "::error::prod is passive" in run.stdout


@pytest.mark.parametrize(("admins", "made"), [("0", True), ("1", False)])
def test_the_drills_server_gets_its_administrator(bench: Bench, admins: str, made: bool) -> None:
    bench.command("az", f'case "$*" in *" list "*) echo {admins} ;; esac')
    script = step("restore-drill/drill/Add the administrator")
    assert bench.run(script, DRILL="d", DRILL_GROUP="rg", ADMIN="a", ADMIN_ID="i").returncode == 0
    assert any("microsoft-entra-admin create" in call for call in bench.calls) == made
