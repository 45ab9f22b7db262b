"""A running stack with telemetry on, after it has seen a bit of everything that telemetry can tell."""

import hashlib
import hmac
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import psycopg

from loadtests.bench.ingestion import Ingestion, ingestion
from shared.adapters.calendars import market_calendars
from shared.domain.access.keys import new_key
from shared.domain.market.bars import BAR_INTERVAL
from shared.metrics import METRICS
from tests.support.running import RunningStack
from tests.support.stacks import LocalStack, local_stack
from tests.support.telemetry_rows import OtlpFile, all_rows

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER_SPAN_ID = "00f067aa0ba902b7"
STATE = {"symbol": "ES", "signal_type": "LONG", "vwap_distance": 2.1, "rsi": 35}
SENT_WITHIN_S = 30.0
# Without what the exporter would tell Microsoft of itself, and ask of it.
EXPORTER_ALONE = {
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}


@dataclass(frozen=True)
class Watched:
    """What the stack sent: to the file, and the same to Application Insights' stand-in."""

    file: OtlpFile
    insights: Ingestion


@contextmanager
def watched_stack(state: Path) -> Iterator[Watched]:
    state.parent.mkdir(parents=True, exist_ok=True)
    path = state.parent / "telemetry.jsonl"
    with ingestion() as insights:
        variables = {
            "TELEMETRY_FILE": str(path),
            "TELEMETRY_SAMPLE_RATIO": "1",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": insights.connection_string,
            **EXPORTER_ALONE,
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "TRAINING_SCHEDULE": "*/5 * * * * *",
            "EXPORT_SCHEDULE": "*/5 * * * * *",
        }
        with local_stack("up", state, None, **variables) as started:
            started.await_ready()
            watched = Watched(OtlpFile(path), insights)
            stack = RunningStack(started.state)
            # The processes load OpenTelemetry a moment after their first request or timer.
            _await(lambda: "signal_cloud.outbox.age" in watched.file.metrics(), "timers' metrics", started)
            _plan_faults(stack.document["vendors"])
            with stack.client("bot") as probe:
                _await(
                    lambda: bool(probe.get("/health").is_success and watched.file.spans()), "spans", started
                )
            _make_a_jump(stack.document["database_url"])
            _drive(stack, started)
            _await_everything(watched, started)
            yield watched


def _await(happened: Callable[[], bool], what: str, stack: LocalStack) -> None:
    deadline = time.monotonic() + SENT_WITHIN_S
    while not happened():
        assert time.monotonic() < deadline, f"no {what} after {SENT_WITHIN_S} s:\n{stack.logs()}"
        time.sleep(0.1)


def _await_everything(watched: Watched, started: LocalStack) -> None:
    deadline = time.monotonic() + SENT_WITHIN_S
    while missing := _missing(watched):
        assert time.monotonic() < deadline, f"{missing} after {SENT_WITHIN_S} s:\n{started.logs()}"
        time.sleep(0.1)


def _missing(watched: Watched) -> list[str]:
    """The metrics that were not sent to both, the counters that counted nothing, and whether spans differ."""
    sent = watched.file.metrics()
    counted = {metric.name for metric in METRICS if metric.kind != "gauge"}
    idle = {name for name in counted if not any(value > 0 for value, _ in sent.get(name, ()))}
    named = {row.columns["Name"] for row in all_rows(watched.insights) if row.table == "AppMetrics"}
    stored = {row.columns["Id"] for row in all_rows(watched.insights) if "Id" in row.columns}
    unsent = {metric.name for metric in METRICS} - (set(sent) & named)
    spans = set() if stored == {span.span_id for span in watched.file.spans()} else {"spans"}
    return sorted(idle | unsent | spans)


def _plan_faults(vendors: dict[str, str]) -> None:
    """Lets Slack refuse a notification for ever, and PagerDuty take one, of that, without an answer."""
    headers = {"Authorization": f"Bearer {vendors['control_token']}"}
    for fault in (
        {"vendor": "slack", "kind": "status", "status": 410},
        {"vendor": "pagerduty", "kind": "lost"},
    ):
        _expect(httpx.post(f"{vendors['url']}/faults", json=fault, headers=headers), 204)


def _make_a_jump(database_url: str) -> None:
    """Stores outcomes that all won, which training finds too good to be served unseen."""
    with psycopg.connect(database_url) as connection:
        connection.execute("""
            insert into signal_outcomes (symbol, sequence, strategy, side, event_at, features, won)
            select 'ES', n, 'vwap_bounce', 'LONG', now() - n * interval '1 hour',
                '{"vwap_distance": 2, "rsi": 30}', true
            from generate_series(1, 200) as n
        """)


