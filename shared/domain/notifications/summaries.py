"""Sums up a day of trades for its account, and of all accounts for operators."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal

import msgspec

from shared.domain.access.test_licenses import is_test_account
from shared.domain.notifications.events import Event


class AccountDay(msgspec.Struct, frozen=True, kw_only=True):
    """What an account closed on a day; `net_pnl` is after fees, and a trade with more than 0 is won."""

    account_id: str
    trades: int
    wins: int
    net_pnl: Decimal


def with_trades(days: Sequence[AccountDay]) -> list[AccountDay]:
    """Those that have something to tell."""
    return [each for each in days if each.trades and not is_test_account(each.account_id)]


def account_event(closed: AccountDay, day: date, at: datetime) -> Event:
    """The summary of one account, once a day."""
    event_id = f"daily_summary:{closed.account_id}:{day}"
    values = _values(day, closed.trades, closed.wins, closed.net_pnl, accounts=1)
    return Event(event_id=event_id, kind="daily_summary", at=at, account_id=closed.account_id, values=values)


def total_event(days: Sequence[AccountDay], day: date, at: datetime) -> Event:
    """The summary of all accounts, for operators."""
    trades, wins = sum(each.trades for each in days), sum(each.wins for each in days)
    net_pnl = sum((each.net_pnl for each in days), Decimal(0))
    values = _values(day, trades, wins, net_pnl, accounts=len(days))
    return Event(event_id=f"daily_summary:all:{day}:operators", kind="daily_summary", at=at, values=values)


def _values(
    day: date, trades: int, wins: int, net_pnl: Decimal, *, accounts: int
) -> dict[str, str | int | float | None]:
    return {
        "day": day.isoformat(),
        "trades": trades,
        "wins": wins,
        "win_rate": f"{100 * wins / trades:.1f}%" if trades else None,
        "net_pnl": f"{net_pnl:f}",
        "accounts": accounts,
    }
