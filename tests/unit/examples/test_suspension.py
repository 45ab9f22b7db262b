"""A bot whose license is suspended or expired waits, and goes on when it is paid; else it ends."""

import argparse
from collections.abc import Callable

import httpx
import pytest

from tests.support.example_modules import load

connection = load("connection")
bot = load("bot")


def api(answer: Callable[[httpx.Request], httpx.Response]) -> object:
    made = connection.Api("http://signal-cloud.test", "sc_live_key", connection.Journal(as_json=True))
    made._client = httpx.Client(
        base_url="http://signal-cloud.test", transport=httpx.MockTransport(answer), timeout=1
    )
    return made


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [
        (403, "license_suspended", "Paused"),
        (403, "license_expired", "Paused"),
        (403, "license_revoked", "Refused"),
        (401, "key_revoked", "Refused"),
        (403, "symbol_not_licensed", "Refused"),
    ],
)
def test_only_what_a_payment_can_lift_is_waited_for(status: int, code: str, raised: str) -> None:
    asked = api(lambda _: httpx.Response(status, json={"code": code, "detail": "why"}))
    with pytest.raises(getattr(connection, raised), match=code):
        asked.call("POST", "/api/ws/negotiate", 1.0)  # type: ignore[attr-defined]
    assert issubclass(connection.Paused, connection.GaveUp)


def test_a_closed_connection_is_negotiated_again(capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(
        min_confidence=0.0, url="http://127.0.0.1:9", key="k", bars=None, symbols=["ES"], name="bot"
    )
    running = bot.Bot(options, connection.Journal(as_json=True))
    renewed: list[bool] = []

    class Feed:
        def renew(self) -> None:
            renewed.append(True)

    running._feed = Feed()
    try:
        running._take({"type": "revoked", "reason": "license suspended"})
    finally:
        running._reporter.flush()
    assert renewed == [True]
    assert running._stopping is None
    assert "license suspended" in capsys.readouterr().out


def test_a_bot_says_which_session_it_holds_and_forgets_one_that_it_lost() -> None:
    held: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        held.append(request.headers.get("session-id"))
        if held[-1] is None:
            return httpx.Response(200, json={})
        return httpx.Response(
            403, json={"code": "session_lost", "detail": "The instance bot-2 took it over."}
        )

    asked = api(answer)
    asked.session_id = "ses_1"  # type: ignore[attr-defined]
    with pytest.raises(connection.Paused, match="bot-2"):
        asked.call("GET", "/api/license", 1.0)  # type: ignore[attr-defined]
    asked.call("GET", "/api/license", 1.0)  # type: ignore[attr-defined]
    assert held == ["ses_1", None]


def test_a_bot_whose_place_is_taken_waits_for_it() -> None:
    asked = api(lambda _: httpx.Response(409, json={"code": "session_taken", "detail": "bot-1 holds ES"}))
    with pytest.raises(connection.Paused, match="bot-1 holds ES"):
        asked.call("POST", "/api/ws/negotiate", 1.0)  # type: ignore[attr-defined]
