"""`python -m delivery.smoke URL`: whether a deployment does its work, over its public contract alone.

The bot's key is SIGNAL_CLOUD_KEY; give the smoke test an account of its own, for it leaves one trade of
no profit and no features (so that no model learns from it) in that account each time.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp

from delivery.reporting import FAILED, AskedWrongly, finish
from shared.domain.access.keys import new_key

TIMEOUT_S = 15.0
WAIT_S = 120.0
PAUSE_S = 1.0
# The cached confidence holds for 2 s: where an answer takes as long as that, ask again.
CONFIDENCE_ATTEMPTS = 3
# As Azure Web PubSub defines it; bots use the same.
SUBPROTOCOL = "json.reliable.webpubsub.azure.v1"
USER_AGENT = "signal-cloud-smoke-test"


class Failed(Exception):
    """A check did not hold; the text says what was found instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    document: dict[str, Any]

    @property
    def code(self) -> str:
        """What kind of problem it is, or an empty text."""
        return str(self.document.get("code", ""))


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
        """One request; `key` is the bot's unless another, or None, is given. Raises Failed."""
        key = self._key if key == "" else key
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        try:
            async with self.session.request(
                method, f"{self._base_url}/api/{path}", json=body, headers=headers, params=query
            ) as response:
                document = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Failed(f"{method} {path}: {type(error).__name__}: {error}") from error
        return Answer(response.status, document if isinstance(document, dict) else {})

    async def expect(self, method: str, path: str, body: object = None, **query: str) -> dict[str, Any]:
        """The document of a 200; raises Failed."""
        answer = await self.ask(method, path, body, **query)
        if answer.status != 200:
            detail = answer.document.get("detail", "")
            raise Failed(f"{method} {path} answered {answer.status} {answer.code} {detail}".rstrip())
        return answer.document


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Failed(otherwise)


async def check_health(api: Api) -> str:
    document = await api.expect("GET", "health")
    _hold(document.get("status") == "pass", f"status is {document.get('status')!r}, not pass")
    return "pass"


async def check_ready(api: Api) -> str:
    answer = await api.ask("GET", "health/ready")
    checks = answer.document.get("checks", {})
    found = [
        f"{name} {check['status']} ({check.get('detail', '')})"
        for name, check in checks.items()
        if check["status"] != "pass"
    ]
    _hold(answer.status == 200, f"answered {answer.status}: {'; '.join(found)}")
    _hold(bool(checks), "names no check")
    return "; ".join(found) or "every dependency passes"


async def check_keys_refused(api: Api) -> str:
    """Nobody, and somebody with a key of the right form that nobody issued."""
    for key, code in ((None, "key_missing"), (new_key("smoke0"), "key_unknown")):
        answer = await api.ask("GET", "license", key=key)
        found = (answer.status, answer.code)
        _hold(found == (401, code), f"expected 401 {code}, found {answer.status} {answer.code}")
    return "no key and an invented key are refused"


async def check_confidence(api: Api) -> str:
    """Asked twice, the second answer is the first one out of the cache."""
    state = {"symbol": api.symbol, "signal_type": "LONG", "vwap_distance": 9.9, "rsi": 1}
    for _ in range(CONFIDENCE_ATTEMPTS):
        first = await api.expect("POST", "ml/get_confidence", state)
        second = await api.expect("POST", "ml/get_confidence", state)
        _hold(0 <= first["confidence"] <= 1, f"confidence is {first['confidence']}")
        if second["cached"] and second["confidence"] == first["confidence"]:
            return f"{second['confidence']} ({second['basis']}), cached for {second['age_ms']} ms"
    raise Failed(f"asked twice, {CONFIDENCE_ATTEMPTS} times over, no answer came out of the cache")


