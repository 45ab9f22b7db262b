"""The attacks' own judgement: what they send, how they read answers, what they call met and missed."""

import argparse
import asyncio
import dataclasses
import json
import re
import shlex
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

import loadtests.attacks.__main__ as attacks_main
import loadtests.attacks.revocation.__main__ as revocation_main
from loadtests.attacks import keyless, licensed, report
from loadtests.attacks.catalog import ATTACKS
from loadtests.attacks.field import Field, Plan
from loadtests.attacks.http_client import Answer, Connection, Refused, request
from loadtests.attacks.measuring import KindFigures, Result, chosen
from loadtests.attacks.revocation import report as revocation_report
from loadtests.attacks.revocation.watch import Cell, Innocents
from tests.support.places import ROOT

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LIMITED = b'HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 23\r\n\r\n{"code":"rate_limited"}'


@asynccontextmanager
async def server(*answers: bytes | None) -> AsyncIterator[int]:
    """Gives each request the next answer; None closes its connection. Yields the port."""
    waiting = iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            while await reader.readline() not in (b"\r\n", b""):
                continue
            answer = next(waiting)
            if answer is None:
                break
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


async def test_a_connection_reads_the_status_the_code_and_the_pause() -> None:
    async with server(OK, LIMITED) as port:
        connection = Connection(port)
        assert await connection.ask(request("GET", "license", key="k")) == Answer(
            200, b"http/1.1 200 ok\r\ncontent-length: 2\r\n\r\n", b"ok"
        )
        limited = await connection.ask(request("GET", "license", key="k"))
        assert (limited.label, limited.retry_after_s, limited.is_success) == ("429 rate_limited", 7.0, False)
        connection.close()


async def test_a_kept_connection_that_the_server_closes_asks_once_more_and_a_new_one_fails() -> None:
    async with server(OK, None, OK, None, None) as port:
        connection = Connection(port)
        for _ in range(2):
            assert (await connection.ask(request("GET", "license"))).status == 200
        with pytest.raises(Refused, match="closed"):
            await connection.ask(request("GET", "license"))


async def test_a_refusal_before_the_whole_body_went_out_is_read() -> None:
    refusal = b'HTTP/1.1 413 X\r\nConnection: close\r\nContent-Length: 18\r\n\r\n{"code":"too_big"}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refusal)
        await asyncio.sleep(0.1)  # else the reset may overtake the answer, for every client
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        connection = Connection(listening.sockets[0].getsockname()[1], asks_again=False)
        answer = await connection.ask(request("POST", "trades", body=b" " * 20_000_000))
        assert answer.label == "413 too_big"


async def test_an_attacker_sends_nothing_twice() -> None:
    async with server(OK, None, OK) as port:
        connection = Connection(port, asks_again=False)
        await connection.ask(request("GET", "license"))
        with pytest.raises(Refused, match="closed"):
            await connection.ask(request("GET", "license"))
        assert (await connection.ask(request("GET", "license"))).status == 200
        connection.close()


async def test_a_silent_server_is_a_timeout() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n") as port:
        with pytest.raises(Refused, match="timeout"):
            await Connection(port, timeout_s=0.05).ask(request("GET", "license"))


async def test_an_attacker_pauses_after_a_refusal_but_not_for_long() -> None:
    async with server(OK, LIMITED) as port:
        field = Field(Plan(name="x", port=port, key="", starts_at=0, ends_at=1e12))
        connection = Connection(port)
        assert await field.ask(connection, field.get("license")) == 0
        assert await field.ask(connection, field.get("license")) == 2.0
        assert field.answers == {"200": 1, "429 rate_limited": 1}
        connection.close()


async def test_an_attack_on_a_slow_server_ends_in_time_and_sends_no_more() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.1)
            writer.write(OK)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        now = time.monotonic()
        port = listening.sockets[0].getsockname()[1]
        field = Field(Plan(name="x", port=port, key="", starts_at=now, ends_at=now + 0.35))
        await field.at_rate(1_000, 2, lambda _: field.get("license"))
        assert time.monotonic() - now < 1
        assert 4 <= field.answers.total() <= 10


def test_an_attack_without_a_license_sends_no_key() -> None:
    field = Field(Plan(name="x", port=1, key="", starts_at=0, ends_at=1))
    assert b"authorization" not in field.post("ml/get_confidence", b"{}").lower()
    assert b"Bearer sc" in field.post("ml/get_confidence", b"{}", key="sc")


def test_the_large_body_has_the_size_and_the_fields_that_it_claims() -> None:
    body = keyless.large_body()
    assert 850_000 < len(body) < 950_000
    assert body.count(b",") == keyless.UNKNOWN_FIELDS + 3
    assert len(json.loads(body)) == keyless.UNKNOWN_FIELDS + 4


