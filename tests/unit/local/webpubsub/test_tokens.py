"""Tokens of requests and clients."""

import time
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from local.webpubsub.tokens import (
    ClientToken,
    TokenRefused,
    check_request_token,
    make_client_token,
    read_client_token,
    sign_connection,
)

KEY = "0123456789abcdef0123456789abcdef"
PATH = "/api/hubs/signals/groups/a%2Fb/:send?api-version=2024-12-01&filter=userId%20eq%20%27x%27"


def _signed(key: str = KEY, algorithm: str = "HS256", **claims: object) -> str:
    return jwt.encode({"exp": time.time() + 60} | claims, key, algorithm=algorithm)


@pytest.mark.parametrize(
    "audience",
    [
        f"http://host:1{PATH}",
        f"https://another.host{PATH}",
        f"http://host:1{PATH.partition('?')[0]}",
        f"HTTP://HOST:1{PATH.upper()}",
        "http://host/api/hubs/signals/groups/a/b/:send?api-version=2024-12-01&filter=userId eq 'x'",
        ["http://host/elsewhere", f"http://host{PATH}"],
    ],
)
def test_audiences_of_a_request_that_fit(audience: str | list[str]) -> None:
    check_request_token(_signed(aud=audience), KEY, PATH)


@pytest.mark.parametrize(
    "token",
    [
        _signed(aud="http://host/api/hubs/signals/:send"),
        _signed(aud=f"http://host{PATH}&more=1"),
        _signed(aud=5),
        _signed(aud="http://[host/api/hubs/signals/:send"),
        _signed(),
        jwt.encode({"aud": f"http://host{PATH}"}, KEY, algorithm="HS256"),
        _signed(aud=f"http://host{PATH}", exp=time.time() - 301),
        _signed(key="f" * 32, aud=f"http://host{PATH}"),
        jwt.encode({"aud": f"http://host{PATH}", "exp": 4e9}, "", algorithm="none"),
        _signed(key=KEY * 2, algorithm="HS512", aud=f"http://host{PATH}"),
        "",
        "a.b.c",
        "é",
    ],
    ids=[
        "another path",
        "another query",
        "no text",
        "no address",
        "no audience",
        "no expiry",
        "expired",
        "another key",
        "unsigned",
        "another algorithm",
        "empty",
        "garbage",
        "not ASCII",
    ],
)
def test_request_tokens_that_are_refused(token: str) -> None:
    with pytest.raises(TokenRefused):
        check_request_token(token, KEY, PATH)


def test_clocks_of_senders_may_differ_by_five_minutes() -> None:
    check_request_token(_signed(aud=f"http://host{PATH}", exp=time.time() - 290), KEY, PATH)


def test_a_client_token_says_who_comes() -> None:
    token = make_client_token(
        KEY,
        audience="http://host/client/hubs/Signals",
        now=datetime.now(UTC),
        lifetime=timedelta(minutes=1),
        user_id="ann",
        roles=["r1", "r2"],
        groups=["g"],
    )
    read = read_client_token(token, KEY, "signals")
    assert (read.user_id, read.roles, read.groups) == ("ann", ("r1", "r2"), ("g",))
    assert read.claims["role"] == ("r1", "r2")


def test_single_roles_and_groups_may_be_texts() -> None:
    token = _signed(aud="wss://host/client/?hub=h", role="r", **{"webpubsub.group": "g"})
    read = read_client_token(token, KEY, "h")
    assert isinstance(read, ClientToken)
    assert (read.user_id, read.roles, read.groups) == (None, ("r",), ("g",))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "http://host/client/hubs/other"},
        {"aud": "http://host/client/hubs/h?access_token=x"},
        {"aud": "http://[host/client/hubs/h"},
        {"exp": time.time() - 1},
        {"sub": 5},
        {"sub": ""},
    ],
)
def test_client_tokens_that_are_refused(claims: dict[str, object]) -> None:
    token = jwt.encode({"aud": "http://host/client/hubs/h", "exp": 4e9} | claims, KEY, algorithm="HS256")
    with pytest.raises(TokenRefused):
        read_client_token(token, KEY, "h")


def test_signature_of_a_connection() -> None:
    # RFC 4231, test case 2
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sign_connection("Jefe", "what do ya want for nothing?") == f"sha256={expected}"
