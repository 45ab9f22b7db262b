"""Checks over the public contract that a deployment works: `python -m operations.smoke URL`.

SIGNAL_CLOUD_KEY is a bot's key. Give the smoke test an account of its own, because each run leaves one trade
in that account. The trade has no profit and no features, and is withdrawn, so it counts in no figure.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp

from operations.command import FAILED, UsageError, run_command
from shared.domain.access.keys import new_key
from shared.settings_reader import SettingsReader

TIMEOUT_S = 15.0
WAIT_S = 120.0
PAUSE_S = 1.0
# A cached confidence is valid for 2 s: if an answer takes as long as that, ask again.
CONFIDENCE_ATTEMPTS = 3
# A name of Azure Web PubSub; bots use the same.
SUBPROTOCOL = "json.reliable.webpubsub.azure.v1"
USER_AGENT = "signal-cloud-smoke-test"


class Failed(Exception):
    """A check failed; the text says what was found instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    document: dict[str, Any]
    # The header Retry-After, None if there is none.
    retry_after: str | None = None

    @property
    def code(self) -> str:
        """The problem's code, or an empty text."""
        return str(self.document.get("code", ""))


def _document(status: int, text: str) -> Any:
    """The JSON of an answer; raises ValueError if it has none, unless a gateway answered for the app."""
    try:
        return json.loads(text)
    except ValueError:
        if status < 400:
            raise
        return {"detail": " ".join(text.split())[:200]}


class Api:
    """The deployment under test."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, key: str, symbol: str) -> None:
        self.session = session
        self.symbol = symbol
        self._base_url = base_url.rstrip("/")
        self._key = key

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = "", **query: str
    ) -> Answer:
        """One request; `key` is the bot's by default, and None sends none. Raises Failed."""
        key = self._key if key == "" else key
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            async with self.session.request(
                method, f"{self._base_url}/api/{path}", json=body, headers=headers, params=query
            ) as response:
                document = _document(response.status, await response.text())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Failed(f"{method} {path}: {type(error).__name__}: {error}") from error
        found = document if isinstance(document, dict) else {}
        return Answer(response.status, found, response.headers.get("Retry-After"))

    async def expect(self, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
        """The document of a 200; raises Failed."""
        answer = await self.ask(method, path, body, **query)
        if answer.status != 200:
            detail = answer.document.get("detail", "")
            raise Failed(f"{method} {path} answered {answer.status} {answer.code} {detail}".rstrip())
        return answer.document


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Failed(otherwise)


async def check_health(api: Api) -> str:
    document = await api.expect("GET", "health")
    _require(document.get("status") == "pass", f"status is {document.get('status')!r}, not pass")
    return "pass"


async def check_ready(api: Api) -> str:
    answer = await api.ask("GET", "health/ready")
    checks = answer.document.get("checks", {})
    found = [
        f"{name} {check['status']} ({check.get('detail', '')})"
        for name, check in checks.items()
        if check["status"] != "pass"
    ]
    _require(answer.status == 200, f"answered {answer.status}: {'; '.join(found)}")
    _require(bool(checks), "names no check")
    return "; ".join(found) or "every dependency passes"


async def check_keys_refused(api: Api) -> str:
    """A request without a key, and one with a valid key that was never issued."""
    for key, code in ((None, "key_missing"), (new_key("smoke0"), "key_unknown")):
        answer = await api.ask("GET", "license", key=key)
        found = (answer.status, answer.code)
        _require(found == (401, code), f"expected 401 {code}, found {answer.status} {answer.code}")
    return "no key and an invented key are refused"


async def check_confidence(api: Api) -> str:
    """The second answer to the same state is the first one, from the cache."""
    state = {"symbol": api.symbol, "signal_type": "LONG", "vwap_distance": 9.9, "rsi": 1}
    for _ in range(CONFIDENCE_ATTEMPTS):
        first = await api.expect("POST", "ml/get_confidence", state)
        second = await api.expect("POST", "ml/get_confidence", state)
        _require(0 <= first["confidence"] <= 1, f"confidence is {first['confidence']}")
        if second["cached"] and second["confidence"] == first["confidence"]:
            return f"{second['confidence']} ({second['basis']}), cached for {second['age_ms']} ms"
    raise Failed(f"asked twice, {CONFIDENCE_ATTEMPTS} times over, no answer came from the cache")


async def check_realtime(api: Api) -> str:
    """Negotiates, connects, and joins the symbol's group."""
    access = await api.expect("POST", "ws/negotiate", {"symbols": [api.symbol]})
    (group,) = access["groups"]
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            api.session.ws_connect(access["url"], protocols=[SUBPROTOCOL]) as socket,
        ):
            connected = await socket.receive_json()
            _require(
                connected.get("event") == "connected", f"the hub's greeting was {connected.get('event')!r}"
            )
            await socket.send_json({"type": "joinGroup", "group": group, "ackId": 1})
            while (message := await socket.receive_json()).get("type") != "ack":
                pass  # a signal or a heartbeat came first
    except (aiohttp.ClientError, TimeoutError, TypeError, ValueError) as error:
        # Without the error's text, which may hold the address and so the token.
        raise Failed(f"no WebSocket: {type(error).__name__}") from error
    _require(message.get("success") is True, f"{group} was not joined: {message.get('error')}")
    return f"connected, joined {group}"


