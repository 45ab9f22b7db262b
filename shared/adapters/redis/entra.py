"""Redis by Entra ID: the token is the password, and the identity's object id, which it names, the user.

Azure Managed Redis closes a connection whose token ended. So the open connection logs in again, in line
with the commands on it, as soon as there is a newer token.
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
    """A RedisStore that logs in by tokens of `scope`, and keeps its connection logged in."""

    def __init__(self, url: str, tokens: TokenSource[Any], scope: str) -> None:
        self._login = _Login(tokens, scope, self._authenticate)
        super().__init__(url, credential_provider=self._login)

    async def close(self) -> None:
        await self._login.stop()
        await super().close()

    async def _authenticate(self, user: str, password: str) -> None:
        await self._ask(("AUTH", user, password))


class _Login(CredentialProvider):
    """User and password of each new connection, and the renewal of the newest one's login."""

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
                # Away, and then who connects next logs in by a new token; or refused, which the connection
                # logs, and then it lives as long as its former token does. Either way, soon again.
                await asyncio.sleep(LOGIN_RETRY_S)
            else:
                token = newer


def _object_id(token: str) -> str:
    """The object id that an Entra ID token names; not verified here, for Redis does that."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["oid"])
    except (IndexError, KeyError, TypeError, binascii.Error, msgspec.DecodeError) as error:
        # Without the text of the error, which may hold parts of the token.
        raise ConnectionError(f"the token names no object id ({type(error).__name__})") from None
