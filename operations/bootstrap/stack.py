"""Makes the stack: its state, its settings, and by `pulumi up` all of its resources."""

import re
import secrets

from operations.bootstrap.site import SPREAD_S, Site
from operations.cloud import ToolFailed, placeholder
from operations.process import PYTHON
from shared.errors import ConfigurationError

UP_TIMEOUT_S = 3 * 3600.0
ATTEMPTS = 3
PAUSE_S = 60.0
PEPPER_BYTES = 48
# A second region's settings, and the outputs of the first one's stack that they are.
_FROM_PRIMARY = {
    "primary_postgres_id": "postgres_server_id",
    "primary_storage_id": "data_storage_account_id",
    "primary_front_door_id": "front_door_id",
    "public_url": "url",
}
# Failures that pass by themselves. `pulumi up` continues where the failed one stopped.
_PASSING = re.compile(
    r"ServerIsBusy|AnotherOperationInProgress|TooManyRequests|GatewayTimeout|ServerTimeout|i/o timeout"
    # A new server of Postgres does not take its administrator at once (Azure/azure-postgresql #127).
    r"|WhenServerIsNotAccessible"
    r"|context deadline exceeded|TLS handshake timeout"
    r"|\b(?:RESPONSE|[Ss]tatus|StatusCode)[=: ]+\"?(?:409|429)\b"
    r"|PrincipalNotFound|could not be validated against the directory"
)
# A refusal by a policy, or a name that is taken, stays as it is.
_LASTING = re.compile(
    r"\[mandatory\]|AlreadyExists|AlreadyTaken|FlagMustBeSetForRestore|already existing resource"
)


class Stack:
    """The stack in Pulumi."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._cloud = site.cloud
        self._tenant = site.tenant
        self._is_loud = False

    def install(self) -> None:
        """Installs the packages of the program and of its policies, each into an environment of its own."""
        environment, policies = self._site.pulumi_environment, self._site.infra / "policies"
        self._cloud.perform("pulumi", "install", "--cwd", str(self._site.infra), environment=environment)
        self._cloud.perform(PYTHON, "-m", "venv", str(policies / ".venv"))
        self._cloud.perform(
            str(policies / ".venv" / "bin" / "python"), "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check", "--requirement", str(policies / "requirements.txt"),
        )  # fmt: skip

    def exists(self) -> bool:
        """Whether the state has the stack; False as long as the operator may not read the state."""
        try:
            found = self._site.find_in_state(
                "pulumi", "stack", "ls", "--json", "--cwd", str(self._site.infra)
            )
        except ToolFailed as error:
            if error.is_denied:
                return False
            raise
        names = {str(each["name"]).rpartition("/")[2] for each in found or []}
        return self._tenant.stack in names

    def init(self) -> None:
        """Signs Pulumi in to the state and makes the stack, whose secrets the key encrypts."""
        site = self._site
        self._cloud.perform("pulumi", "login", site.backend_url, until_allowed_s=SPREAD_S)
        if not self.exists():
            self._cloud.perform(
                "pulumi", "stack", "init", self._tenant.stack, "--secrets-provider", site.secrets_provider,
                "--cwd", str(self._site.infra), environment=site.pulumi_environment, until_allowed_s=SPREAD_S,
            )  # fmt: skip

    def has_settings(self) -> bool:
        return not self._missing_settings() and "api_key_pepper" in self._site.settings()

    def set_settings(self) -> None:
        """Sets the values that the stack lacks, and never changes one."""
        for key, value in self._missing_settings().items():
            self._site.set(key, value)
        if "api_key_pepper" not in self._site.settings():
            self._site.set_secret("api_key_pepper", self._pepper())

    def _pepper(self) -> str:
        """The first region's, or a new one: made here and kept by Pulumi alone.

        Another pepper would make every key unknown.
        """
        primary = self._tenant.primary
        if not primary:
            return secrets.token_urlsafe(PEPPER_BYTES)
        words = self._site.pulumi("config", "get", "api_key_pepper", "--json", stack=primary)
        found = self._site.find_in_state(*words)
        if found is None and not self._cloud.dry_run:
            raise ConfigurationError(f"The stack {primary} has no pepper: make it first.")
        return str(found["value"]) if found else placeholder("pepper")

    def _missing_settings(self) -> dict[str, str]:
        have = self._site.settings()
        wanted = {
            **self._tenant.settings,
            "postgres_admin_object_id": self._site.admins_id,
            "postgres_admin_name": self._tenant.admins,
            **self._of_first_region(),
        }
        if not self._site.outputs():
            # Until the first smoke test has passed, an alarm would only say that nothing is deployed.
            wanted["alerts_quiet"] = "true"
        return {key: value for key, value in wanted.items() if key not in have}

    def _of_first_region(self) -> dict[str, str]:
        """What a second region has from the first one: it follows its database and reads its licenses."""
        primary = self._tenant.primary
        if not primary:
            return {}
        settings = {key: self._site.output(name, primary) for key, name in _FROM_PRIMARY.items()}
        exports = self._site.settings(primary).get("license_export_key")
        return settings | ({"license_export_key": exports} if exports else {})

    def up(self) -> None:
        """Makes every resource; tries again, up to three times, after failures that pass by themselves."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._up()
                break
            except ToolFailed as error:
                said = error.answer.error
                if attempt == ATTEMPTS or _LASTING.search(said) or not _PASSING.search(said):
                    raise
                self._cloud.say(f"  attempt {attempt} met a failure that passes: again in {PAUSE_S:g} s")
                self._cloud.pause(PAUSE_S)

    def _up(self) -> None:
        self._cloud.perform(
            *self._site.pulumi("up", "--policy-pack", "policies", "--yes", "--non-interactive"),
            environment=self._site.pulumi_environment, timeout_s=UP_TIMEOUT_S, busy_for_s=0, is_shown=True,
        )  # fmt: skip
        self._is_loud = self._site.settings().get("alerts_quiet") == "false"

    def is_loud(self) -> bool:
        """Whether this run has deployed the stack with its alerts on."""
        return self._is_loud

    def end_quiet(self) -> None:
        """Lets alerts notify people, now that a version is live."""
        if self._site.settings().get("alerts_quiet") != "false":
            self._site.set("alerts_quiet", "false")
        self.up()
