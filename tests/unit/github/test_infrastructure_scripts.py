"""The scripts that make a stack, reach its network and destroy a rehearsal do what they say."""

import re

import pytest

from tests.support.workflows import Bench, jobs, step

UP = "deploy/deploy/Infrastructure"
# What azure-native, Azure and the network say, as reported in public issues.
PASSING = (
    "RESPONSE 409: 409 Conflict ERROR CODE: ServerIsBusy",
    'Code="ServerIsBusy" Message="Cannot complete operation while server is busy"',
    'Code="AadAuthOperationCannotBePerformedWhenServerIsNotAccessible" Message="not accessible"',
    "RESPONSE 429: 429 Too Many Requests",
    "Status=429 Code=TooManyRequests",
    "Put https://management.azure.com/x: net/http: TLS handshake timeout",
    "context deadline exceeded",
)
LASTING = (
    "error: Code=InvalidParameter: the value 4090 is out of range",
    "RESPONSE 409: 409 Conflict ERROR CODE: VaultAlreadyExists",
    "RESPONSE 409: 409 Conflict ERROR CODE: FlagMustBeSetForRestore",
    "error: cannot create already existing resource /subscriptions/x, RESPONSE 409",
    "RESPONSE 403: 403 Forbidden ERROR CODE: AuthorizationFailed",
    "error: The configuration of stack prod has problems",
    # A policy refuses, whatever else happened in the same run.
    "    [mandatory]  skus (azure-native:web:AppServicePlan: plan) RESPONSE 429: 429",
)


def pulumi_that_fails(bench: Bench, times: int, said: str) -> None:
    """`pulumi up` says `said` and fails so many times, and then succeeds."""
    (bench.directory / "said").write_text(said)
    bench.command("sleep")
    bench.command(
        "pulumi",
        f"""echo x >> tries
        if [ "$(wc -l < tries)" -gt {times} ]; then echo updated; exit 0; fi
        cat said >&2
        exit 255""",
    )


def ups(bench: Bench) -> list[str]:
    return [call for call in bench.calls if call.startswith("pulumi up ")]


@pytest.mark.parametrize("said", PASSING)
def test_a_failure_that_passes_is_tried_again_and_resumes(bench: Bench, said: str) -> None:
    pulumi_that_fails(bench, 2, said)
    run = bench.run(step(UP), STACK="prod")
    assert run.returncode == 0, run.stdout
    assert len(ups(bench)) == 3
    assert [call for call in bench.calls if call.startswith("sleep")] == ["sleep 60", "sleep 120"]
    assert all("--policy-pack policies" in call for call in ups(bench))


@pytest.mark.parametrize("said", PASSING)
def test_it_gives_up_after_three_attempts(bench: Bench, said: str) -> None:
    pulumi_that_fails(bench, 9, said)
    run = bench.run(step(UP), STACK="prod")
    assert run.returncode == 255
    assert said in run.stdout
    assert len(ups(bench)) == 3


@pytest.mark.parametrize("said", LASTING)
def test_what_no_repetition_mends_fails_at_once(bench: Bench, said: str) -> None:
    pulumi_that_fails(bench, 1, said)
    run = bench.run(step(UP), STACK="prod")
    assert run.returncode == 255
    assert said in run.stdout
    assert len(ups(bench)) == 1


def test_a_stack_is_up_after_one_attempt(bench: Bench) -> None:
    pulumi_that_fails(bench, 0, "")
    assert bench.run(step(UP), STACK="dev").returncode == 0
    assert len(ups(bench)) == 1


def tunnel_commands(bench: Bench, ssh: str = "") -> None:
    bench.command("sudo")
    bench.command("sleep")
    bench.command("ssh", ssh)
    bench.command(
        "ssh-keygen",
        'case "$1" in -L) printf "Principals: \\n    deployer@example.com\\n  Critical:" ;; esac',
    )
    bench.command(
        "az",
        """case "$*" in
          "vm show"*) echo /subscriptions/s/vm ;;
          "network vnet show"*) echo 10.40.0.0/22 ;;
          "functionapp show"*) echo 203.0.113.9 ;;
        esac""",
    )


NETWORK = {
    "GROUP": "rg",
    "BASTION": "bas",
    "MACHINE": "vm",
    "NETWORK": "vnet",
    "APP": "func",
}


def test_the_tunnel_carries_the_network_its_names_and_the_site(bench: Bench) -> None:
    tunnel_commands(bench)
    run = bench.run(step("tunnel/0"), **NETWORK)
    assert run.returncode == 0, run.stderr
    # The tunnel runs in the background, so its call may be noted later.
    (opened,) = [call for call in bench.calls if call.startswith("sudo sshuttle --daemon ")]
    assert "--dns" in opened
    assert opened.endswith("--remote deployer@example.com@127.0.0.1:2222 10.40.0.0/22 203.0.113.9/32")
    assert any(
        call.startswith("az network bastion tunnel --resource-group rg --name bas ")
        and "--target-resource-id /subscriptions/s/vm" in call
        for call in bench.calls
    )


