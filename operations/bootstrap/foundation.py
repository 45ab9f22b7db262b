"""Prepares a subscription: tools, resource providers, groups, Pulumi's state, and rights to it."""

import functools
import re
from collections.abc import Callable

from infra.offline.recording import record_stack
from operations.bootstrap.site import SPREAD_S, STATE_CONTAINER, STATE_GROUP, STATE_KEY, Site
from operations.cloud import ToolFailed
from shared.errors import ConfigurationError

PROVIDERS_S = 1200.0
# The first versions with the options and exit statuses that this command and the workflows use.
VERSIONS = {"az": (2, 60, 0), "gh": (2, 40, 0), "pulumi": (3, 226, 1)}
_VERSION_COMMANDS = {"az": ("az", "version"), "gh": ("gh", "--version"), "pulumi": ("pulumi", "version")}
# Each set of roles allows to make resources and to assign roles.
_OWNERS = (
    {"Owner"},
    {"Contributor", "User Access Administrator"},
    {"Contributor", "Role Based Access Control Administrator"},
)
# None of our resources is of their types: Flex Consumption in a network belongs to the first, and Application
# Insights makes an alert rule of the second by itself. The state is in the others.
_PROVIDERS_BESIDE = {"Microsoft.App", "Microsoft.AlertsManagement", "Microsoft.KeyVault", "Microsoft.Storage"}
# They are registered in each subscription and cannot be registered by hand.
_ALWAYS_REGISTERED = {"Microsoft.Authorization", "Microsoft.Resources", "Microsoft.Consumption"}
# What the operator does with the state by the bootstrap, and what an owner may not do without these roles.
STATE_ROLES = ("Storage Blob Data Contributor", "Key Vault Crypto Officer", "Key Vault Secrets Officer")


