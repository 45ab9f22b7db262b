"""Measures what one bot costs in bytes: requests, answers, messages and the telemetry of both.

    python -m loadtests.bench.bot_traffic

Starts a stack of its own and stops it again. It counts HTTP on the wire between the app and the client that
bots use, without TLS, messages as Web PubSub delivers them, and telemetry as Azure's exporter sends it.
infra/cost/load.toml holds the figures, and the cost of a month is estimated from them.
"""

# ruff: noqa: T201 - a terminal reads it

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx

from loadtests.bench.ingestion import Ingestion, Received, ingestion
from loadtests.bench.processes import server, temporary_directory
from local.stack.ports import free_ports

REQUESTS = 500
LISTEN_S = 32.0  # three heartbeats
METRICS_EVERY_S = 60
SYMBOL = "ES"
# Without these the exporter also sends its own statistics to Microsoft and asks for its configuration.
_EXPORTER_ALONE = {
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}


class Tally:
    """Counts the bytes through a relay, each way."""

    def __init__(self) -> None:
        self.sent = self.answered = 0


@contextlib.asynccontextmanager
async def _counted(port: int, tally: Tally) -> Any:
    """Runs a relay in front of the app that counts all bytes; yields its port."""

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, kind: str) -> None:
        while chunk := await source.read(65_536):
            setattr(tally, kind, getattr(tally, kind) + len(chunk))
            target.write(chunk)
            await target.drain()
        target.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        app_reader, app_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(pass_on(reader, app_writer, "sent"), pass_on(app_reader, writer, "answered"))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


async def _confidences(port: int, key: str, count: int) -> Tally:
    """Asks for `count` confidences of different states over one kept connection."""
    tally, chance = Tally(), random.Random(1)  # noqa: S311 - load, no secret
    async with (
        _counted(port, tally) as relay_port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{relay_port}") as client,
    ):
        for _ in range(count):
            state = {
                "symbol": SYMBOL,
                "signal_type": chance.choice(("LONG", "SHORT")),
                "vwap_distance": round(chance.uniform(0, 4), 2),
                "rsi": round(chance.uniform(10, 90), 1),
            }
            answer = await client.post(
                "/api/ml/get_confidence", json=state, headers={"Authorization": f"Bearer {key}"}
            )
            answer.raise_for_status()
    return tally


async def _messages(base_url: str, keys: dict[str, str]) -> dict[str, list[int]]:
    """Returns the bytes of each message that a bot of one symbol gets, by the message's type."""
    sizes: dict[str, list[int]] = defaultdict(list)
    async with httpx.AsyncClient(base_url=base_url) as client, aiohttp.ClientSession() as session:
        access = await client.post(
            "/api/ws/negotiate",
            json={"symbols": [SYMBOL]},
            headers={"Authorization": f"Bearer {keys['bot']}"},
        )
        granted = access.raise_for_status().json()
        async with session.ws_connect(granted["url"], protocols=[granted["protocol"]]) as socket:
            for number, group in enumerate(granted["groups"], start=1):
                await socket.send_json({"type": "joinGroup", "group": group, "ackId": number})
            published = await client.post(
                "/api/signals",
                # An exit, because it is accepted at every hour.
                json={"symbol": SYMBOL, "side": "LONG", "kind": "exit", "price": "6543.25"},
                headers={"Authorization": f"Bearer {keys['publisher']}"},
            )
            published.raise_for_status()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LISTEN_S):
                    async for frame in socket:
                        found = json.loads(frame.data)
                        if found["type"] == "message":
                            sizes[found["data"]["type"]].append(len(frame.data.encode()))
    return sizes


def _telemetry(received: Sequence[Received]) -> dict[str, float]:
    """Returns the bytes of telemetry of one traced confidence, and of a process's metrics in a minute."""
    traces: dict[str, int] = defaultdict(int)
    of_confidence = set()
    metrics: dict[tuple[str, float], int] = defaultdict(int)
    for at_s, envelope in received:
        kind, size = envelope["data"]["baseType"], len(json.dumps(envelope, separators=(",", ":")).encode())
        if kind == "MetricData":
            metrics[envelope["tags"]["ai.cloud.roleInstance"], round(at_s / METRICS_EVERY_S)] += size
            continue
        trace = envelope["tags"]["ai.operation.id"]
        traces[trace] += size
        if kind == "RequestData" and "get_confidence" in envelope["data"]["baseData"]["name"]:
            of_confidence.add(trace)
    return {
        "telemetry of a traced confidence, bytes": statistics.mean(traces[each] for each in of_confidence),
        "metrics of a process, bytes a minute": statistics.median(metrics.values()),
    }


@contextlib.contextmanager
def _stack(directory: Path, insights: Ingestion) -> Iterator[dict[str, Any]]:
    (port,) = free_ports(1)
    state = directory / "state"
    environment = {
        "STATE": str(state),
        "PORT": str(port),
        "LOAD_KEYS": "1",
        "WORKERS": "1",
        "TELEMETRY_SAMPLE_RATIO": "1",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": insights.connection_string,
        "OTEL_METRIC_EXPORT_INTERVAL": str(METRICS_EVERY_S * 1000),
        **_EXPORTER_ALONE,
    }
    with server(["-m", "local", "up"], environment, directory / "stack.log", state / "stack.json"):
        addresses: dict[str, Any] = json.loads((state / "stack.json").read_text())
        yield {**addresses, "load_key": (state / "load_keys.txt").read_text().split()[0]}


async def measure(stack: dict[str, Any]) -> dict[str, float]:
    port = int(stack["base_url"].rpartition(":")[2])
    # The processes load OpenTelemetry two seconds after the first request.
    await _confidences(port, stack["load_key"], 1)
    await asyncio.sleep(3)
    tally = await _confidences(port, stack["load_key"], REQUESTS)
    sizes = await _messages(stack["base_url"], stack["keys"])
    return {
        "confidence request, bytes": tally.sent / REQUESTS,
        "confidence answer, bytes": tally.answered / REQUESTS,
        "heartbeat as delivered, bytes": statistics.mean(sizes["heartbeat"]),
        "signal as delivered, bytes": statistics.mean(sizes["signal"]),
    }


def main() -> int:
    argparse.ArgumentParser(
        prog="python -m loadtests.bench.bot_traffic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    with ingestion() as insights, temporary_directory() as directory:
        with _stack(directory, insights) as stack:
            found = asyncio.run(measure(stack))
            time.sleep(METRICS_EVERY_S)  # two exports of metrics are complete by then
        found |= _telemetry(insights.received)
    print(f"{datetime.now(UTC).date()}, {os.cpu_count()} processors, {REQUESTS} confidences:")
    for name, value in found.items():
        print(f"  {name}: {value:,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
