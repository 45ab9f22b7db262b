"""The same three bars as each vendor writes them, after its public documentation."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from shared.domain.market.bars import Bar
from tests.support.market import utc

START = utc("2025-10-14T14:00")
BARS = [
    Bar(START, Decimal("6543.25"), Decimal("6544.5"), Decimal("6542.75"), Decimal(6544), 1180),
    Bar(
        START + timedelta(minutes=1), Decimal(6544), Decimal("6544.25"), Decimal(6541), Decimal("6541.5"), 932
    ),
    Bar(START + timedelta(minutes=3), Decimal("6541.5"), Decimal(6543), Decimal("6541.25"), Decimal(6543), 0),
]
SAMPLES = {
    "Signal Cloud": (
        "open_time,open,high,low,close,volume\n"
        "2025-10-14T14:00:00Z,6543.25,6544.5,6542.75,6544,1180\n"
        "2025-10-14T10:01:00-04:00,6544,6544.25,6541,6541.5,932\n"
        "2025-10-14T14:03:00Z,6541.5,6543,6541.25,6543,0\n"
    ),
    "NinjaTrader": (
        "20251014 140100;6543.25;6544.5;6542.75;6544;1180\n"
        "20251014 140200;6544;6544.25;6541;6541.5;932\n"
        "20251014 140400;6541.5;6543;6541.25;6543;0\n"
    ),
    "TradingView": (
        "time,open,high,low,close,VWAP,Volume\n"
        "2025-10-14T09:00:00-05:00,6543.25,6544.5,6542.75,6544,6543.5,1180\n"
        "2025-10-14T09:01:00-05:00,6544,6544.25,6541,6541.5,6543.1,932\n"
        "2025-10-14T09:03:00-05:00,6541.5,6543,6541.25,6543,NaN,0\n"
    ),
    "Yahoo": (
        "Price,Close,High,Low,Open,Volume\n"
        "Ticker,ES=F,ES=F,ES=F,ES=F,ES=F\n"
        "Datetime,,,,,\n"
        "2025-10-14 14:00:00+00:00,6544.0,6544.5,6542.75,6543.25,1180\n"
        "2025-10-14 14:01:00+00:00,6541.5,6544.25,6541.0,6544.0,932\n"
        "2025-10-14 14:03:00+00:00,6543.0,6543.0,6541.25,6541.5,0\n"
    ),
    "Databento": (
        "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol\n"
        "1760450400000000000,33,1,294973,6543250000000,6544500000000,6542750000000,6544000000000,1180,ESZ5\n"
        "1760450460000000000,33,1,294973,6544000000000,6544250000000,6541000000000,6541500000000,932,ESZ5\n"
        "1760450580000000000,33,1,294973,6541500000000,6543000000000,6541250000000,6543000000000,0,ESZ5\n"
    ),
    "MetaTrader": (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
        "2025.10.14\t17:00:00\t6543.25\t6544.50\t6542.75\t6544.00\t412\t1180\t25\n"
        "2025.10.14\t17:01:00\t6544.00\t6544.25\t6541.00\t6541.50\t380\t932\t25\n"
        "2025.10.14\t17:03:00\t6541.50\t6543.00\t6541.25\t6543.00\t0\t0\t25\n"
    ),
}


def written(directory: Path, content: str | bytes, name: str = "bars.csv") -> Path:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
