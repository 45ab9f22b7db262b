"""The comparison of each bot's report with the server's data."""

from pathlib import Path
from typing import Any

import pytest

from local.demo.bots import DemoBot, differences


def trade(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "trade_id": f"bot:ES:{number}",
        "symbol": "ES",
        "side": "LONG",
        "strategy": "vwap_bounce",
        "entry_price": "6500.25",
        "exit_price": "6501.00",
        "entry_at": "2025-10-13T13:30:00+00:00",
        "exit_at": "2025-10-13T13:35:00Z",
        "pnl": "33.00",
        "fees": "4.50",
        "signal_sequence": number,
        **changes,
    }


def bot(received: list[int], sent: list[dict[str, Any]]) -> DemoBot:
    made = DemoBot("bot", "key", Path("unused"))
    made.received = received
    made.trades = {each["trade_id"]: each for each in sent}
    return made


def test_equal_accounts_show_no_difference() -> None:
    stored = trade(1, pnl="33", exit_price="6501", entry_at="2025-10-13T09:30:00-04:00")
    assert differences(bot([1, 2], [trade(1)]), [1, 2], [stored]) == []


@pytest.mark.parametrize(
    ("received", "stored", "told"),
    [
        ([1], [trade(1)], "1 missing"),
        ([1, 2, 3], [trade(1)], "1 unknown"),
        ([1, 2, 2], [trade(1)], "1 twice"),
        ([2, 1], [trade(1)], "out of order"),
        ([1, 2], [], "sent but not stored"),
        ([1, 2], [trade(1), trade(2)], "stored but not sent"),
        ([1, 2], [trade(1), trade(1)], "stored twice"),
        ([1, 2], [trade(1, pnl="33.01")], "other values"),
    ],
)
def test_each_difference_is_told(received: list[int], stored: list[dict[str, Any]], told: str) -> None:
    found = differences(bot(received, [trade(1)]), [1, 2], stored)
    assert any(told in line for line in found), found