def test_the_old_trades_are_in_one_month_each() -> None:
    trades = json.loads(licensed.old_trades(NOW))["trades"]
    assert len(trades) == licensed.OLD_TRADES
    assert len({trade["exit_at"][:7] for trade in trades}) == licensed.OLD_TRADES
    assert trades[0]["exit_at"].startswith("2000-01")
    assert max(trade["exit_at"] for trade in trades) < NOW.isoformat()


def test_attacks_that_change_the_stack_come_last() -> None:
    lasting = [attack.lasting for attack in chosen([])]
    assert lasting == sorted(lasting)
    assert {attack.name for attack in chosen([])} == set(ATTACKS)
    assert [attack.name for attack in chosen(["volume", "batches"])] == ["batches", "volume"]


@pytest.mark.parametrize(
    ("module", "parser"),
    [
        ("loadtests.attacks", attacks_main.parser()),
        ("loadtests.attacks.revocation", revocation_main.parser()),
    ],
)
def test_the_commands_of_the_guide_can_be_parsed(module: str, parser: argparse.ArgumentParser) -> None:
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    lines = re.findall(rf"^python -m {re.escape(module)} ([^#\n]*)", guide, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        parser.parse_args(shlex.split(line))  # exits if an option or a name is unknown


def result(
    times: float = 1.0, failures: dict[str, int] | None = None, exceeded: dict[str, float] | None = None
) -> Result:
    return Result(
        name="batches",
        figures=[
            KindFigures("confidence", 10, 10, 2.0, 2.0),
            KindFigures("page", 10, 10, 2.0, 2.0 * times),
        ],
        failures=failures or {},
        quiet_failures={},
        answers={"200": 3, "429 rate_limited": 5},
        notes={"open": 2},
        attacker_cpu_s=0.1,
        host_cpu_s=0.2,
        memory_mb=(1.0, 2.0, 3.0),
        exceeded=exceeded or {},
    )


@pytest.mark.parametrize(
    ("measured", "is_met", "server_errors"),
    [
        (result(3.0), True, 0),
        (result(3.1), False, 0),
        (result(1.0, {"page: 503 database_unavailable": 2, "trade: timeout": 1}), False, 2),
        (result(1.0, {"signal: lost": 1}), False, 0),
        (result(1.0, {"trade: 429 rate_limited": 500}), False, 0),
        (result(1.0, None, {"most open at once": 1_500.0}), False, 0),
    ],
)
def test_an_attack_misses_by_one_slow_kind_one_failure_or_one_excess(
    measured: Result, is_met: bool, server_errors: int
) -> None:
    assert (measured.is_met, measured.server_errors) == (is_met, server_errors)
    assert ("MISSED" in report.table([measured])) is not is_met
    assert "429 rate_limited 5x, 200 3x" in "\n".join(report.described(measured))


CELL = Cell(
    ending="rotate",
    redis="hanging",
    status=0,
    text="done",
    took_s=1.0,
    last_200_s=None,
    granted=0,
    last_granted_s=None,
    last_signal_s=None,
    old_in=[],
    old_tried=6,
    closed=[(0.5, "key rotated"), (None, "")],
    answers=Counter({"401 key_expired": 4}),
    watched_s=16.0,
)


@pytest.mark.parametrize(
    ("change", "is_met"),
    [
        ({}, True),
        ({"last_200_s": 5.0, "last_signal_s": 10.0}, True),
        ({"last_200_s": 5.1}, False),
        ({"last_signal_s": 10.1}, False),
        ({"old_in": [0.2]}, False),
    ],
)
def test_a_cell_misses_by_one_late_answer_signal_or_old_url(change: dict[str, object], is_met: bool) -> None:
    cell = dataclasses.replace(CELL, **change)  # type: ignore[arg-type]
    assert cell.is_met is is_met
    assert ("MISSED" in revocation_report.table([cell], [])) is not is_met


@pytest.mark.parametrize(
    ("gap_s", "published", "is_met"),
    [(5.0, {"201": 9}, True), (5.1, {"201": 9}, False), (1.0, {"201": 9, "503": 1}, False), (1.0, {}, False)],
)
def test_publishing_misses_by_a_gap_or_a_refusal(
    gap_s: float, published: dict[str, int], is_met: bool
) -> None:
    beside = Innocents("killed", gap_s, 20, published, {"200": 5})
    assert beside.is_met is is_met
    text = "\n".join(revocation_report.described([CELL], beside))
    assert "its sockets closed after: 0.5 s (key rotated), none (no reason)" in text
