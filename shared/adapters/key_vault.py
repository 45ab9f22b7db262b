"""One secret out of Azure Key Vault, for a setting whose reference the platform left unresolved."""

import asyncio
import logging
import time
from copy import copy
from typing import TYPE_CHECKING

from shared.domain.secret_references import SecretReference
from shared.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

FETCH_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 1.5
READ_TIMEOUT_S = 2.5
# After a failure who asks hears of it at once for this long: of a vault that is away, and of one that
# refuses, which a right just granted may mend.
AWAY_PAUSE_S = 1.0
REFUSED_PAUSE_S = 30.0
_REFUSALS = frozenset({400, 401, 403, 404})

log = logging.getLogger(__name__)


class VaultSecret:
    """The secret's value, fetched once, by as many as ask at the same time, and then kept."""

    def __init__(self, setting: str, reference: SecretReference, credential: "AsyncTokenCredential") -> None:
        """`setting` is named in errors."""
        self._setting = setting
        self._reference = reference
        self._credential = credential
        self._value: str | None = None
        self._fetching: asyncio.Task[str] | None = None
        self._failure: ConfigurationError | Unavailable | None = None
        self._retry_at = 0.0

    def current(self) -> str:
        """The value if it has come; else sees to it that it comes, and raises what `fetch` would.

        For callers that cannot wait: the first of them get Unavailable, which is worth a retry.
        """
        if self._value is not None:
            return self._value
        self._begin()
        # Copied for each who hears of it: an error grows by a traceback each time that it is raised.
        raise copy(self._failure) if self._failure is not None else self._away("it is being fetched")

    async def fetch(self) -> str:
        """The value; raises ConfigurationError where Key Vault refuses, Unavailable where it is away."""
        if self._value is None:
            self._begin()
            if self._fetching is None:
                assert self._failure is not None
                raise copy(self._failure)
            return await asyncio.shield(self._fetching)
        return self._value

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _begin(self) -> None:
        if self._fetching is None and (self._failure is None or time.monotonic() >= self._retry_at):
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            self._fetching.add_done_callback(self._note_end)

    def _note_end(self, done: asyncio.Task[str]) -> None:
        self._fetching = None
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._value, self._failure = done.result(), None
            return
        if isinstance(error, Unavailable):
            self._failure, pause_s = error, AWAY_PAUSE_S
            log.warning("%s", error.internal)
        else:
            if not isinstance(error, ConfigurationError):
                error = self._refused(f"{type(error).__name__}: {error}")
            self._failure, pause_s = error, REFUSED_PAUSE_S
            log.error("%s", error.detail)
        self._retry_at = time.monotonic() + pause_s

    async def _fetch(self) -> str:
        from azure.core.exceptions import AzureError, HttpResponseError
        from azure.keyvault.secrets.aio import SecretClient

        reference = self._reference
        client = SecretClient(
            reference.vault_url,
            self._credential,
            retry_total=1,
            retry_backoff_factor=0.1,
            connection_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
        )
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S), client:
                secret = await client.get_secret(reference.name, reference.version or None)
        except HttpResponseError as error:
            # Without a status it is no answer of the vault's: there was no token to ask with.
            if error.status_code in _REFUSALS:
                raise self._refused(f"HTTP {error.status_code}") from error
            raise self._away(f"{type(error).__name__}: {error.message}") from error
        except ValueError as error:
            # The vault's challenge names another vault than the one that was asked.
            raise self._refused(str(error)) from error
        except (AzureError, TimeoutError, OSError) as error:
            raise self._away(f"{type(error).__name__}: {error}") from error
        # The platform's own values are stripped where settings are read: the same secret, the same value.
        return (secret.value or "").strip()

    def _refused(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._setting} is a Key Vault reference that the platform did not resolve, and "
            f"{self._reference.vault_url} does not give the secret {self._reference.name} either: {why}",
        )

    def _away(self, why: str) -> Unavailable:
        return Unavailable(
            "The service is starting; try again.",
            code="key_store_unavailable",
            internal=f"{self._setting} from Key Vault: {why}",
            retry_after_s=1,
        )
