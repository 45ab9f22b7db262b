"""Knows one deployment: who is signed in, the name of its state, its outputs, and its role assignments."""

import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from operations.bootstrap.tenant import SETTING_PREFIX, Tenant
from operations.cloud import Cloud, ToolFailed, placeholder
from shared.errors import ConfigurationError

STATE_GROUP = "rg-signal-cloud-pulumi"
STATE_CONTAINER = "state"
STATE_KEY = "pulumi"
_ACCOUNT_PREFIX = "stsigpulumi"
# Azure says that a role assignment takes effect within ten minutes.
SPREAD_S = 900.0


class Account(NamedTuple):
    """The subscription and the directory that the Azure CLI is signed in to, and as whom."""

    subscription_id: str
    subscription: str
    directory_id: str
    user: str
    kind: str


class Site:
    """What the steps share. Facts that a step may change are asked each time."""

    def __init__(self, cloud: Cloud, tenant: Tenant, infra: Path, backend_url: str = "") -> None:
        """`infra` is the directory of the program and of the stacks' files.

        `backend_url` is where the state is known to be, as in a workflow, which may not look for it.
        """
        self.cloud = cloud
        self.tenant = tenant
        self.infra = infra
        self._backend_url = backend_url

    @cached_property
    def account(self) -> Account:
        """Raises ConfigurationError if nobody is signed in; a dry run without the tool has placeholders."""
        if self.cloud.dry_run and not self.cloud.has_tool("az"):
            unknown = placeholder("subscription id"), placeholder("subscription"), placeholder("directory id")
            return Account(*unknown, placeholder("user"), "user")
        try:
            found = self.cloud.read("az", "account", "show")
        except ToolFailed as error:
            raise ConfigurationError("Nobody is signed in to Azure: run `az login`.") from error
        user = found["user"]
        return Account(found["id"], found["name"], found["tenantId"], user["name"], user["type"])

    @cached_property
    def operator_id(self) -> str:
        """Object id of the user or application that runs the bootstrap."""
        if self.account.kind == "user":
            found = self.cloud.find("az", "ad", "signed-in-user", "show")
        else:
            found = self.cloud.find("az", "ad", "sp", "show", "--id", self.account.user)
        return str(found["id"]) if found else placeholder("id of the operator")

    @property
    def operator_kind(self) -> str:
        return "User" if self.account.kind == "user" else "ServicePrincipal"

    @cached_property
    def people(self) -> Mapping[str, str]:
        """Object ids of the operator and of all named members, each with its kind of principal."""
        found = {self.operator_id: self.operator_kind}
        for name in self.tenant.members:
            user = self.cloud.find("az", "ad", "user", "show", "--id", name)
            if user is None and not self.cloud.dry_run:
                raise ConfigurationError(f"The directory has no user {name}: correct --member.")
            found[str(user["id"]) if user else name] = "User"
        return found

    @property
    def subscription_scope(self) -> str:
        return f"/subscriptions/{self.account.subscription_id}"

    @property
    def group_scope(self) -> str:
        return f"{self.subscription_scope}/resourceGroups/{self.tenant.group}"

    @cached_property
    def state_account(self) -> str:
        """Name of the storage account of Pulumi's state: the existing one, or that of the stack's suffix."""
        if self._backend_url:
            return self._backend_url.rpartition("storage_account=")[2]
        found = self.cloud.find("az", "storage", "account", "list", "--resource-group", STATE_GROUP) or []
        names = [str(each["name"]) for each in found if str(each["name"]).startswith(_ACCOUNT_PREFIX)]
        if len(names) > 1:
            raise ConfigurationError(
                f"{STATE_GROUP} holds several accounts of a state: {', '.join(sorted(names))}"
            )
        return names[0] if names else f"{_ACCOUNT_PREFIX}{self.tenant.suffix}"

    @property
    def state_vault(self) -> str:
        return f"kv-sig-pulumi-{self.state_account.removeprefix(_ACCOUNT_PREFIX)}"

    @property
    def state_account_scope(self) -> str:
        return self._state_scope("Microsoft.Storage/storageAccounts", self.state_account)

    @property
    def state_vault_scope(self) -> str:
        return self._state_scope("Microsoft.KeyVault/vaults", self.state_vault)

    def _state_scope(self, kind: str, name: str) -> str:
        return f"{self.subscription_scope}/resourceGroups/{STATE_GROUP}/providers/{kind}/{name}"

    @property
    def backend_url(self) -> str:
        return f"azblob://{STATE_CONTAINER}?storage_account={self.state_account}"

    @property
    def secrets_provider(self) -> str:
        return f"azurekeyvault://{self.state_vault}.vault.azure.net/keys/{STATE_KEY}"

    @property
    def pulumi_environment(self) -> Mapping[str, str]:
        # The backend by a variable, so that the sign-in of another project on this machine does not matter.
        return {"PULUMI_BACKEND_URL": self.backend_url, "PULUMI_SKIP_UPDATE_CHECK": "true"}

    def pulumi(self, *words: str, stack: str = "") -> tuple[str, ...]:
        """A command of pulumi for a stack, this one by default."""
        return ("pulumi", *words, "--cwd", str(self.infra), "--stack", stack or self.tenant.stack)

    @property
    def export_secret(self) -> str:
        """The secret of the state's vault that opens this stack's exports of licenses."""
        return f"license-export-{self.tenant.primary or self.tenant.stack}"

    def settings(self, stack: str = "") -> dict[str, str]:
        """A stack's settings; the value of a secret is empty."""
        found = self.find_in_state(*self.pulumi("config", "--json", stack=stack))
        return {
            key.removeprefix(SETTING_PREFIX): str(entry.get("value", ""))
            for key, entry in (found or {}).items()
        }

    def set(self, key: str, value: str, *, stack: str = "") -> None:
        self.cloud.perform(
            *self.pulumi("config", "set", key, value, stack=stack), environment=self.pulumi_environment
        )

    def set_secret(self, key: str, value: str) -> None:
        """Sets a secret, which no argument and no output holds."""
        self.cloud.perform(
            *self.pulumi("config", "set", "--secret", key), stdin=value, environment=self.pulumi_environment,
            until_allowed_s=SPREAD_S,
        )  # fmt: skip

    @cached_property
    def admins_id(self) -> str:
        """Object id of the directory group of the operators; raises ConfigurationError if there is none."""
        found = self.cloud.find("az", "ad", "group", "show", "--group", self.tenant.admins)
        if found:
            self.check_owners("group", str(found["id"]), self.tenant.admins)
            return str(found["id"])
        if self.cloud.dry_run:
            return placeholder(f"id of {self.tenant.admins}")
        raise ConfigurationError(f"There is no group {self.tenant.admins}; the step group makes it.")

    def find_in_state(self, *words: str) -> Any:
        """As `Cloud.find` for a command of pulumi; in a dry run None if there is no state to ask yet."""
        if self.cloud.dry_run and not self._has_state:
            return None
        try:
            return self.cloud.find(*words, environment=self.pulumi_environment)
        except ToolFailed as error:
            if self.cloud.dry_run and error.is_denied:
                return None
            raise

    @cached_property
    def _has_state(self) -> bool:
        found = self.cloud.find(
            "az", "storage", "account", "show", "--name", self.state_account, "--resource-group", STATE_GROUP
        )
        return bool(found)

    def outputs(self, stack: str = "") -> dict[str, str]:
        """A stack's outputs; empty if it was never made."""
        found = self.find_in_state(*self.pulumi("stack", "output", "--json", stack=stack))
        return {key: str(value) for key, value in (found or {}).items()}

    def output(self, name: str, stack: str = "") -> str:
        """One output; raises ConfigurationError if the stack was not made yet."""
        value = self.outputs(stack).get(name)
        if value is not None:
            return value
        if self.cloud.dry_run:
            return placeholder(name.replace("_", " "))
        raise ConfigurationError(
            f"The stack {stack or self.tenant.stack} has no output {name}: it is not made yet."
        )

    def check_owners(self, kind: str, found_id: str, name: str) -> None:
        """Raises ConfigurationError if a group, app or sp of our name belongs to somebody else.

        In most directories every user may make groups and applications, of any name, and the owner of one
        could use each right that it gets.
        """
        option = "--group" if kind == "group" else "--id"
        owners = self.cloud.find("az", "ad", kind, "owner", "list", option, found_id) or []
        strange = [
            each.get("userPrincipalName") or each["id"] for each in owners if each["id"] not in self.people
        ]
        if strange:
            raise ConfigurationError(
                f"The directory's {name} belongs to {', '.join(strange)}, who would have its rights. Name a "
                "colleague with --member; what a stranger made must be deleted first."
            )

    def is_granted(self, role: str, scope: str, principal_id: str) -> bool:
        """Whether the principal itself has the role at this very scope."""
        found = (
            self.cloud.find(
                "az", "role", "assignment", "list", "--role", role, "--scope", scope,
                "--fill-principal-name", "false",
            )
            or []
        )  # fmt: skip
        return any(each["principalId"] == principal_id for each in found)

    def grant(self, role: str, scope: str, principal_id: str, kind: str) -> None:
        """Assigns a role, once."""
        if self.is_granted(role, scope, principal_id):
            return
        self.cloud.change(
            "az", "role", "assignment", "create", "--role", role, "--scope", scope,
            # With the type, Azure does not look up the principal, which its directory may not show yet.
            "--assignee-object-id", principal_id, "--assignee-principal-type", kind,
            # The same name each time, so that a second attempt makes no second assignment.
            "--name", str(uuid.uuid5(uuid.NAMESPACE_URL, f"{role}/{scope}/{principal_id}".lower())),
        )  # fmt: skip

    def join(self, group_id: str, member_id: str) -> None:
        """Makes a principal a member of a group, once."""
        if not self.is_member(group_id, member_id):
            self.cloud.change(
                "az", "ad", "group", "member", "add", "--group", group_id, "--member-id", member_id,
                until_allowed_s=SPREAD_S,
            )  # fmt: skip

    def is_member(self, group_id: str, member_id: str) -> bool:
        found: Any = self.cloud.find(
            "az", "ad", "group", "member", "check", "--group", group_id, "--member-id", member_id
        )
        return bool(found and found["value"])
