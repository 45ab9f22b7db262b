"""Makes the Key Vault of the peppers and of vendors' secrets.

Losing a pepper would void its API keys, so nobody can purge the vault.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import keyvault

from infra.components.network import Network, PrivateTarget
from infra.components.placement import Placement, Turns
from infra.settings.business_keys import VENDOR_SECRETS

PEPPER = "api-key-pepper"
PREVIOUS_PEPPER = "api-key-pepper-previous"
# Value of a secret that is not set. The secret always exists, because the vault keeps a deleted secret and
# would refuse to make it again.
UNSET = "none"
_PEPPER_TEXT = "text/plain; secret under which API keys are hashed"
_VENDOR_TEXT = "text/plain; secret of a vendor or a channel"
# The longest and the shortest that Azure offers.
PROTECTED_SOFT_DELETE_DAYS, SOFT_DELETE_DAYS = 90, 7


@dataclass(frozen=True, slots=True)
class VaultArgs:
    placement: Placement
    network: Network | None
    tenant_id: pulumi.Output[str]
    api_key_pepper: pulumi.Output[str]
    api_key_pepper_previous: pulumi.Output[str] | None
    vendor_secrets: Mapping[str, str]


class Vault(pulumi.ComponentResource):
    """Roles open it, not access policies. `vendor_references` are those of the secrets that are set."""

    def __init__(self, name: str, args: VaultArgs) -> None:
        super().__init__("signal-cloud:infra:Vault", name)
        place = self._place = args.placement
        self.name = place.names.key_vault
        vault = keyvault.Vault(
            "vault",
            keyvault.VaultArgs(
                vault_name=self.name,
                resource_group_name=place.resource_group_name,
                location=place.location,
                properties=keyvault.VaultPropertiesArgs(
                    tenant_id=args.tenant_id,
                    sku=keyvault.SkuArgs(family="A", name=keyvault.SkuName.STANDARD),
                    enable_rbac_authorization=True,
                    enable_soft_delete=True,
                    soft_delete_retention_in_days=PROTECTED_SOFT_DELETE_DAYS
                    if place.protect
                    else SOFT_DELETE_DAYS,
                    # Absent where it is off, because Azure refuses `false`.
                    enable_purge_protection=True if place.protect else None,
                    public_network_access="Disabled" if args.network else "Enabled",
                    network_acls=keyvault.NetworkRuleSetArgs(
                        default_action="Deny" if args.network else "Allow", bypass="AzureServices"
                    ),
                ),
                tags=place.tags,
            ),
            opts=place.kept(self),
        )
        self.vault_id = vault.id
        # The vault accepts one change at a time.
        turns = Turns(vault)
        if args.network is not None:
            args.network.connect(PrivateTarget("vault", vault.id, "vault"), turns)
        previous = args.api_key_pepper_previous
        self.pepper_id = self._secret(PEPPER, vault, args.api_key_pepper, turns).id
        unset = pulumi.Output.secret(UNSET)
        self.previous_pepper_id = self._secret(PREVIOUS_PEPPER, vault, previous or unset, turns).id
        self.vendor_secret_ids = {
            name: self._secret(
                secret_name(name),
                vault,
                pulumi.Output.secret(args.vendor_secrets.get(name, UNSET)),
                turns,
                _VENDOR_TEXT,
            ).id
            for name in VENDOR_SECRETS
        }
        self.vendor_references = {name: self._reference(secret_name(name)) for name in args.vendor_secrets}
        self.ready = turns.latest
        self.pepper_reference = self._reference(PEPPER)
        self.previous_pepper_reference = None if previous is None else self._reference(PREVIOUS_PEPPER)
        self.register_outputs({"vault_id": self.vault_id})

    def _secret(
        self,
        name: str,
        vault: keyvault.Vault,
        value: pulumi.Output[str],
        turns: Turns,
        content_type: str = _PEPPER_TEXT,
    ) -> keyvault.Secret:
        """Made through Azure Resource Manager, which works even if the vault's own address is closed."""
        return turns.take(
            keyvault.Secret(
                name,
                keyvault.SecretArgs(
                    secret_name=name,
                    vault_name=vault.name,
                    resource_group_name=self._place.resource_group_name,
                    properties=keyvault.SecretPropertiesArgs(
                        value=value,
                        content_type=content_type,
                        attributes=keyvault.SecretAttributesArgs(enabled=True),
                    ),
                    tags=self._place.tags,
                ),
                # Pulumi would delete a secret at the vault's own address, which may be closed.
                opts=turns.options(
                    pulumi.ResourceOptions.merge(
                        self._place.kept(self), pulumi.ResourceOptions(deleted_with=vault)
                    )
                ),
            )
        )

    def _reference(self, secret: str) -> str:
        """A reference without a version: the app gets a new version within a day, or at a restart."""
        return f"@Microsoft.KeyVault(SecretUri=https://{self.name}.vault.azure.net/secrets/{secret})"


def secret_name(name: str) -> str:
    """The vault's name of a setting's secret."""
    return name.replace("_", "-")
