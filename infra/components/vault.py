"""Key Vault: the pepper under which API keys are hashed. Losing it voids every key: it cannot be purged."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import keyvault

from infra.components.network import PrivateTarget
from infra.components.placement import Placement, kept

PEPPER = "api-key-pepper"
# The longest that Azure keeps what was deleted.
SOFT_DELETE_DAYS = 90


@dataclass(frozen=True, slots=True)
class VaultArgs:
    placement: Placement
    private: bool
    tenant_id: pulumi.Output[str]
    api_key_pepper: pulumi.Output[str]


class Vault(pulumi.ComponentResource):
    """Opened by roles, not by access policies."""

    def __init__(self, name: str, args: VaultArgs) -> None:
        super().__init__("signal-cloud:infra:Vault", name)
        place = args.placement
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
                    soft_delete_retention_in_days=SOFT_DELETE_DAYS,
                    enable_purge_protection=True,
                    public_network_access="Disabled" if args.private else "Enabled",
                    network_acls=keyvault.NetworkRuleSetArgs(
                        default_action="Deny" if args.private else "Allow", bypass="AzureServices"
                    ),
                ),
                tags=place.tags,
            ),
            opts=kept(self),
        )
        # Written through Azure Resource Manager, which reaches the vault where its own address is closed.
        secret = keyvault.Secret(
            "pepper",
            keyvault.SecretArgs(
                secret_name=PEPPER,
                vault_name=vault.name,
                resource_group_name=place.resource_group_name,
                properties=keyvault.SecretPropertiesArgs(
                    value=args.api_key_pepper,
                    content_type="text/plain; secret under which API keys are hashed",
                    attributes=keyvault.SecretAttributesArgs(enabled=True),
                ),
                tags=place.tags,
            ),
            opts=kept(self),
        )
        self.vault_id = vault.id
        self.secret_id = secret.id
        # Without a version: a new one is taken up within a day, or at once by a restart.
        self.pepper_reference = (
            f"@Microsoft.KeyVault(SecretUri=https://{self.name}.vault.azure.net/secrets/{PEPPER})"
        )
        self.register_outputs({"vault_id": self.vault_id})

    def private_targets(self) -> tuple[PrivateTarget, ...]:
        return (PrivateTarget("vault", self.vault_id, "vault"),)
