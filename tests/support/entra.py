"""Entra ID for tests: an issuer of short-lived tokens that can be slow or fail, and who checks its tokens."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

import jwt
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import ClientAuthenticationError

TENANT = "ab1f708d-50f6-404c-a006-d71b2ac7a606"
CLIENT_ID = "11059fcc-5514-4800-b5f8-49808b9cfab6"

OnIssue = Callable[[str, dict[str, Any]], Awaitable[None]]


class Issuer:
    """A credential whose tokens look like Entra ID's; `on_issue` hears of each before it is handed out."""

    def __init__(self, lifetime_s: float = 3600.0, renew_after_s: float | None = None) -> None:
        self.lifetime_s = lifetime_s
        self.renew_after_s = renew_after_s
        self.delay_s = 0.0
        self.is_failing = False
        self.asked: Counter[str] = Counter()
        self.options: list[TokenRequestOptions] = []
        self.issued: list[str] = []
        self.is_closed = False
        self.on_issue: OnIssue | None = None
        self._key = secrets.token_hex(32)

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        (scope,) = scopes
        self.asked[scope] += 1
        self.options.append(options or {})
        await asyncio.sleep(self.delay_s)
        if self.is_failing:
            raise ClientAuthenticationError("the issuer is out of order")
        return await self.issue(scope.removesuffix("/.default"))

    async def issue(self, audience: str) -> AccessTokenInfo:
        now = time.time()
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": now,
            "nbf": int(now) - 1,
            "exp": now + self.lifetime_s,
            # Of each token another one, so that a server can tell which token a connection last showed.
            "oid": f"oid-{len(self.issued) + 1}",
        }
        token = jwt.encode(claims, self._key, algorithm="HS256")
        if self.on_issue is not None:
            await self.on_issue(token, claims)
        self.issued.append(token)
        renew_at = None if self.renew_after_s is None else now + self.renew_after_s
        return AccessTokenInfo(token, claims["exp"], refresh_on=renew_at)  # type: ignore[arg-type] # seconds, finer

    def accepts(self, header: str, audience: str) -> bool:
        """Whether an Authorization header shows a token of ours for `audience` that holds."""
        scheme, _, token = header.partition(" ")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidTokenError:
            return False
        return scheme == "Bearer" and claims["aud"] == audience and time.time() < claims["exp"]

    def leaks(self, text: str) -> list[str]:
        """Tokens, or their secret ends, that `text` shows."""
        return [token for token in self.issued if token in text or token.rsplit(".", 1)[1] in text]

    async def close(self) -> None:
        self.is_closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()
