"""Registers a runner on a stack's machine: `python -m operations.runner --stack prod --repository acme/bots`.

GitHub gives a token that is valid for an hour. It goes to the machine as a protected parameter of a run
command, which Azure encrypts for the machine and never shows again. It is in no argument and in no file.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from operations.cloud import Cloud, placeholder
from operations.command import run_plainly
from shared.errors import ConfigurationError

# The version of Azure's interface for run commands.
_API_VERSION = "2024-11-01"
_COMMAND = "register-runner"
# A machine that was just made first installs its tools.
_REGISTERED_WITHIN_S = 1800
_ONLINE_WITHIN_S = 120.0
_ENDED = frozenset({"Succeeded", "Failed", "TimedOut", "Canceled"})
_VARIABLE = "RUNNERS"
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[\w.-]+")


@dataclass(frozen=True, slots=True)
class RunnerPlace:
    """Where a stack's jobs run: its virtual machine, and the GitHub repository as `owner/name`."""

    stack: str
    resource_group: str
    machine: str
    repository: str

    @property
    def label(self) -> str:
        """Name and label of the runner."""
        return f"signal-cloud-{self.stack}"


def is_registered(cloud: Cloud, place: RunnerPlace) -> bool:
    """Whether GitHub has a runner of the stack that is online; raises ToolFailed."""
    found = cloud.find("gh", "api", f"repos/{place.repository}/actions/runners?per_page=100")
    runners: list[dict[str, Any]] = (found or {}).get("runners", [])
    return any(each["name"] == place.label and each["status"] == "online" for each in runners)


def register_runner(cloud: Cloud, place: RunnerPlace) -> None:
    """Registers the runner again, and waits until it is online; raises ConfigurationError if it is not."""
    machine = cloud.find(
        "az", "vm", "show", "--resource-group", place.resource_group, "--name", place.machine
    )
    if machine is None and not cloud.dry_run:
        raise ConfigurationError(f"there is no machine {place.machine} in {place.resource_group}")
    token = cloud.change(
        "gh", "api", "--method", "POST", f"repos/{place.repository}/actions/runners/registration-token",
        would_answer={"token": placeholder("registration token")},
    )["token"]  # fmt: skip
    machine = machine or {"id": placeholder("id of the machine"), "location": ""}
    address = f"https://management.azure.com{machine['id']}/runCommands/{_COMMAND}?api-version={_API_VERSION}"
    cloud.change(
        "az", "rest", "--method", "put", "--url", address, "--body", "@-",
        stdin=json.dumps(_run_command(machine["location"], place, token)),
    )  # fmt: skip
    view: dict[str, Any] = {}

    def has_ended() -> bool:
        answer = cloud.read("az", "rest", "--method", "get", "--url", f"{address}&$expand=instanceView")
        view.update(answer["properties"].get("instanceView") or {})
        return view.get("executionState") in _ENDED

    cloud.await_until(has_ended, f"{place.machine} has registered", at_most_s=_REGISTERED_WITHIN_S + 300)
    # Azure keeps only a few run commands of a machine.
    cloud.change("az", "rest", "--method", "delete", "--url", address)
    if not cloud.dry_run and view["executionState"] != "Succeeded":
        said = str(view.get("error") or view.get("output") or "").strip()[-2000:]
        raise ConfigurationError(
            f"the registration on {place.machine} ended as {view['executionState']}", internal=said
        )
    cloud.await_until(
        lambda: is_registered(cloud, place), f"{place.label} is online", at_most_s=_ONLINE_WITHIN_S
    )


def send_jobs_to_runner(cloud: Cloud, place: RunnerPlace) -> None:
    """Writes the stack's runner into the variable RUNNERS, which the workflows read; keeps other stacks."""
    known = cloud.find("gh", "api", f"repos/{place.repository}/actions/variables/{_VARIABLE}")
    runners: dict[str, str] = json.loads(known["value"]) if known else {}
    if runners.get(place.stack) != place.label:
        value = json.dumps({**runners, place.stack: place.label}, sort_keys=True)
        cloud.perform("gh", "variable", "set", _VARIABLE, "--repo", place.repository, "--body", value)


def _run_command(location: str, place: RunnerPlace, token: str) -> dict[str, Any]:
    return {
        "location": location,
        "properties": {
            "source": {"script": "exec /usr/local/sbin/register-runner"},
            "parameters": [
                {"name": "REPOSITORY_URL", "value": f"https://github.com/{place.repository}"},
                {"name": "RUNNER_LABEL", "value": place.label},
            ],
            "protectedParameters": [{"name": "REGISTRATION_TOKEN", "value": token}],
            "timeoutInSeconds": _REGISTERED_WITHIN_S,
        },
    }


def main(argv: Sequence[str] | None = None, cloud: Cloud | None = None) -> int:
    """0 if the runner is online, 1 if not, 2 if an argument cannot be used, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m operations.runner",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stack", required=True, help="the stack whose machine runs the jobs")
    parser.add_argument("--repository", required=True, type=_repository, help="owner/name on GitHub")
    parser.add_argument("--dry-run", action="store_true", help="print every change and make none")
    options = parser.parse_args(argv)
    return run_plainly(lambda: _register(options, cloud or Cloud(dry_run=options.dry_run)))


def _register(options: argparse.Namespace, cloud: Cloud) -> int:
    outputs = cloud.read("pulumi", "stack", "output", "--json", "--cwd", "infra", "--stack", options.stack)
    if "operations_machine" not in outputs:
        raise ConfigurationError(
            f"the stack {options.stack} has no machine: pulumi config set operations_machine true, pulumi up"
        )
    place = RunnerPlace(
        options.stack, outputs["resource_group"], outputs["operations_machine"], options.repository
    )
    register_runner(cloud, place)
    send_jobs_to_runner(cloud, place)
    return 0


def _repository(text: str) -> str:
    if not _REPOSITORY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not owner/name")
    return text


if __name__ == "__main__":
    sys.exit(main())
