"""Gives rights: to the operators, and to the applications that GitHub's workflows are signed in as."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from operations.bootstrap.site import SPREAD_S, Site
from operations.cloud import placeholder
from shared.errors import ConfigurationError

ISSUER = "https://token.actions.githubusercontent.com"
AUDIENCE = "api://AzureADTokenExchange"
PREVIEW, DRILL = "preview", "restore-drill"
_REDIS_API = "2025-04-01"


class Right(NamedTuple):
    """A role of an environment's application over one scope."""

    environment: str
    role: str
    scope: str


class Application(NamedTuple):
    """An application of Entra ID: its client id, and the object id of its service principal."""

    client_id: str
    principal_id: str


class Access:
    """Rights that follow after the stack's resources exist."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._cloud = site.cloud
        self._tenant = site.tenant

    @property
    def environments(self) -> tuple[str, ...]:
        """The environments of GitHub that have an application."""
        return (self._tenant.stack, PREVIEW, DRILL)

    def have_operators_rights(self) -> bool:
        site = self._site
        granted = all(site.is_granted(role, scope, who) for role, scope, who, _ in self._operators_rights())
        return granted and self._has_redis()

    def grant_operators(self) -> None:
        """Gives the operators their rights to tables, secrets, Web PubSub and Redis."""
        for right in self._operators_rights():
            self._site.grant(*right)
        if not self._has_redis():
            # By the REST interface: the extension of the CLI accepts no hyphen in the name of a cluster.
            body = {
                "properties": {"accessPolicyName": "default", "user": {"objectId": self._site.operator_id}}
            }
            self._cloud.change(
                "az", "rest", "--method", "put", "--uri", self._redis_uri(), "--body", json.dumps(body)
            )

    def _operators_rights(self) -> list[tuple[str, str, str, str]]:
        """Of each person itself, because workflows are members of the group too."""
        return [
            (role, scope, *who)
            for role, scope in (
                ("Storage Table Data Contributor", self._site.output("data_storage_account_id")),
                ("Key Vault Secrets Officer", self._vault()),
                ("Web PubSub Service Owner", self._webpubsub()),
            )
            for who in self._site.people.items()
        ]

    def _vault(self) -> str:
        return self._resource("Microsoft.KeyVault/vaults", self._site.output("key_vault"))

    def _webpubsub(self) -> str:
        name = self._site.output("webpubsub_endpoint").removeprefix("https://").partition(".")[0]
        return self._resource("Microsoft.SignalRService/webPubSub", name)

    def _redis_uri(self) -> str:
        cluster = self._site.output("redis_host").partition(".")[0]
        name = self._site.operator_id.replace("-", "")
        database = f"{self._resource('Microsoft.Cache/redisEnterprise', cluster)}/databases/default"
        return f"{database}/accessPolicyAssignments/{name}?api-version={_REDIS_API}"

    def _has_redis(self) -> bool:
        return bool(self._cloud.find("az", "rest", "--method", "get", "--uri", self._redis_uri()))

    def _resource(self, kind: str, name: str) -> str:
        return f"{self._site.group_scope}/providers/{kind}/{name}"

    def has_federation(self) -> bool:
        """Whether each environment's application exists, is trusted, and has its rights and memberships."""
        applications = {name: self._application(name) for name in self.environments}
        return (
            all(each is not None and self._is_trusted(name, each) for name, each in applications.items())
            and all(
                self._site.is_granted(right.role, right.scope, applications[right.environment].principal_id)  # type: ignore[union-attr]
                for right in self._rights()
            )
            and all(
                self._site.is_member(self._site.admins_id, applications[name].principal_id)  # type: ignore[union-attr]
                for name in self._members()
            )
        )

    def make_federation(self) -> None:
        """Makes each environment's application, which Entra ID trusts by the environment's name."""
        applications = {name: self._made(name) for name in self.environments}
        for name, application in applications.items():
            if not self._is_trusted(name, application):
                self._cloud.change(
                    "az", "ad", "app", "federated-credential", "create", "--id", application.client_id,
                    "--parameters", json.dumps(self._trust(name)),
                )  # fmt: skip
        for right in self._rights():
            principal_id = applications[right.environment].principal_id
            self._site.grant(right.role, right.scope, principal_id, "ServicePrincipal")
        for name in self._members():
            self._site.join(self._site.admins_id, applications[name].principal_id)

    def client_id(self, environment: str) -> str:
        """Client id of an environment's application; raises ConfigurationError if there is none."""
        found = self._application(environment)
        if found is not None:
            return found.client_id
        if self._cloud.dry_run:
            return placeholder("application id")
        raise ConfigurationError(
            f"The environment {environment} has no application: the step federation makes it."
        )

    def _rights(self) -> list[Right]:
        site, stack = self._site, self._tenant.stack
        container = f"{site.state_account_scope}/blobServices/default/containers/state"
        network = self._resource("Microsoft.Network/virtualNetworks", f"vnet-signal-cloud-{stack}")
        zone = self._resource("Microsoft.Network/privateDnsZones", "privatelink.postgres.database.azure.com")
        drill_group = f"{site.subscription_scope}/resourceGroups/{self._tenant.drill_group}"
        data = site.output("data_storage_account_id")
        rights = [
            Right(stack, "Contributor", site.group_scope),
            Right(stack, "Role Based Access Control Administrator", site.group_scope),
            # The workflow makes the license of the smoke test.
            Right(stack, "Key Vault Secrets Officer", self._vault()),
            Right(stack, "Storage Table Data Contributor", data),
            Right(PREVIEW, "Reader", site.subscription_scope),
            Right(DRILL, "Reader", site.group_scope),
            Right(DRILL, "Contributor", drill_group),
            # It restores the newest export to an account of its own, and compares that with the live tables.
            Right(DRILL, "Storage Table Data Contributor", drill_group),
            Right(DRILL, "Storage Table Data Reader", data),
            Right(DRILL, "Storage Blob Data Reader", data),
            Right(DRILL, "Key Vault Secrets User", f"{site.state_vault_scope}/secrets/{site.export_secret}"),
        ]
        if self._tenant.primary:
            # There it makes a private endpoint to the licenses, roles on them, and the virtual endpoint.
            first = f"{site.subscription_scope}/resourceGroups/rg-signal-cloud-{self._tenant.primary}"
            rights += [
                Right(stack, "Contributor", first),
                Right(stack, "Role Based Access Control Administrator", first),
            ]
        if self._tenant.is_private:
            rights += [
                Right(DRILL, "Network Contributor", f"{network}/subnets/endpoints"),
                Right(DRILL, "Private DNS Zone Contributor", zone),
            ]
        for name in self.environments:
            blobs = "Storage Blob Data Reader" if name == PREVIEW else "Storage Blob Data Contributor"
            rights += [
                Right(name, blobs, container),
                Right(name, "Key Vault Crypto User", f"{site.state_vault_scope}/keys/pulumi"),
            ]
        return rights

    def _members(self) -> tuple[str, ...]:
        """Environments whose workflows log in to the database as its administrator."""
        return (self._tenant.stack, DRILL)

    def _display_name(self, environment: str) -> str:
        return f"signal-cloud-{environment}"

    def _application(self, environment: str) -> Application | None:
        name = self._display_name(environment)
        found = [
            each
            for each in self._cloud.find("az", "ad", "app", "list", "--display-name", name) or []
            if each["displayName"] == name
        ]
        if not found:
            return None
        principal = self._cloud.find("az", "ad", "sp", "show", "--id", found[0]["appId"])
        self._check_alone("app", found[0]["appId"], name, found[0])
        if not principal:
            return None
        self._check_alone("sp", principal["id"], name, principal)
        return Application(str(found[0]["appId"]), str(principal["id"]))

    def _check_alone(self, kind: str, found_id: str, name: str, shown: Mapping[str, Any]) -> None:
        """Raises ConfigurationError if somebody else can sign in as the application."""
        self._site.check_owners(kind, found_id, name)
        if shown.get("passwordCredentials") or shown.get("keyCredentials"):
            raise ConfigurationError(
                f"The directory's {name} has a password or a key, and the bootstrap gives it none. A person "
                "who has it would have the workflow's rights. Delete the application or its credentials."
            )

    def _made(self, environment: str) -> Application:
        found = self._application(environment)
        if found is not None:
            return found
        nobody = {"appId": placeholder("application id"), "id": placeholder("principal id")}
        # az takes an existing application of that name instead of making a second one.
        made = self._cloud.change(
            "az", "ad", "app", "create", "--display-name", self._display_name(environment),
            "--sign-in-audience", "AzureADMyOrg", would_answer=nobody,
        )  # fmt: skip
        principal = self._cloud.change(
            "az", "ad", "sp", "create", "--id", made["appId"], would_answer=nobody, until_allowed_s=SPREAD_S
        )
        self._cloud.await_until(
            lambda: self._application(environment) is not None,
            f"the directory shows {self._display_name(environment)}", at_most_s=SPREAD_S,
        )  # fmt: skip
        return Application(str(made["appId"]), str(principal["id"]))

    def _trust(self, environment: str) -> dict[str, object]:
        return {
            "name": "github",
            "issuer": ISSUER,
            "subject": f"repo:{self._tenant.repository}:environment:{environment}",
            "audiences": [AUDIENCE],
        }

    def _is_trusted(self, environment: str, application: Application) -> bool:
        found = self._cloud.find(
            "az", "ad", "app", "federated-credential", "list", "--id", application.client_id
        )
        ours = (ISSUER, self._trust(environment)["subject"])
        strange = [each["subject"] for each in found or [] if (each["issuer"], each["subject"]) != ours]
        if strange:
            raise ConfigurationError(
                f"{self._display_name(environment)} trusts {', '.join(strange)} too: delete that credential."
            )
        return bool(found)
