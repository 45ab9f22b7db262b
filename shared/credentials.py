"""Builds the credentials of a process: Entra ID tokens, peppers, and the check of Web PubSub's events.

Like container.py, this is part of the composition root. Entra ID is used if AZURE_CLIENT_ID is set; without
it, none of its modules is loaded.
"""

from functools import cached_property, partial
from typing import TYPE_CHECKING

from shared.settings import Settings, pepper_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.adapters.identity import Tokens
    from shared.adapters.postgres.database import Password
    from shared.services.hub_events import Proof


class Credentials:
    """The credentials of one event loop, each built on first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def tokens(self) -> "Tokens | None":
        if not self._settings.azure_client_id:
            return None
        from shared.adapters.identity import Tokens, credential

        settings = self._settings
        return Tokens(credential(settings.azure_client_id if settings.managed_identity else None))

    @cached_property
    def jobs_tokens(self) -> "Tokens | None":
        """Tokens of the identity under which timers log in to Postgres."""
        settings = self._settings
        if not settings.jobs_client_id:
            return self.tokens
        from shared.adapters.identity import Tokens, credential

        return Tokens(credential(settings.jobs_client_id if settings.managed_identity else None))

    @property
    def jobs_database_password(self) -> "Password | None":
        """Returns the password of new connections of the timers; None if the URL holds it."""
        if self.jobs_tokens is None:
            return None
        from shared.adapters.identity import POSTGRES_SCOPE

        return partial(self.jobs_tokens.password, POSTGRES_SCOPE)

    @property
    def database_password(self) -> "Password | None":
        """Returns the password of new connections to Postgres; None if the URL holds it."""
        if self.tokens is None:
            return None
        from shared.adapters.identity import POSTGRES_SCOPE

        return partial(self.tokens.password, POSTGRES_SCOPE)

    def pepper(self) -> bytes:
        """The pepper that hashes keys; raises ConfigurationError if it is too short."""
        return pepper_bytes(self._settings.api_key_pepper)

    def previous_pepper(self) -> bytes | None:
        """The previous pepper, None if there is none; raises ConfigurationError if it is too short."""
        pepper = self._settings.api_key_pepper_previous
        return pepper_bytes(pepper, "API_KEY_PEPPER_PREVIOUS") if pepper else None

    def seal(self) -> "Callable[[bytes], bytes] | None":
        """Returns the encryption of exports; None if this deployment makes none."""
        if not self._settings.license_export_key:
            return None
        from shared.adapters.sealing import seal

        return partial(seal, public_key=self._settings.license_export_key)

    def event_proof(self) -> "Proof":
        """Returns the check that an event comes from our Web PubSub."""
        from shared.adapters.event_proof import AccessKeyProof, TokenProof

        settings = self._settings
        if not settings.azure_client_id:
            return AccessKeyProof(settings.webpubsub_connection_string)
        return TokenProof(
            settings.webpubsub_endpoint,
            tenant_id=settings.azure_tenant_id,
            principal_id=settings.webpubsub_events_principal,
        )

    async def close(self) -> None:
        for tokens in {self.__dict__.get("tokens"), self.__dict__.get("jobs_tokens")}:
            if tokens is not None:
                await tokens.close()
