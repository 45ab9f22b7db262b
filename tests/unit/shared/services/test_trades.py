"""Reports of trades, and an account's own trades in pages."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.domain.access.licenses import Grant
from shared.domain.access.quotas import Usage
from shared.domain.items import Items
from shared.domain.limits import MAX_REPORT_AGE
from shared.domain.problems import MAX_PROBLEMS
from shared.domain.trading.trades import MAX_TRADES_PER_REQUEST, WITHDRAWAL_PERIOD, Trade
from shared.errors import (
    BatchTooLarge,
    DailyQuotaExceeded,
    SymbolNotLicensed,
    TradeNotFound,
    ValidationFailed,
    WithdrawalExpired,
)
from shared.services.trades import TradeFilter, TradeReport, TradeService
from tests.support.counting import Counted
from tests.support.grants import grant_of
from tests.support.memory_stores import MemoryStores
from tests.support.samples import priced
from tests.support.strategies import STRATEGIES

NOW = datetime(2025, 10, 13, 14, tzinfo=UTC)
GRANT = grant_of("acct-1", "ES", "CL")
GOOD = Trade(
    trade_id="t-1",
    symbol="ES",
    side="LONG",
    entry_price=Decimal("6543.25"),
    exit_price=Decimal("6545.50"),
    entry_at=NOW - timedelta(minutes=20),
    exit_at=NOW - timedelta(minutes=5),
    pnl=Decimal("112.50"),
)


def changed(trade_id: str = "t-1", **change: Any) -> Trade:
    """GOOD with other values; its pnl follows from its prices, unless `change` gives it."""
    priced_fields = priced(msgspec.structs.asdict(GOOD) | change)
    return Trade(**(priced_fields | change | {"trade_id": trade_id}))


class World:
    def __init__(self) -> None:
        self.now = NOW
        self.stores = MemoryStores(NOW)
        self.counted = Counted()
        self.trades = TradeService(
            store=self.stores.trades,
            figures=self.stores.performance,
            strategies=STRATEGIES,
            published=self.stores.signals.published_among,
            max_age=MAX_REPORT_AGE,
            now=lambda: self.now,
            count=self.counted,
        )

    async def report(
        self, trades: Sequence[Trade], *, grant: Grant = GRANT, strict: bool = False
    ) -> TradeReport:
        return await self.trades.report(grant, Items("trades", trades), strict=strict)

    async def refused(self, *trades: Trade) -> list[tuple[str, str]]:
        """The fields that a strict report is refused by; nothing of it may be recorded or counted."""
        with pytest.raises(ValidationFailed) as refused:
            await self.report(trades, strict=True)
        assert self.stores.trades.recorded == {}
        assert self.counted == {}
        return [(error.field, error.code) for error in refused.value.errors]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_report_says_what_became_of_each_trade_and_counts_what_is_new(world: World) -> None:
    first = await world.report([GOOD, changed("t-2")])
    assert (first.recorded, first.duplicates, first.conflicts) == (2, 0, 0)
    again = await world.report([changed("t-3"), changed(), changed("t-2", fees=Decimal(1))])
    assert (again.recorded, again.duplicates, again.conflicts) == (1, 1, 1)
    assert [(each.trade_id, each.status) for each in again.results] == [
        ("t-3", "recorded"),
        ("t-1", "duplicate"),
        ("t-2", "conflict"),
    ]
    assert world.counted == {"trades_recorded": 3}
    assert {key for key, _ in world.stores.trades.recorded.values()} == {"Ab12Cd"}


async def test_a_report_holds_from_1_to_500_trades(world: World) -> None:
    assert await world.refused() == [("trades", "out_of_range")]
    with pytest.raises(BatchTooLarge, match="at most 500 trades; this one has 501"):
        await world.report([GOOD] * (MAX_TRADES_PER_REQUEST + 1))
    full = await world.report([changed(f"t-{n}") for n in range(MAX_TRADES_PER_REQUEST)])
    assert full.recorded == 500


async def test_what_is_wrong_is_named_by_its_trade(world: World) -> None:
    bad = changed("t-2", quantity=Decimal(0), strategy="momentum")
    unfit = changed("t-3", features={"vwap_distance": "far", "rsj": 1.0})
    assert await world.refused(GOOD, bad, unfit) == [
        ("trades[1].quantity", "out_of_range"),
        ("trades[1].strategy", "unknown_value"),
        ("trades[2].features.vwap_distance", "wrong_type"),
        ("trades[2].features.rsi", "missing"),
        ("trades[2].features.rsj", "unknown_field"),
    ]


async def test_the_features_of_a_trade_are_those_of_its_strategy(world: World) -> None:
    report = await world.report([changed(features={"vwap_distance": 2.1, "rsi": 35.0})])
    assert report.recorded == 1


async def test_the_number_of_errors_is_bounded(world: World) -> None:
    assert len(await world.refused(*[changed(quantity=Decimal(0))] * 500)) == MAX_PROBLEMS


async def test_a_report_full_of_strange_features_is_refused_with_bounded_errors(world: World) -> None:
    strange = changed(features={f"f{n}": 1.0 for n in range(30)})
    assert len(await world.refused(*[strange] * 500)) == MAX_PROBLEMS


async def test_a_bad_trade_leaves_the_others_recorded_and_both_say_their_places(world: World) -> None:
    bad, strange = changed("t-2", quantity=Decimal(0)), changed("t-3", symbol="NQ")
    report = await world.report([GOOD, bad, strange, changed("t-4")])
    assert (report.accepted, report.recorded) == (2, 2)
    assert [(each.index, each.trade_id) for each in report.results] == [(0, "t-1"), (3, "t-4")]
    assert [(each.index, each.code) for each in report.refused] == [
        (1, "validation_failed"),
        (2, "symbol_not_licensed"),
    ]
    assert report.refused[1].message == "symbol: NQ is not in the license. GET license lists its symbols."
    assert [error.field for each in report.refused for error in each.errors] == [
        "trades[1].quantity",
        "trades[2].symbol",
    ]
    assert {trade_id for _, trade_id in world.stores.trades.recorded} == {"t-1", "t-4"}
    assert world.counted == {"trades_recorded": 2, "trades_refused": 2}


async def test_a_trade_that_was_refused_is_recorded_when_it_is_sent_again_right(world: World) -> None:
    await world.report([GOOD, changed("t-2", quantity=Decimal(0))])
    report = await world.report([changed(), changed("t-2")])
    assert [(each.trade_id, each.status) for each in report.results] == [
        ("t-1", "duplicate"),
        ("t-2", "recorded"),
    ]


async def test_symbols_outside_of_the_license_refuse_all_if_nothing_else_is_accepted(world: World) -> None:
    strange = [changed("t-2", symbol="NQ"), changed("t-3", symbol="YM")]
    for trades, strict in ((strange, False), ([GOOD, *strange], True)):
        with pytest.raises(SymbolNotLicensed) as refused:
            await world.report(trades, strict=strict)
        first = len(trades) - 2
        assert [error.field for error in refused.value.errors] == [
            f"trades[{first}].symbol",
            f"trades[{first + 1}].symbol",
        ]
    assert world.stores.trades.recorded == {}


async def test_the_terms_of_the_license_bound_what_is_recorded(world: World) -> None:
    grant = msgspec.structs.replace(GRANT, terms=msgspec.structs.replace(GRANT.terms, trades_per_day=2))
    await world.report([GOOD, changed("t-2")], grant=grant)
    with pytest.raises(DailyQuotaExceeded):
        await world.report([changed("t-3")], grant=grant)
    assert world.counted == {"trades_recorded": 2}
    assert (await world.report([changed("t-3")], grant=GRANT)).recorded == 1


async def test_a_pnl_that_contradicts_its_prices_is_named_by_its_trade(world: World) -> None:
    after_fees = changed("t-2", pnl=Decimal("108.00"), fees=Decimal("4.50"))
    assert await world.refused(GOOD, after_fees) == [("trades[1].pnl", "out_of_range")]


async def test_costs_make_losers_of_trades_that_are_ahead_before_fees(world: World) -> None:
    cheap = [
        changed(f"t-{n}", exit_price=Decimal("6543.29"), fees=Decimal("4.50"), confidence=0.6)
        for n in range(40)
    ]
    assert {trade.pnl for trade in cheap} == {2}
    await world.report(cheap)
    found = await world.trades.performance(GRANT, TradeFilter())
    assert (found.trades, found.wins, found.win_rate) == (40, 0, 0.0)
    assert (found.pnl, found.fees, found.net_pnl) == (Decimal(80), Decimal(180), Decimal(-100))


async def test_a_withdrawn_trade_stays_in_the_list_and_counts_in_no_figure(world: World) -> None:
    await world.report([GOOD, changed("t-2")])
    first = await world.trades.withdraw(GRANT, "t-1")
    assert (first.trade_id, first.withdrawn_at) == ("t-1", NOW)
    assert world.counted == {"trades_recorded": 2, "trades_withdrawn": 1}
    page = await world.trades.page(GRANT, TradeFilter(), None, 10)
    assert {trade.trade_id: trade.withdrawn_at for trade in page.trades} == {"t-1": NOW, "t-2": None}
    assert (await world.trades.performance(GRANT, TradeFilter())).trades == 1
    usage = await world.trades.usage(GRANT)
    assert usage is not None
    assert (usage.trades_today, usage.stored_trades) == (2, 2), "it keeps its place in the quotas"


async def test_a_second_withdrawal_gets_the_same_answer_at_any_time(world: World) -> None:
    await world.report([GOOD])
    first = await world.trades.withdraw(GRANT, "t-1")
    for later in (timedelta(minutes=1), timedelta(days=40)):
        world.now = world.stores.server.now = NOW + later
        assert await world.trades.withdraw(GRANT, "t-1") == first
    assert world.counted["trades_withdrawn"] == 1


async def test_a_trade_can_be_withdrawn_for_a_day_after_it_was_received(world: World) -> None:
    await world.report([GOOD, changed("t-2")])
    world.now = NOW + WITHDRAWAL_PERIOD
    await world.trades.withdraw(GRANT, "t-1")
    world.now += timedelta(microseconds=1)
    with pytest.raises(WithdrawalExpired, match=r"for 24 hours .* ended at 2025-10-14T14:00:00Z"):
        await world.trades.withdraw(GRANT, "t-2")
    page = await world.trades.page(GRANT, TradeFilter(), None, 10)
    assert {trade.trade_id for trade in page.trades if trade.withdrawn_at is None} == {"t-2"}


async def test_a_trade_of_nobody_or_of_another_account_is_not_found(world: World) -> None:
    await world.report([GOOD])
    for grant, trade_id in ((GRANT, "t-9"), (grant_of("acct-2", "ES"), "t-1")):
        with pytest.raises(TradeNotFound, match=trade_id):
            await world.trades.withdraw(grant, trade_id)
    assert "trades_withdrawn" not in world.counted


async def test_a_report_of_a_withdrawn_trade_is_told_so_and_changes_nothing(world: World) -> None:
    await world.report([GOOD])
    await world.trades.withdraw(GRANT, "t-1")
    again = await world.report([changed(), changed(fees=Decimal(1)), changed("t-2")])
    assert [(each.status, each.withdrawn) for each in again.results] == [
        ("duplicate", True),
        ("conflict", True),
        ("recorded", False),
    ]
    page = await world.trades.page(GRANT, TradeFilter(), None, 10)
    assert [trade.withdrawn_at for trade in page.trades if trade.trade_id == "t-1"] == [NOW]


async def test_usage_is_unknown_while_the_database_is_unavailable(world: World) -> None:
    assert await world.trades.usage(GRANT) == Usage(0, 0, 0)
    await world.report([GOOD])
    usage = await world.trades.usage(GRANT)
    assert usage is not None
    assert (usage.trades_today, usage.stored_trades) == (1, 1)
    world.stores.server.away = True
    assert await world.trades.usage(GRANT) is None


async def test_pages_end_with_the_last_trade_and_hold_each_once(world: World) -> None:
    trades = [changed(f"t-{n}", exit_at=GOOD.exit_at - timedelta(minutes=n // 2)) for n in range(7)]
    await world.report(trades)
    await world.report([changed("theirs")], grant=grant_of("acct-2", "ES"))
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = await world.trades.page(GRANT, TradeFilter(), cursor, 3)
        seen += [trade.trade_id for trade in page.trades]
        cursor, pages = page.next_cursor, pages + 1
        assert len(page.trades) == (3 if cursor else 1)
    assert seen == ["t-1", "t-0", "t-3", "t-2", "t-5", "t-4", "t-6"]
    assert pages == 3


async def test_a_page_that_is_exactly_full_is_the_last_one(world: World) -> None:
    await world.report([changed("t-1"), changed("t-2")])
    page = await world.trades.page(GRANT, TradeFilter(), None, 2)
    assert (len(page.trades), page.next_cursor) == (2, None)


async def test_a_filter_chooses_by_symbol_and_by_time(world: World) -> None:
    minute = timedelta(minutes=1)
    await world.report(
        [changed(f"t-{n}", exit_at=GOOD.exit_at - n * minute) for n in range(3)]
        + [changed("dow", symbol="YM")],
        grant=grant_of("acct-1", "ES", "YM"),
    )

    async def found(**chosen: Any) -> list[str]:
        page = await world.trades.page(GRANT, TradeFilter(**chosen), None, 10)
        performance = await world.trades.performance(GRANT, TradeFilter(**chosen))
        assert performance.trades == len(page.trades)
        return [trade.trade_id for trade in page.trades]

    assert await found() == ["t-0", "dow", "t-1", "t-2"]
    assert await found(symbol="YM") == ["dow"]
    assert await found(symbol="ES", since=GOOD.exit_at - minute) == ["t-0", "t-1"]
    assert await found(symbol="ES", until=GOOD.exit_at) == ["t-1", "t-2"]


def cursor_of(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "abc",
        "\u00e9",
        "====",
        cursor_of(b"[]"),
        cursor_of(b'["2025-10-13T14:00:00Z"]'),
        cursor_of(b'["2025-10-13T14:00:00", "t-1"]'),
        cursor_of(b'{"exit_at": 1}'),
    ],
)
async def test_a_cursor_that_we_did_not_make_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await world.trades.page(GRANT, TradeFilter(), cursor, 10)
    assert [(error.field, error.code) for error in refused.value.errors] == [("cursor", "invalid_format")]