def _drive(stack: RunningStack, started: LocalStack) -> None:
    now = datetime.now(UTC).replace(microsecond=0, second=0)
    with stack.client("bot") as bot, stack.client("publisher") as publisher, stack.client("feeder") as feeder:
        caller = {"traceparent": f"00-{TRACE_ID}-{CALLER_SPAN_ID}-00", "x-request-id": "watched-1"}
        for _ in range(2):
            _expect(bot.post("/ml/get_confidence", json=STATE, headers=caller), 200)
        _expect(bot.post("/trades", json=_trade(now)), 200)
        # An exit, because it is accepted at every hour.
        body = {"symbol": "ES", "side": "LONG", "kind": "exit", "price": "6543.25"}
        _expect(publisher.post("/signals", json=body), 201)
        answer = feeder.post("/bars", json={"symbol": "ES", "bars": _spiked(now)})
        _expect(answer, 200)
        assert answer.json()["quarantined"] == 1
        _expect(feeder.post("/bars", json={"symbol": "ES", "bars": [_bar(now - timedelta(minutes=3))]}), 200)
        _expect(bot.get("/signals", params={"symbol": "ES"}), 200)
        _expect(bot.post("/signals", json={}), 403)
        _expect(bot.get("/status", headers={"authorization": ""}), 401)
        with psycopg.connect(stack.document["database_url"]) as connection:
            # Postgres takes too long to count a connection of any license.
            connection.execute("lock table connections in access exclusive mode")
            _expect(_connect(stack, bot, "c-uncounted"), 204)
        for number in range(10):
            _expect(_connect(stack, bot, f"c-{number}"), 204)
        _expect(_connect(stack, bot, "c-10"), 429)
        with _stopped(started.pid("azurite")):
            # A key that no cache knows: the store must be asked, and cannot answer.
            stranger = {"authorization": f"Bearer {new_key('zz9zz9')}"}
            _expect(bot.get("/license", headers=stranger), 503)
        with _stopped(started.pid("valkey")):
            _expect(bot.post("/ml/get_confidence", json=STATE), 200)


def _connect(stack: RunningStack, bot: httpx.Client, connection_id: str) -> httpx.Response:
    """The answer to Web PubSub's question whether a client with a URL of its own may connect."""
    (token,) = parse_qs(urlsplit(bot.post("/ws/negotiate").json()["url"]).query)["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    key = stack.document["webpubsub_connection_string"].partition("AccessKey=")[2].partition(";")[0]
    signed = hmac.new(key.encode(), connection_id.encode(), hashlib.sha256).hexdigest()
    headers = {
        "ce-type": "azure.webpubsub.sys.connect",
        "ce-hub": "signals",
        "ce-connectionId": connection_id,
        "ce-userId": claims["sub"],
        "ce-signature": f"sha256={signed}",
    }
    body = {"claims": {"webpubsub.group": claims["webpubsub.group"]}}
    return bot.post("/ws/events", headers=headers, json=body)


def _expect(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, f"{answer.request.url}: {answer.text}"


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _trade(now: datetime) -> dict[str, Any]:
    return {
        "trade_id": "watched",
        "symbol": "ES",
        "side": "LONG",
        "entry_price": "6543.25",
        "exit_price": "6545.50",
        "entry_at": (now - timedelta(minutes=20)).isoformat(),
        "exit_at": (now - timedelta(minutes=5)).isoformat(),
        "pnl": "112.50",
    }


def _spiked(now: datetime) -> list[dict[str, Any]]:
    """Quiet bars of a session of the last days, and one at a price that nothing explains."""
    hours = (now.replace(hour=15, minute=0) - timedelta(days=days) for days in range(1, 8))
    start = next(hour for hour in hours if market_calendars().is_open("ES", hour))
    quiet = [_bar(start + n * BAR_INTERVAL) for n in range(20)]
    spike = dict.fromkeys(("open", "high", "low", "close"), "6743.25")
    return [*quiet, _bar(start + 20 * BAR_INTERVAL) | spike]


def _bar(open_time: datetime) -> dict[str, Any]:
    prices = {"open": "6543.25", "high": "6544", "low": "6543", "close": "6543.5"}
    return {"open_time": open_time.isoformat(), **prices, "volume": 10}
