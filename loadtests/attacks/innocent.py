"""Plays an innocent bot at a steady, modest rate, and records what each of its requests experienced.

`python -m loadtests.attacks.innocent` reads a Plan (MessagePack) on standard input, runs it, and writes an
Outcome on standard output. The load is open loop: a request falls due whether the server keeps up or not, and
its latency counts from then. Times are on the monotonic clock, which all processes of the machine share.
"""

import asyncio
import contextlib
import itertools
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import uvloop

from loadtests.attacks.http_client import Answer, Connection, Refused, request
from loadtests.bench import market

CONNECTIONS_A_KIND = 4
SYMBOL = "ES"
# Requests a second of each kind: a busy bot, far below what one worker can do.
RATES = {"confidence": 20.0, "trade": 4.0, "page": 4.0, "performance": 2.0, "publish": 2.0}
PHASE_S = 0.011
# Asked in turn, so that some answers are cached (for two seconds) and some are computed.
STATES = 60
LAST_SIGNAL_S = 3.0
RECONNECT_S = 0.5


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run from now until `ends_at`; `publisher_key` publishes the signals that the bot's socket hears."""

    port: int
    key: str
    publisher_key: str
    ends_at: float


class Sample(msgspec.Struct, array_like=True):
    """One request, or one signal on the socket. `failure` is empty if all was well."""

    kind: str
    due_at: float
    latency_s: float
    failure: str = ""


class Outcome(msgspec.Struct, kw_only=True):
    samples: list[Sample]
    cpu_s: float


def trade_body(trade_id: str, now: datetime, *, count: int = 1) -> bytes:
    """Returns a report of `count` finished trades whose ids begin with `trade_id`."""
    exit_at = now - timedelta(minutes=5)
    trades = [
        {
            "trade_id": f"{trade_id}-{number}",
            "symbol": SYMBOL,
            "side": "LONG",
            "entry_price": "6543.25",
            "exit_price": "6545.50",
            "entry_at": (exit_at - timedelta(minutes=15, seconds=number)).isoformat(),
            "exit_at": (exit_at - timedelta(seconds=number)).isoformat(),
            "pnl": "112.50",
            "confidence": 0.6,
        }
        for number in range(count)
    ]
    return msgspec.json.encode({"trades": trades})


class Innocent:
    """The bot's connections, its socket on the hub, and the samples so far."""

    def __init__(self, plan: Plan) -> None:
        self.samples: list[Sample] = []
        self._plan = plan
        # Each kind has its own, used in turn, so that every worker process gets its share. A request that
        # finds none free opens one more: the bot must not wait for itself.
        self._free = {kind: deque(Connection(plan.port) for _ in range(CONNECTIONS_A_KIND)) for kind in RATES}
        self._published: dict[int, float] = {}
        self._heard: dict[int, float] = {}

    def _requests(self) -> dict[str, Callable[[int], bytes]]:
        key, run = self._plan.key, f"innocent-{time.monotonic_ns()}"
        states = [market.body(number) for number in market.shuffled_states(seed=12)[:STATES]]
        # An exit, because it is accepted at every hour.
        signal = msgspec.json.encode({"symbol": SYMBOL, "side": "LONG", "kind": "exit", "price": "6543.25"})
        return {
            "confidence": lambda n: request("POST", "ml/get_confidence", key=key, body=states[n % STATES]),
            "trade": lambda n: request(
                "POST", "trades", key=key, body=trade_body(f"{run}-{n}", datetime.now(UTC))
            ),
            "page": lambda n: request("GET", "trades?limit=100", key=key),
            "performance": lambda n: request("GET", "performance", key=key),
            "publish": lambda n: request(
                "POST", "signals", key=self._plan.publisher_key, body=signal, idempotency_key=f"{run}-{n}"
            ),
        }

    async def run(self) -> None:
        listening = asyncio.create_task(self._listen())
        requests = self._requests()
        await asyncio.gather(*(self._keep_asking(kind, rate, requests[kind]) for kind, rate in RATES.items()))
        await asyncio.sleep(LAST_SIGNAL_S)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        for sequence, sent_at in self._published.items():
            heard_at = self._heard.get(sequence)
            if heard_at is None:
                self.samples.append(Sample("signal", sent_at, LAST_SIGNAL_S, "lost"))
            else:
                self.samples.append(Sample("signal", sent_at, heard_at - sent_at))

    async def _keep_asking(self, kind: str, rate: float, make: Callable[[int], bytes]) -> None:
        # Each kind begins at another moment, so that the bot does not queue behind itself every second.
        began_at = time.monotonic() + PHASE_S * list(RATES).index(kind)
        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                due_at = began_at + number / rate
                if due_at >= self._plan.ends_at:
                    return
                await asyncio.sleep(max(0.0, due_at - time.monotonic()))
                group.create_task(self._ask(kind, due_at, make(number)))

    async def _ask(self, kind: str, due_at: float, whole_request: bytes) -> None:
        free = self._free[kind]
        connection = free.popleft() if free else Connection(self._plan.port)
        failure = ""
        try:
            answer = await connection.ask(whole_request)
            if not answer.is_success:
                failure = answer.label
            elif kind == "publish":
                self._published[msgspec.json.decode(answer.body)["sequence"]] = due_at
        except Refused as error:
            failure = str(error)
        finally:
            free.append(connection)
        self.samples.append(Sample(kind, due_at, time.monotonic() - due_at, failure))

    async def _listen(self) -> None:
        """Keeps one socket on the hub; each loss of it is a failure."""
        connection = Connection(self._plan.port)
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    granted = await connection.ask(
                        request("POST", "ws/negotiate", key=self._plan.key, body=b'{"symbols":["ES"]}')
                    )
                    await self._hear(session, granted)
                    failure = "closed"
                except (Refused, aiohttp.ClientError) as error:
                    failure = str(error) or type(error).__name__
                self.samples.append(Sample("socket", time.monotonic(), 0.0, failure))
                await asyncio.sleep(RECONNECT_S)

    async def _hear(self, session: aiohttp.ClientSession, granted: Answer) -> None:
        if not granted.is_success:
            raise Refused(granted.label)
        access = msgspec.json.decode(granted.body)
        async with session.ws_connect(access["url"], protocols=[access["protocol"]]) as socket:
            for number, group in enumerate(access["groups"], start=1):
                await socket.send_json({"type": "joinGroup", "group": group, "ackId": number})
            async for frame in socket:
                now = time.monotonic()
                message = msgspec.json.decode(frame.data)
                if (sequence_id := message.get("sequenceId")) is not None:
                    await socket.send_json({"type": "sequenceAck", "sequenceId": sequence_id})
                data = message.get("data")
                if isinstance(data, dict) and data.get("type") == "signal":
                    self._heard.setdefault(data["sequence"], now)


def main() -> None:
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    innocent = Innocent(plan)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(innocent.run())
    outcome = Outcome(samples=innocent.samples, cpu_s=time.process_time())
    sys.stdout.buffer.write(msgspec.msgpack.encode(outcome))


if __name__ == "__main__":
    main()
