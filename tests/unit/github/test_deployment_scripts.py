"""The scripts that deploy, swap back and test a deployment do what they say."""

import json

import pytest

from tests.support.workflows import Bench, step


@pytest.mark.parametrize(
    ("live", "swap", "swapped"),
    [
        ("new", "success", True),
        ("old", "success", False),  # another run has swapped back already
        ("", "success", True),  # the new version does not even answer
        ("new", "failure", True),  # the swap reported a failure, but it had succeeded
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
    """Anybody who may push a branch can give a run the title of a deployment, and any package."""
    bench.command("az")
    bench.command(
        "gh",
        """case "$1 $2" in
          "run list") printf '4713 branch\\n4712 tag\\n4711 good\\n4710 older\\n' ;;
          */branch...main) echo diverged ;;
          */tag...main) echo behind ;;
          */*...main) echo ahead ;;
        esac""",
    )
    script = step("deploy/deploy/Deploy the former version again without a slot")
    run = bench.run(script, STACK="dev", GROUP="rg", APP="app", GITHUB_REPOSITORY="o/r")
    assert run.returncode == 0, run.stderr
    assert 'select(.displayTitle == "Deploy dev")' in bench.calls[0]
    assert bench.calls[-2] == "gh run download 4711 --name package --dir former"
    assert "--src former/app.zip" in bench.calls[-1]
    assert not any("/older..." in call for call in bench.calls)


def test_without_a_former_package_it_says_so(bench: Bench) -> None:
    bench.command("az")
    bench.command("gh")
    script = step("deploy/deploy/Deploy the former version again without a slot")
    run = bench.run(script, STACK="dev", GROUP="rg", APP="app", GITHUB_REPOSITORY="o/r")
    assert run.returncode == 1
    assert "nothing to go back to" in run.stdout
    assert [call.split()[:3] for call in bench.calls] == [["gh", "run", "list"]]


NAMES = (
    "url", "role", "app_name", "resource_group", "identity_name", "identity_principal_id",
    "jobs_identity_name", "jobs_identity_principal_id", "postgres_host",
    "database", "key_vault",
)  # fmt: skip


def pulumi(outputs: dict[str, str]) -> str:
    """The command for a stack that has these outputs, and every setting."""
    return f"""case "$1" in stack) echo '{json.dumps(outputs)}' ;; *) echo "a-$3" ;; esac"""


OPTIONAL = ("staging_url", "operations_machine", "operations_bastion")


@pytest.mark.parametrize("slot", [{}, {"staging_url": "https://slot"}, dict.fromkeys(OPTIONAL, "x")])
def test_the_stacks_names_come_from_pulumi_and_a_missing_slot_is_empty(
    bench: Bench, slot: dict[str, str]
) -> None:
    bench.command("pulumi", pulumi({name: f"a-{name}" for name in NAMES} | slot))
    output = bench.directory / "output"
    run = bench.run(step("deploy/deploy/Read the stack's outputs"), STACK="dev", GITHUB_OUTPUT=str(output))
    assert run.returncode == 0, run.stderr
    told = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert told == {name: f"a-{name}" for name in NAMES} | {name: slot.get(name, "") for name in OPTIONAL} | {
        "database_admin": "a-postgres_admin_name"
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


def test_a_passive_stack_is_not_migrated_and_its_smoke_test_knows() -> None:
    """Its database is a read replica."""
    migrating = step("deploy/deploy/Migrate beside the live version")
    assert migrating.content["if"] == "steps.stack.outputs.role == 'active'"
    for name in ("Smoke test of the warm slot", "Smoke test of the live version"):
        assert step(f"deploy/deploy/{name}").content["with"]["role"] == "${{ steps.stack.outputs.role }}"


def test_an_active_stack_makes_the_logins_of_its_second_region(bench: Bench) -> None:
    outputs = {name: f"a-{name}" for name in NAMES}
    bench.command("pulumi", pulumi(outputs))
    bench.command("make")
    making = step("deploy/deploy/Make the logins of the second region")
    assert making.content["if"] == "steps.stack.outputs.role == 'active' && env.SECOND_REGION != ''"
    run = bench.run(making, SECOND_REGION="standby", DATABASE_URL="postgresql://prod")
    assert run.returncode == 0, run.stderr
    assert bench.calls == [
        "pulumi stack output --json --cwd infra --stack standby",
        "make migrate ARGS=apply --entra --login a-identity_name --login-object-id a-identity_principal_id"
        " --jobs-login a-jobs_identity_name --jobs-login-object-id a-jobs_identity_principal_id",
    ]
    bench.command("pulumi", "exit 255")
    assert bench.run(making, SECOND_REGION="standby").returncode == 255


@pytest.mark.parametrize(("value", "warned"), [("true", True), ("false", False), (None, False)])
def test_a_deployment_says_that_alerts_are_still_quiet(bench: Bench, value: str | None, warned: bool) -> None:
    """A first deployment that the bootstrap did not make, or whose file was not merged, would stay silent."""
    shown = {} if value is None else {"signal-cloud:alerts_quiet": {"value": value, "secret": False}}
    bench.command("pulumi", f"echo '{json.dumps(shown)}'")
    run = bench.run(step("deploy/deploy/Say that alerts are still quiet"), STACK="prod")
    assert run.returncode == 0, run.stderr
    assert ("::warning::" in run.stdout) == warned


def test_a_package_that_cannot_be_built_ends_the_run(bench: Bench) -> None:
    output = bench.directory / "output"
    variables = {"GITHUB_SHA": "0123456789abcdef", "GITHUB_OUTPUT": str(output)}
    building = step("deploy/package/Build the package with its bytecode")
    bench.command("make", "echo version 1.2.3+0123456789ab")
    assert bench.run(building, **variables).returncode == 0
    assert output.read_text() == "version=1.2.3+0123456789ab\n"
    bench.command("make", "exit 2")
    assert bench.run(building, **variables).returncode == 2


def test_the_smoke_tests_key_is_masked_before_it_is_used(bench: Bench) -> None:
    bench.command("az", "echo the-key")
    bench.command("make", 'test "$SIGNAL_CLOUD_KEY" = the-key')
    run = bench.run(step("smoke/0"), HOST="https://x", VERSION="1", KEY_VAULT="kv", WAIT="5")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("::add-mask::the-key\n")
    assert bench.calls[-1].endswith("ARGS=--expect-version 1 --wait 5")
    run = bench.run(step("smoke/0"), HOST="h", VERSION="1", KEY_VAULT="kv", WAIT="5", ROLE="passive")
    assert run.returncode == 0, run.stderr
    assert bench.calls[-1].endswith("ARGS=--expect-version 1 --wait 5 --passive")
    bench.command("az", "exit 3")
    assert bench.run(step("smoke/0"), HOST="h", VERSION="1", KEY_VAULT="kv", WAIT="5").returncode == 3
