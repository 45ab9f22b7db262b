"""Entra ID: tokens for every service, from the identity that this process has.

On the platform that is the managed identity which AZURE_CLIENT_ID names. Everywhere else, on an
operator's machine and in a workflow that signed in by OIDC, it is the account of the Azure CLI. There is no
chain of guesses: where the one credential fails, its own error says why.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import AzureError, ClientAuthenticationError

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncSupportsTokenInfo

POSTGRES_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
REDIS_SCOPE = "https://redis.azure.com/.default"

# A token is replaced from this long before its end, unless its issuer says when; Azure Managed Redis wants
# the new one three minutes before the old one ends.
RENEW_AHEAD_S = 300.0
# What is handed out has this long to arrive where it is checked.
MIN_LIFE_S = 1.0
# The SDK's own timeouts go to minutes. Callers have shorter bounds of their own: this one makes an attempt
# that hangs end, so that the next can begin.
ACQUIRE_TIMEOUT_S = 10.0
# Between attempts while the old token still serves, and while there is none.
RENEWAL_RETRY_S = 10.0
OUTAGE_RETRY_S = 1.0

log = logging.getLogger(__name__)

_Key = tuple[str, ...]


def credential(managed_client_id: str | None) -> "AsyncSupportsTokenInfo":
    """The managed identity of that client id, or without one the account of the Azure CLI."""
    if managed_client_id is not None:
        from azure.identity.aio import ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=managed_client_id)
    from azure.identity.aio import AzureCliCredential

    return AzureCliCredential()


class Tokens:
    """The tokens of one event loop, by scope; a credential to the Azure SDKs, a password to the others.

    However many ask, one request for a token is under way. A token that is due for renewal is handed out
    as long as it holds, while the next is fetched in the background: a slow or failing issuer delays nobody
    before the old token's end. After that, who asks hears of the failure at once, and about once a second
    one of them tries again.
    """

    def __init__(
        self,
        source: "AsyncSupportsTokenInfo",
        *,
        clock: Callable[[], float] = time.time,
        renewal_retry_s: float = RENEWAL_RETRY_S,
        outage_retry_s: float = OUTAGE_RETRY_S,
        acquire_timeout_s: float = ACQUIRE_TIMEOUT_S,
    ) -> None:
        """`clock` gives seconds since the epoch, as tokens count them."""
        self._source = source
        self._clock = clock
        self._renewal_retry_s = renewal_retry_s
        self._outage_retry_s = outage_retry_s
        self._acquire_timeout_s = acquire_timeout_s
        self._held: dict[_Key, AccessTokenInfo] = {}
        self._asking: dict[_Key, asyncio.Task[AccessTokenInfo]] = {}
        self._tried_at: dict[_Key, float] = {}
        self._failures: dict[_Key, str] = {}

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """A token that holds now; raises AzureError. The SDKs' clients ask by this name."""
        options = options or {}
        key = (*scopes, options.get("tenant_id", ""))
        if options.get("claims"):
            # A service refused the token it was shown, and says what the next one must hold.
            self._held[key] = await self._source.get_token_info(*scopes, options=options)
            return self._held[key]
        held = self._held.get(key)
        if held is not None and self._holds(held):
            if self._clock() >= _renewal_at(held) and self._may_try(key, self._renewal_retry_s):
                self._acquire(key, scopes, options)
            return held
        if key not in self._asking and not self._may_try(key, self._outage_retry_s):
            raise ClientAuthenticationError(f"no token, after: {self._failures.get(key, 'an attempt')}")
        # Shielded, since the others wait for it even if who asked first goes away.
        return await asyncio.shield(self._acquire(key, scopes, options))

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: object,
    ) -> AccessToken:
        """`get_token_info` in the SDKs' older form, by which some tell a token credential from a key."""
        options: TokenRequestOptions = {"enable_cae": enable_cae}
        if claims is not None:
            options["claims"] = claims
        if tenant_id is not None:
            options["tenant_id"] = tenant_id
        found = await self.get_token_info(*scopes, options=options)
        return AccessToken(found.token, found.expires_on)

    async def login(self, scope: str) -> AccessTokenInfo:
        """A token for a server that no SDK speaks to; raises ConnectionError, as if that were away."""
        try:
            return await self.get_token_info(scope)
        except AzureError as error:
            raise ConnectionError(f"no token to log in with: {type(error).__name__}: {error}") from error

    async def password(self, scope: str) -> str:
        """The token of `login` alone."""
        return (await self.login(scope)).token

    async def successor(self, scope: str, token: AccessTokenInfo) -> AccessTokenInfo:
        """Waits until `token` is due for renewal, and then as long as it takes to have another."""
        await asyncio.sleep(max(0.0, _renewal_at(token) - self._clock()))
        while True:
            try:
                # Whoever asks while a renewal is due starts it.
                await self.get_token_info(scope)
                if (under_way := self._asking.get((scope, ""))) is not None:
                    await asyncio.shield(under_way)
                found = await self.get_token_info(scope)
            except AzureError:
                found = token
            if found.token != token.token:
                return found
            await asyncio.sleep(self._renewal_retry_s if self._holds(token) else self._outage_retry_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._source.close()

    def _holds(self, token: AccessTokenInfo) -> bool:
        return self._clock() < token.expires_on - MIN_LIFE_S

    def _may_try(self, key: _Key, pause_s: float) -> bool:
        """Whether the last attempt, if it brought no new token, is long enough ago."""
        tried_at = self._tried_at.get(key)
        return tried_at is None or not 0 <= self._clock() - tried_at < pause_s

    def _acquire(
        self, key: _Key, scopes: tuple[str, ...], options: TokenRequestOptions
    ) -> asyncio.Task[AccessTokenInfo]:
        task = self._asking.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._request(key, scopes, options))
            self._asking[key] = task
            task.add_done_callback(lambda done: self._note_end(key, done))
        return task

    async def _request(
        self, key: _Key, scopes: tuple[str, ...], options: TokenRequestOptions
    ) -> AccessTokenInfo:
        try:
            async with asyncio.timeout(self._acquire_timeout_s):
                found = await self._source.get_token_info(*scopes, options=options)
        except TimeoutError as error:
            raise ClientAuthenticationError(f"no token within {self._acquire_timeout_s:g} s") from error
        except OSError as error:
            raise ClientAuthenticationError(f"{type(error).__name__}: {error}") from error
        held = self._held.get(key)
        # Credentials keep tokens too, and may give the same one again until they think it due.
        self._tried_at.pop(key, None)
        if held is not None and held.token == found.token:
            self._tried_at[key] = self._clock()
        self._held[key] = found
        return found

    def _note_end(self, key: _Key, done: asyncio.Task[AccessTokenInfo]) -> None:
        del self._asking[key]
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            if self._failures.pop(key, None) is not None:
                log.info("tokens for %s are issued again", key[0])
            return
        self._tried_at[key] = self._clock()
        if key not in self._failures:
            log.warning("no new token for %s: %s: %s", key[0], type(error).__name__, error)
        self._failures[key] = f"{type(error).__name__}: {error}"


def _renewal_at(token: AccessTokenInfo) -> float:
    """When to fetch the next, in seconds since the epoch."""
    return token.refresh_on if token.refresh_on is not None else token.expires_on - RENEW_AHEAD_S
