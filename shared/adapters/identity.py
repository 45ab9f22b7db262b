"""Gets Entra ID tokens for every service, under the identity of this process.

In Azure, that is the managed identity that AZURE_CLIENT_ID names. On an operator's machine, and in a
workflow that signed in by OIDC, it is the account of the Azure CLI. There is no chain of credentials to try:
if the one credential fails, its own error says why.
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

# A token is renewed this long before it expires, unless its issuer says when. Azure Managed Redis asks for
# the new token at least three minutes before the old one expires.
RENEW_AHEAD_S = 300.0
# A token must stay valid at least this long, so that it reaches the service in time.
MIN_LIFE_S = 1.0
# Ends an attempt that hangs, so that the next can begin. The SDK's own timeouts last minutes; callers have
# shorter ones of their own.
ACQUIRE_TIMEOUT_S = 10.0
# Pauses between attempts: while the old token is still valid, and while there is no valid token.
RENEWAL_RETRY_S = 10.0
OUTAGE_RETRY_S = 1.0

log = logging.getLogger(__name__)

_Key = tuple[str, ...]


def credential(managed_client_id: str | None) -> "AsyncSupportsTokenInfo":
    """The managed identity of `managed_client_id`; if that is None, the account of the Azure CLI."""
    if managed_client_id is not None:
        from azure.identity.aio import ManagedIdentityCredential

        return ManagedIdentityCredential(client_id=managed_client_id)
    from azure.identity.aio import AzureCliCredential

    return AzureCliCredential()


class Tokens:
    """Keeps the tokens of one event loop, by scope: a credential for Azure SDKs, a password for others.

    All callers share one request for a token. A token that is due for renewal is returned as long as it is
    valid, while the next is fetched in the background, so a slow or failing issuer delays no caller before
    the old token expires. After that, callers get the error at once, and about once a second one of them
    tries again.
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
        """`clock` returns seconds since the epoch, as tokens count them."""
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
        """Returns a valid token; raises AzureError. The Azure SDKs require this name."""
        options = options or {}
        key = (*scopes, options.get("tenant_id", ""))
        if options.get("claims"):
            # A service refused the token, and says which claims the next one needs.
            self._held[key] = await self._source.get_token_info(*scopes, options=options)
            return self._held[key]
        held = self._held.get(key)
        if held is not None and self._holds(held):
            if self._clock() >= _renewal_at(held) and self._may_try(key, self._renewal_retry_s):
                self._acquire(key, scopes, options)
            return held
        if key not in self._asking and not self._may_try(key, self._outage_retry_s):
            raise ClientAuthenticationError(f"no token, after: {self._failures.get(key, 'an attempt')}")
        # Shielded, because other callers wait for the token even if the first one is cancelled.
        return await asyncio.shield(self._acquire(key, scopes, options))

    async def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **kwargs: object,
    ) -> AccessToken:
        """`get_token_info` in its older form, by which some SDKs recognise a token credential."""
        options: TokenRequestOptions = {"enable_cae": enable_cae}
        if claims is not None:
            options["claims"] = claims
        if tenant_id is not None:
            options["tenant_id"] = tenant_id
        found = await self.get_token_info(*scopes, options=options)
        return AccessToken(found.token, found.expires_on)

    async def login(self, scope: str) -> AccessTokenInfo:
        """Returns a token for a server without an Azure SDK; raises ConnectionError."""
        try:
            return await self.get_token_info(scope)
        except AzureError as error:
            raise ConnectionError(f"no token to log in with: {type(error).__name__}: {error}") from error

    async def password(self, scope: str) -> str:
        """The text of the token that `login` returns; raises ConnectionError."""
        return (await self.login(scope)).token

    async def successor(self, scope: str, token: AccessTokenInfo) -> AccessTokenInfo:
        """Waits until `token` is due for renewal, then until there is another, and returns that."""
        await asyncio.sleep(max(0.0, _renewal_at(token) - self._clock()))
        while True:
            try:
                # This call starts the renewal, because it is due.
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
        """Whether at least `pause_s` has passed since the last attempt that brought no new token."""
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
        # Credentials cache tokens too, and may return the same one again until they renew it.
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
    """When to fetch the next token, in seconds since the epoch."""
    return token.refresh_on if token.refresh_on is not None else token.expires_on - RENEW_AHEAD_S