async def check_realtime(api: Api) -> str:
    """Negotiate, connect, and join the symbol's group."""
    access = await api.expect("POST", "ws/negotiate", {"symbols": [api.symbol]})
    (group,) = access["groups"]
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            api.session.ws_connect(access["url"], protocols=[SUBPROTOCOL]) as socket,
        ):
            connected = await socket.receive_json()
            _hold(connected.get("event") == "connected", f"the hub greeted with {connected.get('event')!r}")
            await socket.send_json({"type": "joinGroup", "group": group, "ackId": 1})
            while (said := await socket.receive_json()).get("type") != "ack":
                pass  # a signal, or a heartbeat
    except (aiohttp.ClientError, TimeoutError, TypeError, ValueError) as error:
        # Without its text, which may hold the address and with that the token.
        raise Failed(f"no WebSocket: {type(error).__name__}") from error
    _hold(said.get("success") is True, f"{group} was not joined: {said.get('error')}")
    return f"connected, joined {group}"


async def check_trade(api: Api) -> str:
    """A trade is recorded once, however often it is reported, and is shown to its account."""
    now = datetime.now(UTC)
    trade = {
        "trade_id": f"smoke-{uuid4().hex}",
        "symbol": api.symbol,
        "side": "LONG",
        "entry_price": "1",
        "exit_price": "1",
        "entry_at": (now - timedelta(minutes=1)).isoformat(),
        "exit_at": now.isoformat(),
        "pnl": "0",
    }
    for expected in ("recorded", "duplicate"):
        report = await api.expect("POST", "trades", trade)
        status = report["results"][0]["status"]
        _hold(status == expected, f"expected {expected}, found {status}")
    page = await api.expect("GET", "trades", since=(now - timedelta(seconds=1)).isoformat())
    shown = [each["trade_id"] for each in page["trades"]].count(trade["trade_id"])
    _hold(shown == 1, f"{trade['trade_id']} is shown {shown} times")
    return "recorded, a duplicate the second time, shown once"


CHECKS: dict[str, Callable[[Api], Awaitable[str]]] = {
    "health": check_health,
    "ready": check_ready,
    "keys": check_keys_refused,
    "confidence": check_confidence,
    "realtime": check_realtime,
    "trade": check_trade,
}


async def await_answer(api: Api, version: str | None, wait_s: float) -> str:
    """The version that answers; waits until one does, and until it is `version` if one is named."""
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


async def smoke_test(api: Api, version: str | None, wait_s: float) -> bool:
    """Prints a line for each check; whether all hold. None is tried where no app answers."""
    try:
        print(f"ok      version     {await await_answer(api, version, wait_s)}")
    except Failed as error:
        print(f"FAILED  version     {error}")
        return False
    failures = 0
    for name, check in CHECKS.items():
        started = time.monotonic()
        try:
            told, word = await check(api), "ok"
        except Failed as error:
            told, word = str(error), "FAILED"
        except (KeyError, TypeError, ValueError) as error:
            told, word = f"an answer of another form: {type(error).__name__}: {error}", "FAILED"
        failures += word == "FAILED"
        print(f"{word:<6}  {name:<10}  {told} [{(time.monotonic() - started) * 1000:.0f} ms]", flush=True)
    return failures == 0


async def _run(options: argparse.Namespace) -> int:
    key = os.environ.get("SIGNAL_CLOUD_KEY", "").strip()
    problems = []
    if not key:
        problems.append("SIGNAL_CLOUD_KEY is not set: a bot's key, of an account for this test")
    if not options.url.startswith(("https://", "http://")):
        problems.append("the address must begin with https://, or http:// on one machine")
    if problems:
        raise AskedWrongly("; ".join(problems))
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": USER_AGENT}) as session:
        api = Api(session, options.url, key, options.symbol)
        return 0 if await smoke_test(api, options.expect_version, options.wait) else FAILED


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every check holds, 1 when one does not, 2 when it was asked wrongly."""
    return finish(_run(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m delivery.smoke", description=summary)
    host = os.environ.get("HOST", "").strip()
    parser.add_argument(
        "url", nargs="?" if host else None, default=host, help="such as https://signals.example.com"
    )
    parser.add_argument("--expect-version", metavar="VERSION", help="the version that has to answer")
    parser.add_argument(
        "--wait", metavar="SECONDS", type=float, default=WAIT_S, help=f"for a first answer ({WAIT_S:g})"
    )
    parser.add_argument("--symbol", default="ES", help="one that the key's license covers (ES)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
