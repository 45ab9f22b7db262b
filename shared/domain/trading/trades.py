"""Describes trades (the round trips that bots report), and checks them."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated, Literal

import msgspec

from shared.domain.confidence.strategy import FeatureValue
from shared.domain.limits import (
    EARLIEST,
    FINITE_NUMBER,
    MAX_SEQUENCE,
    PAST_TIME,
    RECENT_TIME,
    ClockSkew,
    check_time,
    is_storable,
)
from shared.domain.market.bars import Symbol
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.signals import Side
from shared.domain.problems import Problems
from shared.domain.trading.pnl import check_pnl

MAX_TRADES_PER_REQUEST = 500
MAX_FEATURES = 32
# The row of a trade without any text, in bytes: its header of 24, three times, five decimals of at least 3,
# and the lengths of six texts. A feature has two words of 4 in its jsonb object, for its name and its value.
# https://www.postgresql.org/docs/18/storage-page-layout.html
_ROW_BYTES = 24 + 3 * 8 + 5 * 3 + 6
_FEATURE_BYTES = 8
_NUMBERS = ("quantity", "entry_price", "exit_price", "pnl", "fees")
# An account can withdraw a trade for this long after we received it. Later, others rely on what it told.
WITHDRAWAL_PERIOD = timedelta(hours=24)

TRADE_ID_PATTERN = r"^[A-Za-z0-9._:-]{1,64}\Z"
TradeId = Annotated[str, msgspec.Meta(pattern=TRADE_ID_PATTERN)]
Pnl = Annotated[
    Decimal,
    msgspec.Meta(
        description="Result in USD before fees. It must agree with the prices, side and quantity if we know "
        "the symbol. A trade wins if pnl - fees is above 0, and loses if it is below 0."
    ),
]
Fees = Annotated[
    Decimal, msgspec.Meta(description="Costs of the whole round trip in USD, 0 or more; not part of pnl.")
]


class Trade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One round trip as a bot reports it. The bot chooses `trade_id`, which makes the report idempotent.

    Prices are in points, and may be averages of fills. `pnl` is in USD before fees, and `fees` are the costs
    of the whole round trip in USD. Times have an offset. `features` are the market state at entry.
    """

    trade_id: TradeId
    symbol: Symbol
    side: Side
    strategy: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")] = "vwap_bounce"
    quantity: Decimal = Decimal(1)
    entry_price: Decimal
    exit_price: Decimal
    entry_at: datetime
    exit_at: datetime
    pnl: Pnl
    fees: Fees = Decimal(0)
    signal_sequence: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQUENCE)] | None = None
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    model_version: Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\x00]*\Z")] | None = None
    features: dict[str, FeatureValue] | None = None

    @property
    def net_pnl(self) -> Decimal:
        """USD after fees. The trade is a win if this is above 0, a loss if below."""
        return self.pnl - self.fees


def least_bytes(trade: Trade) -> int:
    """A lower bound of what the row of `trade` counts for the stored bytes of its account, in bytes."""
    texts = [trade.trade_id, trade.symbol, trade.side, trade.strategy, trade.model_version or ""]
    features = trade.features or {}
    for name, value in features.items():
        texts += [name, value] if isinstance(value, str) else [name]
    return _ROW_BYTES + _FEATURE_BYTES * len(features) + sum(len(text.encode()) for text in texts)


class RecordedTrade(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one reported trade, in the order of the report.

    `withdrawn` says that the account has withdrawn the trade of this trade_id: it stays withdrawn.
    """

    trade_id: str
    status: Literal["recorded", "duplicate", "conflict"]
    withdrawn: bool = False


class Withdrawal(msgspec.Struct, frozen=True):
    """What became of a withdrawal: `withdrawn_at` is None if the trade was received too long ago.

    `is_new` is False if nothing changed.
    """

    received_at: datetime
    withdrawn_at: datetime | None
    is_new: bool


class WithdrawnTrade(msgspec.Struct, frozen=True):
    """A trade that its account has withdrawn; it counts no more, and stays in the list of trades."""

    trade_id: str
    withdrawn_at: datetime


class StoredTrade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade as it is stored, without its account, which is always the caller's.

    `withdrawn_at` is null unless the account has withdrawn the trade.
    """

    trade_id: str
    symbol: str
    side: Side
    strategy: str
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    entry_at: datetime
    exit_at: datetime
    pnl: Pnl
    fees: Fees
    signal_sequence: int | None
    confidence: float | None
    model_version: str | None
    features: dict[str, FeatureValue] | None
    received_at: datetime
    withdrawn_at: datetime | None


class TradeCursor(msgspec.Struct, frozen=True, array_like=True):
    """The end of a page of trades: the keyset (exit_at, trade_id) of its last trade."""

    exit_at: datetime
    trade_id: str


def check_trade(trade: Trade, now: datetime, problems: Problems, *, max_age: timedelta | None) -> None:
    """Adds every reason why `trade` cannot be recorded, under the trade's own field names.

    Its times may not be older than `max_age`; imports have no maximum.
    """
    _check_numbers(trade, problems)
    earliest = EARLIEST if max_age is None else now - max_age
    expected = PAST_TIME if max_age is None else RECENT_TIME
    check = partial(check_time, problems, now=now, skew=ClockSkew.TRADE, earliest=earliest, expected=expected)
    entry_is_aware = check("entry_at", trade.entry_at)
    exit_is_aware = check("exit_at", trade.exit_at)
    if entry_is_aware and exit_is_aware and trade.exit_at < trade.entry_at:
        problems.add("exit_at", "out_of_range", "Expected a time that is not before entry_at.")
    if trade.features is not None and len(trade.features) > MAX_FEATURES:
        problems.add("features", "out_of_range", f"Expected at most {MAX_FEATURES} features.")


def _check_numbers(trade: Trade, problems: Problems) -> None:
    unstorable = [name for name in _NUMBERS if not is_storable(getattr(trade, name))]
    for name in unstorable:
        problems.add(name, "out_of_range", FINITE_NUMBER)
    if trade.quantity.is_finite() and trade.quantity <= 0:
        problems.add("quantity", "out_of_range", "Expected more than 0.")
    if "fees" not in unstorable and trade.fees < 0:
        message = "Expected 0 or more: fees are costs, and a trade earns pnl - fees."
        problems.add("fees", "out_of_range", message)
    instrument = INSTRUMENTS.get(trade.symbol)
    if instrument is None or unstorable:
        return
    for name in ("entry_price", "exit_price"):
        if not instrument.is_possible(getattr(trade, name)):
            most = instrument.max_price
            bounds = f"from -{most} to {most}" if instrument.can_be_negative else f"above 0, at most {most}"
            problems.add(name, "out_of_range", f"Expected a price of {instrument.symbol}: {bounds}.")
    if trade.quantity > 0:
        check_pnl(
            problems,
            instrument,
            trade.side,
            quantity=trade.quantity,
            entry_price=trade.entry_price,
            exit_price=trade.exit_price,
            pnl=trade.pnl,
            fees=trade.fees,
        )
