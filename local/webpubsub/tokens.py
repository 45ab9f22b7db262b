"""Checks and makes JSON Web Tokens of the REST API and of clients: HS256 with the access key."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import jwt

from local.webpubsub.limits import MAX_USER_CHARS, REQUEST_TOKEN_SKEW_S

MIN_KEY_BYTES = 32
_ALGORITHM = "HS256"
_GROUP_CLAIM = "webpubsub.group"


class TokenRefused(Exception):
    """The token is refused; the text says why and holds nothing secret."""


@dataclass(frozen=True, slots=True)
class ClientToken:
    """The claims of a client access token."""

    user_id: str | None
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    claims: Mapping[str, tuple[str, ...]]


def _decode(token: str, key: str, leeway_s: int) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            leeway=leeway_s,
            options={"require": ["aud", "exp"], "verify_aud": False, "verify_sub": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise TokenRefused("The token has expired.") from error
    except jwt.InvalidTokenError as error:
        raise TokenRefused("The token is not valid.") from error
    return claims


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(item for item in value if isinstance(item, str))
    return ()


def _audiences(claims: Mapping[str, Any]) -> list[SplitResult]:
    try:
        return [urlsplit(audience) for audience in _texts(claims["aud"])]
    except ValueError as error:
        raise TokenRefused("The audience of the token is not a URL.") from error


def _normal(text: str) -> str:
    return unquote(text).casefold()


def check_request_token(token: str, key: str, path_and_query: str) -> None:
    """Raises TokenRefused unless the token was made for this request.

    It compares `aud` by path and query, and ignores percent-encoding and case. It ignores the host,
    which differs behind a reverse proxy. `aud` may omit the query.
    """
    claims = _decode(token, key, REQUEST_TOKEN_SKEW_S)
    path, _, query = path_and_query.partition("?")
    for parts in _audiences(claims):
        same_query = not parts.query or _normal(parts.query) == _normal(query)
        if same_query and _normal(parts.path) == _normal(path):
            return
    raise TokenRefused("The token was made for another address.")


def read_client_token(token: str, key: str, hub: str) -> ClientToken:
    """Returns the claims; raises TokenRefused for a token that is broken, expired or for another hub."""
    claims = _decode(token, key, 0)
    wanted = {_normal(f"/client/hubs/{hub}"), _normal(f"/client/?hub={hub}")}
    without_host = (parts._replace(scheme="", netloc="").geturl() for parts in _audiences(claims))
    if not any(_normal(address) in wanted for address in without_host):
        raise TokenRefused("The token was made for another hub.")
    subject = claims.get("sub")
    if subject is not None and not (isinstance(subject, str) and 0 < len(subject) <= MAX_USER_CHARS):
        raise TokenRefused(f"The user id must be a text of 1 to {MAX_USER_CHARS} characters.")
    return ClientToken(
        user_id=subject,
        roles=_texts(claims.get("role")),
        groups=_texts(claims.get(_GROUP_CLAIM)),
        claims={
            name: _texts(value) or (str(value),)
            for name, value in claims.items()
            if not isinstance(value, dict)
        },
    )


def make_client_token(
    key: str,
    *,
    audience: str,
    now: datetime,
    lifetime: timedelta,
    user_id: str | None,
    roles: Sequence[str],
    groups: Sequence[str],
) -> str:
    claims: dict[str, Any] = {"aud": audience, "iat": now, "exp": now + lifetime}
    if user_id:
        claims["sub"] = user_id
    if roles:
        claims["role"] = list(roles)
    if groups:
        claims[_GROUP_CLAIM] = list(groups)
    return jwt.encode(claims, key, algorithm=_ALGORITHM)


def sign_connection(key: str, connection_id: str) -> str:
    """Returns the value of `ce-signature`, by which an event handler verifies an event."""
    return "sha256=" + hmac.new(key.encode(), connection_id.encode(), hashlib.sha256).hexdigest()
