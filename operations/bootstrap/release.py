"""Brings a version live: schema, smoke test's key, package, deployment, smoke test, swap."""

import contextlib
import functools
import json
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from operations.bootstrap.site import SPREAD_S, Site
from operations.cloud import ToolFailed, placeholder
from operations.license import INCOMPLETE
from operations.package import ROOT
from operations.process import PYTHON
from shared.errors import ConfigurationError
from shared.version import VERSION

SMOKE_KEY, SMOKE_SYMBOL = "smoke-key", "ES"
# Of Postgres. Pulumi does not know this rule, which exists only while the command needs it.
_FIREWALL, _RULE = ("az", "postgres", "flexible-server", "firewall-rule"), "bootstrap"
# A new Front Door answers everywhere only after some time.
FIRST_ANSWER_S = 1800
_PACKAGE = ROOT / ".local" / "bootstrap" / "app.zip"
# What .funcignore leaves in the package.
_PACKAGED = ("function_app.py", "functions", "shared", "host.json", "requirements.txt")


class Release:
    """The first version of a stack that this machine can reach."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._cloud = site.cloud

    @functools.cached_property
    def version(self) -> str:
        """The version of the commit that is checked out, with a mark if files of the app were changed."""
        commit = _git("rev-parse", "--short=12", "HEAD") or "unknown"
        return f"{VERSION}+{commit}{'changed' if _git('status', '--porcelain', '--', *_PACKAGED) else ''}"

    def is_live(self) -> bool:
        """Whether the version answers at the stack's address."""
        return self._answering("url") == self.version

    def has_any_version(self) -> bool:
        """Whether any version answers at the stack's address."""
        return self._answering("url") is not None

    def is_staged(self) -> bool:
        return self.is_live() or self._answering("staging_url") == self.version

    def _answering(self, output: str) -> str | None:
        """The version that answers at an address of the stack, None if none does."""
        url = self._site.outputs().get(output)
        if not url:
            return None
        try:
            found = self._cloud.find(
                "curl", "--silent", "--show-error", "--fail", "--max-time", "20", f"{url}/api/openapi.json"
            )
            return str(found["info"]["version"])
        except (ToolFailed, TypeError, KeyError):
            return None

    def has_slot(self) -> bool:
        """Whether the plan has a staging slot; Flex Consumption has none."""
        return "staging_url" in self._site.outputs()

    def migrate(self) -> None:
        """Makes the schema and the app's two logins. A migration that is applied already is left out."""
        with self._admitted():
            try:
                self._migrate()
            except ToolFailed as error:
                if self._site.tenant.own_address or "database_unavailable" not in error.internal:
                    raise
                raise ConfigurationError(
                    "The database does not answer. Give --own-address if it does not admit this machine.",
                    internal=error.internal,
                ) from error

    def _migrate(self) -> None:
        output = self._site.output
        self._cloud.perform(
            PYTHON, "-m", "operations.migrate", "apply", "--entra",
            "--login", output("identity_name"), "--login-object-id", output("identity_principal_id"),
            "--jobs-login", output("jobs_identity_name"),
            "--jobs-login-object-id", output("jobs_identity_principal_id"),
            environment={"DATABASE_URL": self._database_url()}, cwd=ROOT, is_shown=True,
        )  # fmt: skip

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        """Lets Postgres of a public stack admit this machine, and takes that back at the end."""
        address = self._site.tenant.own_address
        if not address:
            yield
            return
        rule = (
            "--resource-group", self._site.tenant.group,
            "--server-name", self._site.output("postgres_server"), "--name", _RULE,
        )  # fmt: skip
        self._cloud.change(
            *_FIREWALL, "create", *rule, "--start-ip-address", address, "--end-ip-address", address
        )
        try:
            yield
        finally:
            self._cloud.change(*_FIREWALL, "delete", *rule, "--yes")

    def _database_url(self) -> str:
        # Not through PgBouncer, because a migration's lock belongs to its session.
        user, host = quote(self._site.tenant.admins, safe=""), self._site.output("postgres_host")
        rest = f"{self._site.output('database')}?sslmode=verify-full&sslrootcert=system"
        return f"postgresql://{user}@{host}:5432/{rest}"

    def has_smoke_key(self) -> bool:
        """Whether the vault holds the key; False as long as the operator may not look."""
        try:
            return bool(self._cloud.find(*self._secret("show", SMOKE_KEY)))
        except ToolFailed as error:
            if error.is_denied:
                return False
            raise

    def make_smoke_key(self) -> None:
        """Makes the license of the smoke test and puts its key into the vault.

        If an attempt made the license and lost its key, the key is replaced, and the lost one ends.
        """
        self._await_rights()
        with self._admitted():
            self._make_smoke_key()

    def _make_smoke_key(self) -> None:
        # Of this stack alone: the stacks of two regions share their licenses, and each has its own key.
        account = f"smoke-test-{self._site.tenant.stack}"
        made = self._licenses("list") or []
        license_id = next((each["license_id"] for each in made if each["account_id"] == account), None)
        if license_id is None:
            found = self._licenses("create", "--account", account, "--symbols", SMOKE_SYMBOL)
        else:
            keys = [key for key in self._licenses("show", license_id)["keys"] if key["status"] == "active"]
            command = ("rotate", keys[0]["public_id"], "--overlap", "0s") if keys else ("add-key", license_id)
            found = self._licenses(*command)
        key = found["plain_key"] if found else placeholder("key")
        self._cloud.change(*self._secret("set", SMOKE_KEY), "--file", "/dev/stdin", stdin=key)

    def _await_rights(self) -> None:
        """Reads a table and a secret until the operator may: its roles are new."""
        account = self._site.output("data_storage_account")
        self._cloud.find(
            "az", "storage", "entity", "query", "--table-name", "licenses", "--account-name", account,
            "--auth-mode", "login", "--num-results", "1", until_allowed_s=SPREAD_S,
        )  # fmt: skip
        self._cloud.find(*self._secret("show", SMOKE_KEY), until_allowed_s=SPREAD_S)

    def _secret(self, verb: str, name: str) -> tuple[str, ...]:
        return (
            "az",
            "keyvault",
            "secret",
            verb,
            "--vault-name",
            self._site.output("key_vault"),
            "--name",
            name,
        )

    def _licenses(self, *words: str) -> Any:
        """What the license command prints as JSON; None in a dry run."""
        output = self._site.output
        pepper = self._cloud.find(*self._secret("show", "api-key-pepper"), until_allowed_s=SPREAD_S)
        environment = {
            "AZURE_CLIENT_ID": output("identity_client_id"),
            "WEBPUBSUB_ENDPOINT": output("webpubsub_endpoint"),
            "TABLES_ENDPOINT": f"https://{output('data_storage_account')}.table.core.windows.net",
            "REDIS_URL": f"rediss://{output('redis_host')}:10000/0",
            "DATABASE_URL": self._database_url(),
            "API_KEY_PEPPER": pepper["value"] if pepper else "",
        }
        command = (PYTHON, "-m", "operations.license", *words, "--json")
        try:
            printed = self._cloud.perform(*command, environment=environment, cwd=ROOT)
        except ToolFailed as error:
            # The change is stored; only a follow-up step failed, such as the audit entry.
            if error.answer.status != INCOMPLETE:
                raise
            self._cloud.say(f"  {error.answer.error.strip()}")
            printed = error.answer.output
        return json.loads(printed) if printed else None

    def build(self) -> None:
        """Packs the app with its packages and their bytecode."""
        build = self.version.partition("+")[2]
        self._cloud.perform(
            PYTHON, "-m", "operations.package", "--build", build, "--output", str(_PACKAGE), cwd=ROOT
        )

    def deploy(self) -> None:
        """Deploys the package, to the staging slot if there is one."""
        slot = ("--slot", "staging") if self.has_slot() else ()
        self._cloud.change(
            "az", "functionapp", "deployment", "source", "config-zip",
            "--resource-group", self._site.tenant.group, "--name", self._site.output("app_name"), *slot,
            "--src", str(_PACKAGE), "--build-remote", "false", "--timeout", "900",
        )  # fmt: skip

    def smoke_staged(self) -> None:
        self._smoke("staging_url" if self.has_slot() else "url", self.version)

    def smoke_live(self) -> None:
        self._smoke("url", self.version)

    def _smoke(self, output: str, version: str) -> None:
        secret = self._cloud.find(*self._secret("show", SMOKE_KEY), until_allowed_s=SPREAD_S)
        self._cloud.perform(
            PYTHON, "-m", "operations.smoke", self._site.output(output), "--expect-version", version,
            "--wait", str(FIRST_ANSWER_S), "--symbol", SMOKE_SYMBOL,
            environment={"SIGNAL_CLOUD_KEY": secret["value"] if secret else ""}, cwd=ROOT, is_shown=True,
        )  # fmt: skip

    def swap(self) -> None:
        """Swaps the slot into production; never twice, because the second swap undoes the first."""
        self._cloud.change(
            "az", "functionapp", "deployment", "slot", "swap", "--resource-group", self._site.tenant.group,
            "--name", self._site.output("app_name"), "--slot", "staging", "--target-slot", "production",
        )  # fmt: skip


@functools.cache
def _git(*words: str) -> str:
    """What git prints about this checkout, empty if it is none."""
    try:
        run = subprocess.run(  # noqa: S603 - the words are ours
            ["git", *words],  # noqa: S607 - the user's own git
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
