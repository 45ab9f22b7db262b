"""Names two accounts and records trades for them."""

from collections.abc import Sequence

from shared.adapters.postgres import TradeStore
from shared.domain.trading.trades import Trade

ALICE, BOB = "account-alice", "account-bob"


async def statuses(store: TradeStore, trades: Sequence[Trade], account: str = ALICE) -> list[str]:
    results = await store.record(account, "abc123", trades)
    assert [result.trade_id for result in results] == [trade.trade_id for trade in trades]
    return [result.status for result in results]
