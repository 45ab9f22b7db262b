"""Sets up the repository on GitHub: environments, variables, the stack's file, and the workflow Deploy."""

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operations.bootstrap.access import DRILL, PREVIEW, Access
from operations.bootstrap.site import Site
from operations.bootstrap.tenant import settings_in, stack_file
from operations.cloud import ToolFailed, placeholder
from operations.runner import RunnerPlace, is_registered, register_runner, send_jobs_to_runner
from shared.errors import ConfigurationError

BRANCH = "main"
WORKFLOW = "deploy.yml"
# A deployment that makes nothing new takes half an hour, and its reviewers may be asleep.
RUN_S = 4 * 3600.0
POLL_S = 30.0
_UNDER_WAY = ("queued", "in_progress", "waiting", "requested", "pending")
# A rule of the branch, or a branch that has moved since it was read.
_REFUSED = re.compile(r"HTTP (403|409|422)")
_WITHOUT_REVIEWERS = ("dev", "rehearse", PREVIEW, DRILL)


class Hub:
    """The repository's settings for this stack."""

    def __init__(self, site: Site, access: Access) -> None:
        self._site = site
        self._cloud = site.cloud
        self._tenant = site.tenant
        self._access = access

    def is_set_up(self) -> bool:
        return all(
            self._environment(name) is not None and self._lacks(name) == {}
            for name in self._access.environments
        ) and not self._lacks(None)

    def set_up(self) -> None:
        """Makes the environments, and sets the variables that the workflows read."""
        for name in self._access.environments:
            self._make_environment(name)
            for variable, value in self._lacks(name).items():
                self._set(variable, value, "--env", name)
        for variable, value in self._lacks(None).items():
            self._set(variable, value)

    def _set(self, variable: str, value: str, *where: str) -> None:
        self._cloud.perform(
            "gh", "variable", "set", variable, "--body", value, "--repo", self._tenant.repository, *where
        )

    def _environment(self, name: str) -> Any:
        return self._cloud.find("gh", "api", f"repos/{self._tenant.repository}/environments/{name}")

    def _make_environment(self, name: str) -> None:
        """Makes an environment with its protection; an existing one keeps what people have set there."""
        where = f"repos/{self._tenant.repository}/environments/{name}"
        # Pull requests use preview. Each other application may write the state of all stacks.
        only_main = name != PREVIEW
        if self._environment(name) is None:
            protection: dict[str, object] = {
                "reviewers": [] if name in _WITHOUT_REVIEWERS else self._reviewers(),
                "deployment_branch_policy": (
                    {"protected_branches": False, "custom_branch_policies": True} if only_main else None
                ),
            }
            self._cloud.perform(
                "gh", "api", "--method", "PUT", where, "--input", "-", stdin=json.dumps(protection)
            )
        if only_main and not self._has_branch(where):
            self._cloud.perform(
                "gh",
                "api",
                "--method",
                "POST",
                f"{where}/deployment-branch-policies",
                "--field",
                f"name={BRANCH}",
            )

    def _has_branch(self, where: str) -> bool:
        found = self._cloud.find("gh", "api", f"{where}/deployment-branch-policies") or {}
        return any(each["name"] == BRANCH for each in found.get("branch_policies", ()))

    def _reviewers(self) -> list[dict[str, object]]:
        """The people who approve deployments: those who were named, otherwise the user of gh."""
        names = [f"users/{name}" for name in self._tenant.reviewers] or ["user"]
        found = [(name, self._cloud.find("gh", "api", name)) for name in names]
        unknown = [name.rpartition("/")[2] for name, user in found if user is None]
        if unknown and not self._cloud.dry_run:
            raise ConfigurationError(f"GitHub has no user {', '.join(unknown)}: correct --reviewer.")
        return [{"type": "User", "id": user["id"]} for _, user in found if user]

    def _lacks(self, environment: str | None) -> dict[str, str]:
        """The variables that are missing or have another value, of an environment or of the repository."""
        where = ("--env", environment) if environment else ()
        found = self._cloud.find(
            "gh", "variable", "list", "--repo", self._tenant.repository, *where, "--json", "name,value"
        )
        have = {str(each["name"]): str(each["value"]) for each in found or []}
        wanted = self._environment_variables(environment) if environment else self._variables(have)
        return {name: value for name, value in wanted.items() if have.get(name) != value}

    def _environment_variables(self, environment: str) -> dict[str, str]:
        account = self._site.account
        return {
            "AZURE_CLIENT_ID": self._access.client_id(environment),
            "AZURE_TENANT_ID": account.directory_id,
            "AZURE_SUBSCRIPTION_ID": account.subscription_id,
            **({"EXPORT_KEY_VAULT": self._site.state_vault} if environment == DRILL else {}),
        }

    def _variables(self, have: Mapping[str, str]) -> dict[str, str]:
        """Of the repository; other stacks stay in the lists."""
        stacks = have.get("STACKS", "").split()
        return {
            "PULUMI_BACKEND_URL": self._site.backend_url,
            "STACKS": " ".join(stacks if self._tenant.stack in stacks else [*stacks, self._tenant.stack]),
            **self._second_regions(have),
        }

    def _second_regions(self, have: Mapping[str, str]) -> dict[str, str]:
        """By it the deployment of a first region knows whose logins it makes too."""
        if not self._tenant.primary:
            return {}
        known = json.loads(have.get("SECOND_REGIONS", "{}"))
        return {"SECOND_REGIONS": json.dumps({**known, self._tenant.primary: self._tenant.stack})}

    def has_stack_file(self, stack: str = "") -> bool:
        """Whether main on GitHub has a stack's file as it is here; the workflows read it there."""
        found = self._stack_file(BRANCH, stack)
        return found is not None and found[0] == self._local_file(stack).read_bytes()

    def push_stack_file(self, stack: str = "") -> None:
        """Commits a stack's file, whose secrets are encrypted, to main on GitHub, and nothing else."""
        found = self._stack_file(BRANCH, stack)
        content = base64.b64encode(self._local_file(stack).read_bytes()).decode()
        # Without a run of the workflows: a push to main would deploy dev.
        message = f"Configure the stack {stack or self._tenant.stack} [skip ci]"
        body = {"message": message, "content": content, "branch": BRANCH}
        if found:
            body["sha"] = found[1]
        try:
            self._cloud.perform(
                "gh",
                "api",
                "--method",
                "PUT",
                self._stack_file_path(stack),
                "--input",
                "-",
                stdin=json.dumps(body),
            )
        except ToolFailed as error:
            if not _REFUSED.search(error.internal):
                raise
            name = self._local_file(stack).name
            raise ConfigurationError(
                f"GitHub did not accept a commit to {BRANCH}: merge infra/{name} by a pull request.",
                internal=error.internal,
            ) from error

    def deployed_settings(self, stack: str) -> dict[str, str]:
        """The settings of the commit that a stack was last deployed from; empty if the workflow never did."""
        run = next((each for each in self._runs(stack) if each["conclusion"] == "success"), None)
        found = None if run is None else self._stack_file(run["headSha"], stack)
        return {} if found is None else settings_in(found[0])

    def _stack_file(self, ref: str, stack: str) -> tuple[bytes, str] | None:
        """A stack's file at a commit or branch on GitHub and its id there, None if there is none."""
        found = self._cloud.find("gh", "api", f"{self._stack_file_path(stack)}?ref={ref}")
        return (base64.b64decode(found["content"]), found["sha"]) if found else None

    def _local_file(self, stack: str) -> Path:
        return stack_file(self._site.infra, stack or self._tenant.stack)

    def _stack_file_path(self, stack: str) -> str:
        return f"repos/{self._tenant.repository}/contents/infra/{self._local_file(stack).name}"

    def has_runner(self) -> bool:
        """Whether the stack's machine waits for jobs, and the workflows send them to it."""
        place = self._runner_place()
        sends = self._cloud.find("gh", "api", f"repos/{self._tenant.repository}/actions/variables/RUNNERS")
        labels = json.loads(sends["value"]) if sends else {}
        return labels.get(self._tenant.stack) == place.label and is_registered(self._cloud, place)

    def make_runner(self) -> None:
        """Registers the runner on the stack's machine, and lets the workflows send jobs to it."""
        place = self._runner_place()
        if not is_registered(self._cloud, place):
            register_runner(self._cloud, place)
        send_jobs_to_runner(self._cloud, place)

    def _runner_place(self) -> RunnerPlace:
        machine = self._site.output("operations_machine")
        return RunnerPlace(self._tenant.stack, self._tenant.group, machine, self._tenant.repository)

    def has_deployed(self) -> bool:
        """Whether the workflow Deploy has succeeded for the stack; nobody but Front Door can ask its app."""
        return any(each["conclusion"] == "success" for each in self._runs(self._tenant.stack))

    def deploy(self, stack: str = "") -> None:
        """Starts the workflow Deploy, or finds the run that is under way, and waits until it has ended."""
        stack = stack or self._tenant.stack
        before = self._runs(stack)
        run = next((each for each in before if each["status"] in _UNDER_WAY), None)
        if run is None:
            self._cloud.perform(
                "gh", "workflow", "run", WORKFLOW, "--repo", self._tenant.repository, "--ref", BRANCH,
                "--field", f"stack={stack}",
            )  # fmt: skip
            known = {each["databaseId"] for each in before}
            self._cloud.await_until(
                lambda: any(each["databaseId"] not in known for each in self._runs(stack)),
                "GitHub has started the workflow", at_most_s=300,
            )  # fmt: skip
            run = next((each for each in self._runs(stack) if each["databaseId"] not in known), None)
        if run is None:
            self._cloud.say(f"  would wait for {placeholder('run')}")
            return
        self._await(run)

    def _await(self, run: Mapping[str, Any]) -> None:
        self._cloud.say(f"  {run['url']}: its reviewers may have to approve it there")
        deadline = self._cloud.now() + RUN_S
        while True:
            found = self._cloud.read(
                "gh", "run", "view", str(run["databaseId"]), "--repo", self._tenant.repository,
                "--json", "status,conclusion",
            )  # fmt: skip
            if found["status"] == "completed":
                break
            if self._cloud.now() >= deadline:
                raise ConfigurationError(f"The run has not ended after {RUN_S / 3600:g} hours: {run['url']}")
            self._cloud.pause(POLL_S)
        if found["conclusion"] != "success":
            raise ConfigurationError(f"The workflow Deploy ended with {found['conclusion']}: {run['url']}")

    def _runs(self, stack: str) -> list[dict[str, Any]]:
        """The newest runs of the workflow for a stack, the newest first."""
        found = self._cloud.find(
            "gh", "run", "list", "--repo", self._tenant.repository, "--workflow", WORKFLOW,
            "--event", "workflow_dispatch", "--limit", "20",
            "--json", "databaseId,displayTitle,status,conclusion,headSha,url",
        )  # fmt: skip
        title = f"Deploy {stack}"
        return [each for each in found or [] if each["displayTitle"] == title]