def test_a_tunnel_that_does_not_answer_ends_the_deployment(bench: Bench) -> None:
    tunnel_commands(bench, ssh="exit 255")
    run = bench.run(step("tunnel/0"), **NETWORK)
    assert run.returncode == 1
    assert "::error::the tunnel through bas does not answer" in run.stdout
    assert not any("sshuttle --daemon" in call for call in bench.calls)


def test_a_runner_within_the_network_needs_no_tunnel() -> None:
    condition = step("deploy/deploy/Open a tunnel into a private network").content["if"]
    assert "steps.stack.outputs.operations_bastion != ''" in condition
    assert "env.OWN_RUNNER == ''" in condition


def test_a_deployment_makes_the_smoke_tests_key_if_it_is_missing(bench: Bench) -> None:
    """By the step of the bootstrap; tests/unit/operations/test_bootstrap_in_a_workflow.py runs it."""
    making = step("deploy/deploy/Make the smoke test's key if it is missing")
    assert "if" not in making.content
    bench.command("make")
    run = bench.run(making, STACK="prod", GITHUB_REPOSITORY="example/signal-cloud")
    assert run.returncode == 0, run.stderr
    assert bench.calls == [
        "make --silent bootstrap ARGS=--stack prod --repository example/signal-cloud --only smoke-key --yes"
    ]


def test_a_rehearsal_goes_through_the_steps_of_a_deployment() -> None:
    rehearsal = dict(jobs())["rehearse/deploy"]
    assert rehearsal["uses"] == "./.github/workflows/deploy.yml"
    assert rehearsal["with"] == {"stack": "rehearse"}


def test_a_rehearsal_is_destroyed_after_every_end() -> None:
    """Also after a failure or a cancellation, so in a job of its own that always runs."""
    destroying = dict(jobs())["rehearse/destroy"]
    assert destroying["needs"] == "deploy"
    assert destroying["if"] == "${{ always() }}"
    assert destroying["env"]["STACK"] == "rehearse"
    assert "always()" in step("rehearse/destroy/Delete what is left").content["if"]


@pytest.mark.parametrize(
    ("exists", "vaults", "left"),
    [
        ("false", "", []),
        ("true", "", ["az group delete --name rg-signal-cloud-rehearse --yes"]),
        ("false", "kv-signal-rehearsex7k2p", ["az keyvault purge --name kv-signal-rehearsex7k2p"]),
    ],
)
def test_nothing_of_a_rehearsal_is_left(bench: Bench, exists: str, vaults: str, left: list[str]) -> None:
    bench.command("pulumi")
    bench.command(
        "az", f'case "$*" in "group exists"*) echo {exists} ;; *list-deleted*) echo "{vaults}" ;; esac'
    )
    deleting = step("rehearse/destroy/Delete what is left")
    run = bench.run(deleting, STACK="rehearse", GROUP="rg-signal-cloud-rehearse")
    assert run.returncode == 0, run.stderr
    changed = [call for call in bench.calls if re.match(r"az (?:group delete|keyvault purge)", call)]
    assert changed == left
    # The state forgets what went with the group.
    assert any("--clear-pending-creates" in call for call in bench.calls) == (exists == "true")


def test_a_lock_of_a_run_that_was_ended_by_force_does_not_stop_the_destruction(bench: Bench) -> None:
    bench.command("pulumi", 'case "$1" in cancel) exit 255 ;; esac')
    destroying = step("rehearse/destroy/Destroy the stack")
    assert bench.run(destroying, STACK="rehearse").returncode == 0
    assert [call.split()[1] for call in bench.calls] == ["cancel", "destroy"]
    bench.command("pulumi", 'case "$1" in destroy) exit 255 ;; esac')
    assert bench.run(destroying, STACK="rehearse").returncode == 255


@pytest.mark.parametrize(("known", "told"), [("", "gh issue create"), ("7", "gh issue comment 7")])
def test_a_failed_rehearsal_is_reported_once(bench: Bench, known: str, told: str) -> None:
    bench.command("gh", f'case "$*" in "issue list"*) echo "{known}" ;; esac')
    reporting = step("rehearse/destroy/Report a failure in an issue")
    run = bench.run(reporting, RUN="https://x", DEPLOYED="failure", DESTROYED="success")
    assert run.returncode == 0, run.stderr
    assert bench.calls[-1].startswith(told)
    assert "failure" in (bench.directory / "body.md").read_text()
