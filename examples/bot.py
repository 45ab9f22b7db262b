"""A trading bot on Signal Cloud's public contract: subscribe, ask a confidence, trade on paper, report.

    pip install azure-messaging-webpubsubclient httpx
    export SIGNAL_CLOUD_URL=http://127.0.0.1:7071 SIGNAL_CLOUD_KEY=sc_live_...
    python bot.py --symbols ES --bars bars.csv.gz --speed 600

Without --bars it only watches: it has no market to trade on. With --bars the file stands for the
broker's market data, and a market clock, set by the messages and running at --speed, says how much
of it has happened; nothing later is ever looked at.

Delivery is at least once and may be interrupted. The bot acts on each (symbol, sequence) once and in
order, and asks `GET /api/signals?after=` for what it missed. Trades wait in memory until the server
has acknowledged them; their ids follow from the signal, so that a report can be repeated safely.
When another region takes over, the bot reports the trades of the last minutes again.
"""

import argparse
import contextlib
import logging
import os
import queue
import signal
import socket
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from connection import Api, Feed, GaveUp, Journal, Refused, Reporter
from paper_broker import Broker, Market, features_of, read_bars
from signal_order import Sequence

CALL_PATIENCE_S = 5.0


class Bot:
    """One loop on the main thread acts on messages; threads only bring them and carry reports away."""

    def __init__(self, options: argparse.Namespace, journal: Journal) -> None:
        self._journal = journal
        self._min_confidence: float = options.min_confidence
        self._stopping: str | None = None
        self._failed = False
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._api = Api(options.url, options.key, journal)
        self._reporter = Reporter(self._api, journal, self._fatal)
        self._feed: Feed | None = None
        market = None
        if options.bars is not None:
            bars = read_bars(options.bars, options.start, options.end)
            market = Market(options.bars_symbol, bars, options.speed)
        self._broker = Broker(options.name, market, self._finish)
        self._sequences: dict[str, Sequence] = {}
        self._symbols: list[str] = options.symbols
        self._instance = f"{options.name}.{socket.gethostname()}"[:64]
        self.counts = {"received": 0, "expired": 0, "below_confidence": 0, "entered": 0, "trades": 0}
        self.net_pnl = Decimal(0)

    def stop(self, reason: str) -> None:
        self._stopping = self._stopping or reason

    def _fatal(self, reason: str) -> None:
        self._failed = True
        self.stop(reason)

    def run(self) -> int:
        """Until told to stop; the exit status."""
        try:
            for symbol in self._symbols:
                found = self._signals_after(symbol, 0, limit=1)
                self._sequences[symbol] = Sequence(acted=found["last_sequence"])
            again = self._reporter.report_again
            self._feed = Feed(
                self._api,
                self._symbols,
                self._inbox,
                self._journal,
                self._fatal,
                instance=self._instance,
                moved=again,
            )
            next_status = 0.0
            while self._stopping is None:
                self._turn()
                if time.monotonic() >= next_status:
                    next_status = time.monotonic() + 1
                    self._journal.tell("status", **self._status())
        except (Refused, GaveUp) as error:
            self._fatal(str(error))
        finally:
            if self._feed is not None:
                self._feed.close()
            unsent = self._reporter.flush()
        self._journal.tell("summary", reason=self._stopping, unsent=unsent, **self._status())
        return 1 if self._failed or unsent else 0

    def _status(self) -> dict[str, Any]:
        return {
            **self.counts,
            "open": len(self._broker.open),
            "waiting": self._reporter.waiting,
            "acknowledged": self._reporter.acknowledged,
            "net_pnl": str(self.net_pnl),
            "acted": {symbol: sequence.acted for symbol, sequence in self._sequences.items()},
        }

    def _turn(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._take(self._inbox.get(timeout=0.05))
            while True:
                self._take(self._inbox.get_nowait())
        now = time.monotonic()
        for symbol, sequence in self._sequences.items():
            if sequence.is_missing(now):
                self._catch_up(symbol, sequence)
        self._broker.tick()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "revoked":
            # Negotiation says whether it is for good; a license that is not paid for can come back.
            self._journal.tell("access_ended", reason=message["reason"])
            if self._feed is not None:
                self._feed.renew()
            return
        if message["type"] == "subscribed":
            for each in self._sequences.values():
                each.unsure = True
            return
        market = self._broker.market
        beat = message["type"] == "heartbeat"
        if market is not None and (beat or market.symbol == message.get("symbol")):
            market.set_clock(datetime.fromisoformat(message["event_at"]), exact=beat)
        if beat:
            for symbol, last in message["sequences"].items():
                if symbol in self._sequences:  # a heartbeat has all symbols, not only this bot's
                    self._sequences[symbol].known = max(self._sequences[symbol].known, last)
            return
        sequence = self._sequences.get(message.get("symbol", ""))
        if sequence is not None and message["type"] == "signal":
            sequence.offer(message)
            for ready in sequence.ready():
                self._act(ready["signal"], via="push")

    def _catch_up(self, symbol: str, sequence: Sequence) -> None:
        try:
            found = self._signals_after(symbol, sequence.acted, limit=100)
        except GaveUp:
            return  # the gap stays, and so does the wish to fill it
        sequence.gap_since, sequence.unsure = None, False
        sequence.known = max(sequence.known, found["last_sequence"])
        ready, void = sequence.fill(found["signals"], found["next_after"])
        if void:
            # A region was lost, and with it perhaps trades that it had acknowledged.
            self._journal.tell("gap", symbol=symbol, until=found["next_after"], sequences=void)
            self._reporter.report_again()
        for message in ready:
            self._act(message["signal"], via="catch_up")

    def _signals_after(self, symbol: str, after: int, limit: int) -> dict[str, Any]:
        query = {"symbol": symbol, "after": after, "limit": limit}
        answer: dict[str, Any] = self._api.call("GET", "/api/signals", CALL_PATIENCE_S, params=query)
        return answer

    def _act(self, found: dict[str, Any], via: str) -> None:
        symbol, number = found["symbol"], found["sequence"]
        if self._sequences[symbol].is_repeat(found):
            self._journal.tell("repeated", symbol=symbol, sequence=number, event_at=found["event_at"])
            return
        self.counts["received"] += 1
        self._journal.tell(
            "received",
            symbol=symbol,
            sequence=number,
            side=found["side"],
            price=found["price"],
            event_at=found["event_at"],
            source=found["source"],
            via=via,
        )
        if found["kind"] == "exit":
            self._broker.exit(found)
            return
        answer = self._confidence(found)
        if answer:
            self._journal.tell("confidence", symbol=symbol, sequence=number, **answer)
        if answer.get("confidence", 0.0) < self._min_confidence:
            self.counts["below_confidence"] += 1
            return
        if not self._broker.trades(symbol):
            return
        assert self._broker.market is not None
        event_at = datetime.fromisoformat(found["event_at"])
        lateness_s = self._broker.market.lateness_s(event_at)
        expires_at = datetime.fromisoformat(found["expires_at"]) if found["expires_at"] else None
        if expires_at is not None and event_at + timedelta(seconds=lateness_s) > expires_at:
            self.counts["expired"] += 1
            self._journal.tell("expired", symbol=symbol, sequence=number, late_s=round(lateness_s, 1))
            return
        self.counts["entered"] += 1
        self._broker.enter(found, answer, lateness_s)

    def _confidence(self, found: dict[str, Any]) -> dict[str, Any]:
        """The server's answer; empty where it gave none in time, which is no reason to miss a trade."""
        body = {
            "symbol": found["symbol"],
            "signal_type": found["side"],
            "strategy": found["strategy"],
            **features_of(found),
        }
        try:
            answer: dict[str, Any] = self._api.call(
                "POST", "/api/ml/get_confidence", CALL_PATIENCE_S, json=body
            )
        except GaveUp:
            return {}
        except Refused as error:
            if error.status in (401, 403):
                raise
            self._journal.tell("confidence_refused", sequence=found["sequence"], problem=str(error))
            return {}
        return {name: answer[name] for name in ("confidence", "basis", "model_version", "cached")}

    def _finish(self, trade: dict[str, Any]) -> None:
        self.counts["trades"] += 1
        self.net_pnl += Decimal(trade["pnl"]) - Decimal(trade["fees"])
        self._reporter.add(trade)


def _instant(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A bot on Signal Cloud's public contract.")
    parser.add_argument("--url", default=os.environ.get("SIGNAL_CLOUD_URL", "http://127.0.0.1:7071"))
    parser.add_argument("--symbols", nargs="+", default=["ES"], help="what to subscribe to")
    parser.add_argument("--name", default="example", help="names this bot, and begins every trade id")
    parser.add_argument("--min-confidence", type=float, default=0.0, help="trade from this confidence on")
    parser.add_argument("--bars", type=Path, help="CSV of one-minute bars to trade on")
    parser.add_argument("--bars-symbol", default="ES", help="whose bars these are")
    parser.add_argument("--from", dest="start", type=_instant, help="first bar, UTC")
    parser.add_argument("--to", dest="end", type=_instant, help="end of the bars, UTC, exclusive")
    parser.add_argument("--speed", type=float, default=1.0, help="how fast the bars run, against real time")
    parser.add_argument("--json-log", action="store_true", help="one JSON object a line")
    parser.add_argument("--verbose", action="store_true", help="the libraries' own log, on standard error")
    options = parser.parse_args(arguments)
    options.key = os.environ.get("SIGNAL_CLOUD_KEY", "")  # never an argument: those are seen by everyone
    if not options.key:
        parser.error("SIGNAL_CLOUD_KEY is not set")
    return options


def main() -> int:
    options = parse_options()
    logging.basicConfig(level=logging.INFO if options.verbose else logging.CRITICAL)
    bot = Bot(options, Journal(options.json_log))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: bot.stop(signal.Signals(received).name))
    return bot.run()


if __name__ == "__main__":
    sys.exit(main())
