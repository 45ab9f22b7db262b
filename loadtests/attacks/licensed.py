"""Attacks over HTTP with a valid license: costly queries, old dates, volume, floods, batches."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec

from loadtests.attacks.field import Field
from loadtests.attacks.http_client import Connection
from loadtests.attacks.innocent import trade_body
from loadtests.bench import market

PARALLEL_PERFORMANCE = 24
OLD_TRADES = 322
OLD_YEARS = 27
TRADES_A_REQUEST = 500
FLOOD_A_SECOND = 1_000.0
NEGOTIATIONS_A_SECOND = 300.0
STATES_A_BATCH = 100
BATCHES = 40
REPORT_AGAIN_S = 5.0


async def performance(field: Field) -> None:
    whole = field.get("performance")
    await field.as_allowed(PARALLEL_PERFORMANCE, lambda _: whole)


def old_trades(now: datetime) -> bytes:
    """Returns a report of OLD_TRADES trades, one for each month from OLD_YEARS ago on."""
    trades = []
    first = now.year * 12 + now.month - 1 - OLD_YEARS * 12 + 2
    for number in range(OLD_TRADES):
        year, month = divmod(first + number, 12)
        exit_at = min(datetime(year, month + 1, 15, tzinfo=UTC), now - timedelta(minutes=1))
        trades.append(
            {
                "trade_id": f"old-{number}",
                "symbol": "ES",
                "side": "LONG",
                "entry_price": "6543.25",
                "exit_price": "6545.50",
                "entry_at": (exit_at - timedelta(minutes=15)).isoformat(),
                "exit_at": exit_at.isoformat(),
                "pnl": "112.50",
            }
        )
    return msgspec.json.encode({"trades": trades})


async def old_dates(field: Field) -> None:
    """Reports trades dated over OLD_YEARS years: once is enough, but it repeats the report now and then."""
    whole = field.post("trades", old_trades(datetime.now(UTC)))
    connection = Connection(field.plan.port)
    await field.begin()
    while field.is_on:
        await field.ask(connection, whole)
        await asyncio.sleep(min(REPORT_AGAIN_S, field.left_s))
    connection.close()


async def volume(field: Field) -> None:
    """Reports TRADES_A_REQUEST trades a request, as fast as the answers allow."""
    template = trade_body("@@@@@@", datetime.now(UTC), count=TRADES_A_REQUEST)
    await field.as_allowed(
        4, lambda number: field.post("trades", template.replace(b"@@@@@@", b"%06d" % number))
    )


async def confidence_flood(field: Field) -> None:
    """Sends FLOOD_A_SECOND confidences a second, far over the license's limit."""
    whole = field.post("ml/get_confidence", market.body(7))
    await field.at_rate(FLOOD_A_SECOND, 16, lambda _: whole)


async def batches(field: Field) -> None:
    """Asks for STATES_A_BATCH new states a request, as fast as the answers allow."""
    numbers = market.shuffled_states(seed=int(field.plan.starts_at) % 1000)
    requests = []
    for batch in range(BATCHES):
        states = numbers[batch * STATES_A_BATCH : (batch + 1) * STATES_A_BATCH]
        body = b'{"states":[%b]}' % b",".join(map(market.body, states))
        requests.append(field.post("ml/get_confidence/batch", body))
    await field.as_allowed(4, lambda number: requests[number % BATCHES])


async def negotiations(field: Field) -> None:
    whole = field.post("ws/negotiate", b'{"symbols":["ES"]}')
    await field.at_rate(NEGOTIATIONS_A_SECOND, 16, lambda _: whole)
