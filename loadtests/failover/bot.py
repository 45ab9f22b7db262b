"""Trades at once on every entry; all the rest is examples/bot.py, with its journal as JSON lines.

Runs as a process of its own: `python loadtests/failover/bot.py --name bot-1 --symbols ES`.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import bot
import connection


class AnyMarket:
    """A market that is always open, and never late."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol

    def set_clock(self, instant: datetime, *, exact: bool) -> None:
        """Keeps no clock, because nothing depends on it."""

    def lateness_s(self, event_at: datetime) -> float:
        return 0.0


class InstantBroker:
    """Fills each entry at its price, and closes it one point higher."""

    def __init__(self, name: str, symbol: str, report: Callable[[dict[str, Any]], None]) -> None:
        self.market = AnyMarket(symbol)
        self.open: list[Any] = []
        self._name = name
        self._report = report

    def trades(self, symbol: str) -> bool:
        return symbol == self.market.symbol

    def enter(self, found: dict[str, Any], answer: dict[str, Any], lateness_s: float) -> None:
        now, price = datetime.now(UTC), Decimal(found["price"])
        self._report(
            {
                "trade_id": f"{self._name}:{found['symbol']}:{found['sequence']}",
                "symbol": found["symbol"],
                "side": "LONG",
                "strategy": found["strategy"],
                "entry_price": str(price),
                "exit_price": str(price + 1),
                "entry_at": (now - timedelta(seconds=2)).isoformat(),
                "exit_at": (now - timedelta(seconds=1)).isoformat(),
                "pnl": "50",
                "fees": "4.50",
                "signal_sequence": found["sequence"],
            }
        )

    def exit(self, found: dict[str, Any]) -> None:
        """Has no open position to close."""

    def tick(self) -> None:
        """Has no open position to carry on."""


def trading_bot(options: argparse.Namespace) -> bot.Bot:
    """The example bot with the broker that trades at once."""
    made = bot.Bot(options, connection.Journal(True))
    broker: Any = InstantBroker(options.name, options.symbols[0], made._finish)
    made._broker = broker
    return made


def main() -> int:
    running = trading_bot(bot.parse_options())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: running.stop(signal.Signals(received).name))
    return running.run()


if __name__ == "__main__":
    sys.exit(main())
