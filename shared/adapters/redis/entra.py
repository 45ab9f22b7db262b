"""Logs in to Redis with Entra ID: the token is the password, and the object id in it is the user name.

Azure Managed Redis closes a connection whose token has expired. So the open connection logs in again,
between other commands, as soon as there is a newer token.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from redis.credentials import CredentialProvider

from shared.adapters.redis.store import RedisStore
from shared.errors import Unavailable

LOGIN_RETRY_S = 5.0


class Token(Protocol):
    @property
    def token(self) -> str: ...


class TokenSource[T: Token](Protocol):
    async def login(self, scope: str) -> T: ...
    async def successor(self, scope: str, token: T) -> T: ...


class EntraRedisStore(RedisStore):
    """A RedisStore that logs in with tokens of `scope`, and keeps its connection logged in."""

    def __init__(self, url: str, tokens: TokenSource[Any], scope: str) -> None:
        self._login = _Login(tokens, scope, self._authenticate)
        super().__init__(url, credential_provider=self._login)

    async def close(self) -> None:
        await self._login.stop()
        await super().close()

    async def _authenticate(self, user: str, password: str) -> None:
        await self._ask(("AUTH", user, password))


class _Login(CredentialProvider):
    """Returns user and password for each new connection, and renews the login of the newest one."""

    def __init__(
        self,
        tokens: TokenSource[Any],
        scope: str,
        authenticate: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._tokens = tokens
        self._scope = scope
        self._authenticate = authenticate
        self._renewing: asyncio.Task[None] | None = None

    async def get_credentials_async(self) -> tuple[str, str]:
        """Raises ConnectionError while there is no token."""
        token = await self._tokens.login(self._scope)
        user = _object_id(token.token)
        if self._renewing is not None:
            self._renewing.cancel()
        self._renewing = asyncio.get_running_loop().create_task(self._renew(token))
        return user, token.token

    async def stop(self) -> None:
        task, self._renewing = self._renewing, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _renew(self, token: Token) -> None:
        while True:
            newer = await self._tokens.successor(self._scope, token)
            try:
                await self._authenticate(_object_id(newer.token), newer.token)
            except (Unavailable, ConnectionError):
                # Redis is unavailable: then the next connection logs in with a new token. Or it refused the
                # login, which the connection logs: then the connection lasts until its former token expires.
                await asyncio.sleep(LOGIN_RETRY_S)
            else:
                token = newer


def _object_id(token: str) -> str:
    """The object id in an Entra ID token, which Redis verifies; raises ConnectionError if it has none."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["oid"])
    except (IndexError, KeyError, TypeError, binascii.Error, msgspec.DecodeError) as error:
        # The text of the error is left out, because it may contain parts of the token.
        raise ConnectionError(f"the token names no object id ({type(error).__name__})") from None
