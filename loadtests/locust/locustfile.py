"""Defines Locust's users: bots that use the public contract of any deployment (`make loadtest`).

SCENARIO chooses the users (default `bots`):

- `bots`: each user asks for a hundred confidences with short pauses, and leaves. 100 users are a small
  customer base.
- `opening_bell`: users wait for the bell, then all ask at once for the few states of the opening, several
  times; run it with 1,000 users.
- `mixed`: a trading session. Users ask for confidences, report trades one by one and in batches, sometimes
  send them again as after a lost answer, read their own trades, and open new connections.

Each user has a key of its own from KEYS, one a line. More processes on one machine: WORKERS=4. More
machines: LOCUST_ARGS="--master" or "--worker --master-host ...".
"""

import itertools
import os
import random
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust import FastHttpUser, between, constant, events, task
from locust.env import Environment
from locust.exception import StopUser

from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.trading.pnl import pnl_of

SYMBOLS = ("ES", "NQ", "CL", "YM", "RTY")
REQUESTS_A_BOT = 100
BELL_AFTER_S = float(os.environ.get("BELL_AFTER_S", "10"))
ASKS_AT_THE_BELL = 5
MAX_AGE_MS = 2_000
# Each of the symbols can have these prices.
ENTRY_PRICE, EXIT_PRICE = Decimal("543.25"), Decimal("545.50")
FEES_USD = Decimal("4.50")


def read_keys() -> list[str]:
    """Returns the keys of the file KEYS; exits with a message if there are none."""
    path = Path(os.environ.get("KEYS", ".local/load_keys.txt"))
    try:
        keys = path.read_text(encoding="ascii").split()
    except OSError as error:
        raise SystemExit(f"KEYS={path} cannot be read ({error.strerror}): one API key a line") from None
    if not keys:
        raise SystemExit(f"KEYS={path} holds no key")
    # Locust's processes share the file. Each one shuffles it, so that few keys get two users at once.
    random.shuffle(keys)
    return keys


_keys: Iterator[str] = iter(())
_bell = Event()


@events.init.add_listener
def _prepare(environment: Environment, **_: Any) -> None:
    global _keys  # noqa: PLW0603 - Locust creates the users; they share the keys
    _keys = itertools.cycle(read_keys())


@events.test_start.add_listener
def _set_the_bell(**_: Any) -> None:
    _bell.clear()
    gevent.spawn_later(BELL_AFTER_S, _bell.set)


class Bot(FastHttpUser):
    """One bot with one key. It judges answers, not only their status."""

    abstract = True
    connection_timeout = 10.0
    network_timeout = 20.0

    def on_start(self) -> None:
        self.key = next(_keys)
        self.random = random.Random(self.key)  # noqa: S311 - load, no secret
        self.bot_id = uuid.uuid4().hex[:8]
        self.reported = 0

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def ask_confidence(self, state: dict[str, Any], name: str = "confidence") -> None:
        with self.rest("POST", "/api/ml/get_confidence", json=state, headers=self.auth, name=name) as answer:
            if answer.js is None:
                return  # Locust has already counted a failure
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {answer.js.get('code')}")
            elif not 0 <= answer.js["confidence"] <= 1 or answer.js["symbol"] != state["symbol"]:
                answer.failure("the answer is for another state")
            elif answer.js["age_ms"] > MAX_AGE_MS:
                answer.failure("the answer is older than two seconds")

    def market_state(self) -> dict[str, Any]:
        return {
            "symbol": self.random.choice(SYMBOLS),
            "signal_type": self.random.choice(("LONG", "SHORT")),
            "vwap_distance": round(self.random.uniform(0, 4), 2),
            "rsi": round(self.random.uniform(10, 90), 1),
        }

    def trade(self) -> dict[str, Any]:
        self.reported += 1
        exit_at = datetime.now(UTC) - timedelta(seconds=self.random.randrange(1, 600))
        symbol = self.random.choice(SYMBOLS)
        return {
            "trade_id": f"load-{self.bot_id}-{self.reported}",
            "symbol": symbol,
            "side": "LONG",
            "entry_price": str(ENTRY_PRICE),
            "exit_price": str(EXIT_PRICE),
            "entry_at": (exit_at - timedelta(minutes=5)).isoformat(),
            "exit_at": exit_at.isoformat(),
            "pnl": str(pnl_of(INSTRUMENTS[symbol], "LONG", Decimal(1), ENTRY_PRICE, EXIT_PRICE)),
            "fees": str(FEES_USD),
        }

    def report(self, trades: list[dict[str, Any]], *, known: bool, name: str) -> None:
        with self.rest(
            "POST", "/api/trades", json={"trades": trades}, headers=self.auth, name=name
        ) as answer:
            if answer.js is None:
                return
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {answer.js.get('code')}")
            elif answer.js["duplicates" if known else "recorded"] != len(trades):
                answer.failure(f"of {len(trades)} trades: {answer.js['recorded']} recorded")


class Bots(Bot):
    """Asks a hundred times, then leaves."""

    wait_time = between(0.05, 0.5)

    def on_start(self) -> None:
        super().on_start()
        self.asked = 0

    @task
    def ask(self) -> None:
        self.ask_confidence(self.market_state())
        self.asked += 1
        if self.asked >= REQUESTS_A_BOT:
            raise StopUser


class OpeningBell(Bot):
    """Asks with all others at once: at the opening every bot has the same few states."""

    wait_time = constant(0)

    @task
    def wait_for_the_bell(self) -> None:
        _bell.wait()
        for _ in range(ASKS_AT_THE_BELL):
            moment = int(time.time())
            opening = random.Random(moment)  # noqa: S311 - the same for all
            self.ask_confidence(
                {
                    "symbol": "ES",
                    "signal_type": "LONG",
                    "vwap_distance": opening.randrange(15, 40) / 10,
                    "rsi": opening.randrange(15, 35),
                },
                name="confidence at the bell",
            )
            gevent.sleep(1 - time.time() % 1)
        raise StopUser


class Mixed(Bot):
    """Does what bots do in trading hours, in realistic shares."""

    wait_time = between(0.1, 1.0)

    @task(70)
    def ask(self) -> None:
        self.ask_confidence(self.market_state())

    @task(10)
    def report_one(self) -> None:
        trade = self.trade()
        self.report([trade], known=False, name="trade")
        if self.random.random() < 0.2:
            self.report([trade], known=True, name="trade, sent again")

    @task(3)
    def report_batch(self) -> None:
        count = self.random.randrange(2, 100)
        self.report([self.trade() for _ in range(count)], known=False, name="trades in a batch")

    @task(7)
    def read_back(self) -> None:
        self.client.get("/api/trades?limit=20", headers=self.auth, name="own trades")

    @task(5)
    def negotiate(self) -> None:
        with self.rest("POST", "/api/ws/negotiate", json={"symbols": ["ES"]}, headers=self.auth) as answer:
            if answer.js is not None and not str(answer.js.get("url", "")).startswith("ws"):
                answer.failure(f"{answer.status_code} {answer.js.get('code')}")

    @task(5)
    def reconnect(self) -> None:
        self.client.client.clientpool.close()
        self.client.get("/api/license", headers=self.auth, name="license on a new connection")


def _choose(name: str) -> None:
    """Makes the users of one scenario the only ones that Locust creates."""
    scenarios = {"bots": Bots, "opening_bell": OpeningBell, "mixed": Mixed}
    if name not in scenarios:
        raise SystemExit(f"SCENARIO={name} must be one of {', '.join(scenarios)}")
    for each, kind in scenarios.items():
        kind.abstract = each != name


_choose(os.environ.get("SCENARIO") or "bots")
