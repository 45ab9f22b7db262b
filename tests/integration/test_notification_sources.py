"""Signals, models and days of trades become events, in the transaction that makes them happen."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import psycopg
import pytest

from shared.adapters.postgres import Database, ModelStore, NotificationEvents, SignalStore, TradeStore
from shared.adapters.postgres.summaries import SummaryStore
from shared.domain.market.signals import SignalDraft
from shared.services.daily_summary import DailySummary
from tests.support.evaluator import stored_model
from tests.support.samples import START, a_trade

AT = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def a_draft(**changed: object) -> SignalDraft:
    given = {
        "symbol": "ES",
        "strategy": "vwap_bounce",
        "strategy_version": 1,
        "side": "LONG",
        "price": Decimal("6543.25"),
        "event_at": AT,
        "expires_at": AT + timedelta(minutes=5),
        "idempotency_key": "k",
    }
    return SignalDraft(**given | changed)  # type: ignore[arg-type]


async def events(database_url: str) -> list[tuple[str, str, str | None, dict[str, object]]]:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        found = await connection.execute(
            "select event_id, kind, account_id, shown from notification_events order by received_at, event_id"
        )
        return await found.fetchall()


async def test_a_live_signal_is_one_event_and_a_replayed_or_repeated_one_none(
    database: Database, database_url: str
) -> None:
    store = SignalStore(database)
    for _ in range(2):
        await store.publish(a_draft())
    await store.publish(a_draft(source="replay", idempotency_key=None))
    await store.publish(a_draft(symbol="TEST", idempotency_key=None))
    ((event_id, kind, account_id, shown),) = await events(database_url)
    assert (event_id, kind, account_id) == ("signal:ES:1", "signal_published", None)
    assert shown["price"] == "6543.25"
    assert shown["expires_at"] == "2026-03-02T14:35:00Z"


async def test_a_promotion_retires_the_former_champion_and_tells_both_once(
    database: Database, database_url: str
) -> None:
    models = ModelStore(database)
    first = msgspec.structs.replace(stored_model(), status="candidate", version="v1")
    await models.add(first)
    await models.add(msgspec.structs.replace(first, version="v2"))
    for version in ("v1", "v1", "v2"):
        await models.promote(version)
    told = [(kind, shown["version"]) for _, kind, _, shown in await events(database_url)]
    assert sorted(told) == [("model_promoted", "v1"), ("model_promoted", "v2"), ("model_retired", "v1")]


@pytest.mark.parametrize("page", [1, 500])
async def test_a_day_is_summed_up_for_each_account_that_traded(
    database: Database, database_url: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.services.daily_summary.PAGE", page)
    trades = TradeStore(database)
    for account, pnls in (("acct-1", (10, -4, 6)), ("acct-2", (1,))):
        made = [a_trade(f"t-{n}", pnl=Decimal(pnl), fees=Decimal(1)) for n, pnl in enumerate(pnls)]
        await trades.record(account, "key", made)
    day = made[0].exit_at
    summary = DailySummary(SummaryStore(database), NotificationEvents(database))
    for _ in range(2):
        assert await summary.run(day + timedelta(days=1)) == 2
    first, second, total = sorted(await events(database_url), key=lambda event: event[2] or "z")
    assert (first[2], first[3]["trades"], first[3]["wins"], first[3]["net_pnl"]) == ("acct-1", 3, 2, "9")
    assert (second[2], second[3]["trades"], second[3]["net_pnl"]) == ("acct-2", 1, "0")
    assert (total[2], total[3]["trades"], total[3]["accounts"]) == (None, 4, 2)
    assert await summary.run(START - timedelta(days=50)) == 0