class Foundation:
    """Everything before the stack itself."""

    def __init__(self, site: Site, confirm: Callable[[str], bool]) -> None:
        self._site = site
        self._cloud = site.cloud
        self._tenant = site.tenant
        self._confirm = confirm

    def check_tools(self) -> None:
        """Checks versions, sign-in and rights, and asks whether subscription and repository are meant."""
        site, say = self._site, self._cloud.say
        problems = [problem for tool in VERSIONS if (problem := self._tool_problem(tool))]
        if problems and self._cloud.dry_run:
            say(f"  note: {'; '.join(problems)}")
        elif problems:
            raise ConfigurationError("; ".join(problems))
        account = site.account
        say(f"  subscription {account.subscription} ({account.subscription_id})")
        say(f"  directory    {account.directory_id}, as {account.user}")
        say(f"  repository   {self._tenant.repository}")
        if self._cloud.dry_run:
            return
        self._check_rights()
        question = f"Make stack {self._tenant.stack} in subscription {account.subscription}?"
        if not self._confirm(question):
            raise ConfigurationError("Nothing was changed: the answer was not yes.")

    def _tool_problem(self, tool: str) -> str:
        wanted = ".".join(map(str, VERSIONS[tool]))
        if not self._cloud.has_tool(tool):
            return f"{tool} is not installed: {wanted} or later is needed"
        found = re.search(r"([0-9]+)\.([0-9]+)\.([0-9]+)", self._cloud.text(*_VERSION_COMMANDS[tool]))
        if found is None or tuple(map(int, found.groups())) < VERSIONS[tool]:
            return f"{tool} is version {found[0] if found else 'unknown'}: {wanted} or later is needed"
        return ""

    def _check_rights(self) -> None:
        site = self._site
        found = self._cloud.read(
            "az", "role", "assignment", "list", "--assignee-object-id", site.operator_id,
            "--scope", site.subscription_scope, "--include-inherited", "--include-groups",
            "--fill-principal-name", "false",
        )  # fmt: skip
        roles = {each["roleDefinitionName"] for each in found or []}
        if not any(owner <= roles for owner in _OWNERS):
            raise ConfigurationError(
                f"{site.account.user} must be Owner of the subscription, or Contributor and User Access "
                f"Administrator. Found: {', '.join(sorted(roles)) or 'no role'}."
            )
        try:
            repository = self._cloud.read("gh", "api", f"repos/{self._tenant.repository}")
        except ToolFailed as error:
            raise ConfigurationError(
                f"GitHub does not show {self._tenant.repository}: run `gh auth login`, or mend --repository.",
                internal=error.internal,
            ) from error
        if self._tenant.is_private and not repository["private"]:
            raise ConfigurationError(
                f"{self._tenant.repository} is public: everyone who opens a pull request could run code on "
                "the runner in the network. Deploy a private stack from a private repository."
            )
        if not repository["permissions"]["admin"]:
            raise ConfigurationError(
                f"The GitHub user must be an administrator of {self._tenant.repository}, because the command "
                "sets environments and variables there."
            )

    def are_providers_registered(self) -> bool:
        return not self._unregistered()

    def register_providers(self) -> None:
        """Registers the resource providers of the stack's resources, and waits until Azure has done so."""
        for provider, state in self._unregistered().items():
            if state != "Registering":
                self._cloud.change("az", "provider", "register", "--namespace", provider)
        self._cloud.await_until(
            self.are_providers_registered, "all resource providers are registered", at_most_s=PROVIDERS_S
        )

    def _unregistered(self) -> dict[str, str]:
        states = {
            str(each["namespace"]).lower(): str(each["registrationState"])
            for each in self._cloud.find("az", "provider", "list") or []
        }
        wanted = {name: states.get(name.lower(), "NotRegistered") for name in providers(self._tenant.stack)}
        return {name: state for name, state in wanted.items() if state != "Registered"}

    def has_group(self) -> bool:
        """Whether the operators' group exists and the operator and all named members are in it."""
        group = self._cloud.find("az", "ad", "group", "show", "--group", self._tenant.admins)
        return bool(group) and all(
            self._site.is_member(self._site.admins_id, member) for member in self._site.people
        )

    def make_group(self) -> None:
        """Makes the directory group that administers the database, with its members."""
        name = self._tenant.admins
        if not self._cloud.find("az", "ad", "group", "show", "--group", name):
            # az returns an existing group of both names and makes no second one.
            self._cloud.change("az", "ad", "group", "create", "--display-name", name, "--mail-nickname", name)
            self._cloud.await_until(
                lambda: bool(self._cloud.find("az", "ad", "group", "show", "--group", name)),
                f"the directory shows the group {name}", at_most_s=SPREAD_S,
            )  # fmt: skip
        for member in self._site.people:
            self._site.join(self._site.admins_id, member)

    def has_state(self) -> bool:
        return self._has_account() and self._has_vault() and self._keeps_versions()

    def make_state(self) -> None:
        """Makes the group, the storage account and the key vault of Pulumi's state."""
        cloud, site, tags = self._cloud, self._site, self._tenant.tags
        in_group = ("--resource-group", STATE_GROUP)
        if not cloud.find("az", "group", "show", "--name", STATE_GROUP):
            cloud.change(
                "az", "group", "create", "--name", STATE_GROUP, "--location", self._tenant.state_location,
                "--tags", *tags,
            )  # fmt: skip
        if not self._has_account():
            cloud.change(
                "az", "storage", "account", "create", "--name", site.state_account, *in_group,
                "--location", self._tenant.state_location, "--sku", "Standard_GZRS",
                "--allow-shared-key-access", "false", "--min-tls-version", "TLS1_2",
                "--allow-blob-public-access", "false", "--tags", *tags,
            )  # fmt: skip
        if not self._keeps_versions():
            cloud.change(
                "az", "storage", "account", "blob-service-properties", "update",
                "--account-name", site.state_account, *in_group, "--enable-versioning", "true",
            )  # fmt: skip
        if self._has_vault():
            return
        deleted = cloud.find("az", "keyvault", "list-deleted", "--resource-type", "vault") or []
        if any(each["name"] == site.state_vault for each in deleted):
            # Purge protection keeps its name, and its key still decrypts the state.
            cloud.change("az", "keyvault", "recover", "--name", site.state_vault, *in_group)
        else:
            cloud.change(
                "az", "keyvault", "create", "--name", site.state_vault, *in_group, "--location",
                self._tenant.state_location, "--enable-rbac-authorization", "true",
                "--enable-purge-protection", "true", "--tags", *tags,
            )  # fmt: skip

    def _has_account(self) -> bool:
        account = self._site.state_account
        return bool(
            self._cloud.find(
                "az", "storage", "account", "show", "--name", account, "--resource-group", STATE_GROUP
            )
        )

    def _keeps_versions(self) -> bool:
        found = self._cloud.find(
            "az", "storage", "account", "blob-service-properties", "show",
            "--account-name", self._site.state_account, "--resource-group", STATE_GROUP,
        )  # fmt: skip
        return bool(found and found.get("isVersioningEnabled"))

    def _has_vault(self) -> bool:
        vault = self._site.state_vault
        return bool(
            self._cloud.find("az", "keyvault", "show", "--name", vault, "--resource-group", STATE_GROUP)
        )

    def has_rights(self) -> bool:
        return all(self._site.is_granted(role, scope, who) for role, scope, who, _ in self._rights())

    def grant_rights(self) -> None:
        """Gives the operators their rights to state and key, which owners of a subscription lack.

        Each person has them itself: workflows are members of the group that administers the database, and a
        new membership counts only in tokens that are issued later.
        """
        for right in self._rights():
            self._site.grant(*right)

    def _rights(self) -> list[tuple[str, str, str, str]]:
        site = self._site
        scopes = (site.state_account_scope, site.state_vault_scope, site.state_vault_scope)
        return [
            (role, scope, *who)
            for role, scope in zip(STATE_ROLES, scopes, strict=True)
            for who in site.people.items()
        ]

    def has_key(self) -> bool:
        """Whether container and key exist; False as long as the operator may not even look."""
        try:
            return self._has_container(0) and self._has_key(0)
        except ToolFailed as error:
            if error.is_denied:
                return False
            raise

    def make_key(self) -> None:
        """Makes the container and the key of the state; waits until the rights to do so have taken effect."""
        site = self._site
        if not self._has_container(SPREAD_S):
            self._cloud.change(
                "az", "storage", "container", "create", "--name", STATE_CONTAINER,
                "--account-name", site.state_account, "--auth-mode", "login", until_allowed_s=SPREAD_S,
            )  # fmt: skip
        if not self._has_key(SPREAD_S):
            self._cloud.change(
                "az", "keyvault", "key", "create", "--vault-name", site.state_vault, "--name", STATE_KEY,
                "--kty", "RSA", "--size", "3072", until_allowed_s=SPREAD_S,
            )  # fmt: skip

    def _has_container(self, until_allowed_s: float) -> bool:
        found = self._cloud.find(
            "az", "storage", "container", "exists", "--name", STATE_CONTAINER,
            "--account-name", self._site.state_account, "--auth-mode", "login",
            until_allowed_s=until_allowed_s,
        )  # fmt: skip
        return bool(found and found["exists"])

    def _has_key(self, until_allowed_s: float) -> bool:
        return bool(
            self._cloud.find(
                "az", "keyvault", "key", "show", "--vault-name", self._site.state_vault, "--name", STATE_KEY,
                until_allowed_s=until_allowed_s,
            )
        )  # fmt: skip

    def has_drill_group(self) -> bool:
        return bool(self._cloud.find("az", "group", "show", "--name", self._tenant.drill_group))

    def make_drill_group(self) -> None:
        self._cloud.change(
            "az", "group", "create", "--name", self._tenant.drill_group, "--location", self._tenant.location,
            "--tags", *self._tenant.tags,
        )  # fmt: skip


@functools.cache
def providers(stack: str) -> frozenset[str]:
    """The resource providers that a stack needs, from the types of the resources that its program makes."""
    found = {resource.type.partition("/")[0] for resource in record_stack(stack).resources}
    return frozenset(found | _PROVIDERS_BESIDE) - _ALWAYS_REGISTERED
