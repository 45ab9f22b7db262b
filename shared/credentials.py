"""What a process proves itself by, and proves others by: tokens of Entra ID, the peppers, who sends events.

Part of the composition root, as container.py is. Entra ID is used where AZURE_CLIENT_ID is set; without it,
nothing of it is loaded.
"""

from functools import cached_property, partial
from typing import TYPE_CHECKING

from shared.domain.secret_references import SecretReference
from shared.settings import Settings, pepper_bytes

if TYPE_CHECKING:
    from shared.adapters.identity import Tokens
    from shared.adapters.key_vault import VaultSecret
    from shared.adapters.postgres.database import Password
    from shared.services.hub_events import Proof


class Credentials:
    """One event loop's, each made on first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def tokens(self) -> "Tokens | None":
        if not self._settings.azure_client_id:
            return None
        from shared.adapters.identity import Tokens, credential

        settings = self._settings
        return Tokens(credential(settings.azure_client_id if settings.managed_identity else None))

    @property
    def database_password(self) -> "Password | None":
        """What logs new connections to Postgres in, where the URL does not."""
        if self.tokens is None:
            return None
        from shared.adapters.identity import POSTGRES_SCOPE

        return partial(self.tokens.password, POSTGRES_SCOPE)

    def pepper(self) -> bytes:
        """Raises Unavailable until Key Vault has told it, and ConfigurationError where that refuses."""
        vault = self._vault_pepper
        return pepper_bytes(self._settings.api_key_pepper if vault is None else vault.current())

    def previous_pepper(self) -> bytes | None:
        """None where no other pepper is accepted; raises as `pepper` does."""
        vault = self._vault_previous_pepper
        pepper = self._settings.api_key_pepper_previous if vault is None else vault.current()
        return pepper_bytes(pepper, "API_KEY_PEPPER_PREVIOUS") if pepper else None

    def event_proof(self) -> "Proof":
        """How an event of Web PubSub is told from anybody else's request."""
        from shared.adapters.event_proof import AccessKeyProof, TokenProof

        settings = self._settings
        if not settings.azure_client_id:
            return AccessKeyProof(settings.webpubsub_connection_string)
        return TokenProof(
            settings.webpubsub_endpoint,
            tenant_id=settings.azure_tenant_id,
            principal_id=settings.webpubsub_events_principal,
        )

    async def prepare(self) -> None:
        """Waits for what a first request would find missing; for tools, which have no second try."""
        for vault in (self._vault_pepper, self._vault_previous_pepper):
            if vault is not None:
                await vault.fetch()
        self.pepper()
        self.previous_pepper()

    async def close(self) -> None:
        for name in ("_vault_pepper", "_vault_previous_pepper", "tokens"):
            made = self.__dict__.get(name)
            if made is not None:
                await made.close()

    @cached_property
    def _vault_pepper(self) -> "VaultSecret | None":
        return self._vault_secret("API_KEY_PEPPER", self._settings.pepper_reference)

    @cached_property
    def _vault_previous_pepper(self) -> "VaultSecret | None":
        return self._vault_secret("API_KEY_PEPPER_PREVIOUS", self._settings.previous_pepper_reference)

    def _vault_secret(self, setting: str, reference: SecretReference | None) -> "VaultSecret | None":
        if reference is None or self.tokens is None:
            return None
        from shared.adapters.key_vault import VaultSecret

        return VaultSecret(setting, reference, self.tokens)