def _a_trade(symbol: str, now: datetime) -> dict[str, str]:
    return {
        "trade_id": f"smoke-{uuid4().hex}",
        "symbol": symbol,
        "side": "LONG",
        "entry_price": "1",
        "exit_price": "1",
        "entry_at": (now - timedelta(minutes=1)).isoformat(),
        "exit_at": now.isoformat(),
        "pnl": "0",
    }


async def check_trade(api: Api) -> str:
    """A trade is recorded once, no matter how often it is reported; its account can read and withdraw it."""
    now = datetime.now(UTC)
    trade = _a_trade(api.symbol, now)
    for expected in ("recorded", "duplicate"):
        report = await api.expect("POST", "trades", trade)
        status = report["results"][0]["status"]
        _require(status == expected, f"expected {expected}, found {status}")
    withdrawal = await api.expect("DELETE", f"trades/{trade['trade_id']}")
    page = await api.expect("GET", "trades", since=(now - timedelta(seconds=1)).isoformat())
    shown = [each for each in page["trades"] if each["trade_id"] == trade["trade_id"]]
    _require(len(shown) == 1, f"{trade['trade_id']} is shown {len(shown)} times")
    found = shown[0]["withdrawn_at"]
    _require(found == withdrawal["withdrawn_at"], f"withdrawn_at is shown as {found}")
    return "recorded, a duplicate the second time, shown once, withdrawn"


async def check_passive(api: Api) -> str:
    """The region says that it is passive, and asks a caller who wants to write to come again."""
    active = await api.ask("GET", "health/active")
    _require(active.status == 503, f"health/active answered {active.status}, so the region is active")
    refused = await api.ask("POST", "trades", _a_trade(api.symbol, datetime.now(UTC)))
    _require(
        (refused.status, refused.code) == (503, "database_unavailable") and refused.retry_after is not None,
        f"a write answered {refused.status} {refused.code}, Retry-After {refused.retry_after}",
    )
    await api.expect("GET", "trades")
    return "passive: reads work, and a write is refused until the promotion"


CHECKS: dict[str, Callable[[Api], Awaitable[str]]] = {
    "health": check_health,
    "ready": check_ready,
    "keys": check_keys_refused,
    "confidence": check_confidence,
    "realtime": check_realtime,
    "trade": check_trade,
}
PASSIVE_CHECKS = {name: check for name, check in CHECKS.items() if name != "trade"} | {
    "passive": check_passive
}


async def await_answer(api: Api, version: str | None, wait_s: float) -> str:
    """The version that answers; waits until one does, and until it is `version` if that is given."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            document = await api.expect("GET", "openapi.json")
            found = str(document["info"]["version"])
            if version in (None, found):
                return found
            problem = f"{found} answers, not {version}"
        except Failed as error:
            problem = str(error)
        if time.monotonic() >= deadline:
            raise Failed(f"after {wait_s:g} s: {problem}")
        await asyncio.sleep(PAUSE_S)


async def smoke_test(api: Api, version: str | None, wait_s: float, *, passive: bool = False) -> bool:
    """Prints a line for each check, and returns whether all pass; runs none if no app answers."""
    try:
        print(f"ok      version     {await await_answer(api, version, wait_s)}")
    except Failed as error:
        print(f"FAILED  version     {error}")
        return False
    failures = 0
    for name, check in (PASSIVE_CHECKS if passive else CHECKS).items():
        started = time.monotonic()
        try:
            text, word = await check(api), "ok"
        except Failed as error:
            text, word = str(error), "FAILED"
        except (KeyError, TypeError, ValueError) as error:
            text, word = f"an answer of another form: {type(error).__name__}: {error}", "FAILED"
        failures += word == "FAILED"
        print(f"{word:<6}  {name:<10}  {text} [{(time.monotonic() - started) * 1000:.0f} ms]", flush=True)
    return failures == 0


async def _run(options: argparse.Namespace) -> int:
    reader = SettingsReader(os.environ)
    key = reader.text("SIGNAL_CLOUD_KEY")
    if not options.url.startswith(("https://", "http://")):
        reader.report("the address must begin with https://, or http:// on one machine")
    reader.check(UsageError)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": USER_AGENT}) as session:
        api = Api(session, options.url, key, options.symbol)
        works = await smoke_test(api, options.expect_version, options.wait, passive=options.passive)
        return 0 if works else FAILED


def main(argv: Sequence[str] | None = None) -> int:
    """0 if every check passes, 1 if one fails, 2 if an argument or a setting cannot be used."""
    return run_command(_run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(
        prog="python -m operations.smoke",
        description=summary,
        epilog="SIGNAL_CLOUD_KEY is the key of a bot whose account is for this test alone.",
    )
    host = SettingsReader(os.environ).optional("HOST")
    parser.add_argument(
        "url", nargs="?" if host else None, default=host, help="such as https://signals.example.com"
    )
    parser.add_argument("--expect-version", metavar="VERSION", help="the version that must answer")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=float,
        default=WAIT_S,
        help=f"how long to wait for an answer ({WAIT_S:g})",
    )
    parser.add_argument("--passive", action="store_true", help="of a region that waits with a read replica")
    parser.add_argument("--symbol", default="ES", help="a symbol that the key's license covers (ES)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
