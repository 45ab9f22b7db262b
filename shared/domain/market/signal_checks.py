"""Checks that a signal to publish makes sense: its times, its prices, and whether its market is open."""

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from shared.domain.durations import shown_duration, shown_time
from shared.domain.limits import (
    AWARE_TIME,
    EARLIEST,
    ClockSkew,
    check_number,
    check_time,
    is_storable,
)
from shared.domain.market.bars import BAR_INTERVAL, MAX_PRICE
from shared.domain.market.calendars import MarketCalendars
from shared.domain.market.feeds import Span, session_spans
from shared.domain.market.instruments import INSTRUMENTS, Instrument
from shared.domain.market.signals import SignalRequest
from shared.domain.numbers import plain
from shared.domain.problems import Problems

DEFAULT_LIFETIME = timedelta(minutes=5)
MAX_LIFETIME = timedelta(days=1)
# A publisher that was cut off over a long weekend must still be able to close a position.
MAX_EXIT_AGE = timedelta(days=7)
# The longest regular closure, a weekend with a holiday, takes a little more than three days.
LAST_PRICE_MAX_AGE = timedelta(days=4)
# CME's price limits end the trading day of equity index futures at 20% below the previous settlement.
KNOWN_REACH = Decimal("0.2")
# Shares and coins that we do not know have no such limit.
UNKNOWN_REACH = Decimal("0.5")
# A share of a price near zero allows nothing; on 20 April 2020 crude oil fell by 55 points.
REACH_NEAR_ZERO = Decimal(60)


class LastPrice(msgspec.Struct, frozen=True):
    """The close of a symbol's newest bar in session, in points, and the time when that bar closed."""

    price: Decimal
    closed_at: datetime


class MarketConditions(msgspec.Struct, frozen=True, kw_only=True):
    """The market of one symbol at `now`, which in a replay is the time of the bars.

    `instrument` is None for a symbol that we do not know; its market counts as always open. `opens_at` is
    when a closed market opens next, None if its calendar ends before. `last` is None without a recent bar.
    """

    now: datetime
    instrument: Instrument | None
    is_open: bool
    opens_at: datetime | None
    last: LastPrice | None


def spans_of_last_price(symbol: str, now: datetime, calendars: MarketCalendars) -> list[Span]:
    """The minutes whose newest bar has the symbol's last price at `now`, see `session_spans`."""
    since, until = now - LAST_PRICE_MAX_AGE - BAR_INTERVAL, now + LAST_PRICE_MAX_AGE
    return session_spans(symbol, calendars, since=since, until=until)


def market_conditions(
    symbol: str, now: datetime, calendars: MarketCalendars, last: LastPrice | None
) -> MarketConditions:
    """The conditions at `now`, given the symbol's last price; one that is not recent is ignored."""
    instrument = INSTRUMENTS.get(symbol)
    is_open = instrument is None or calendars.is_open(symbol, now)
    return MarketConditions(
        now=now,
        instrument=instrument,
        is_open=is_open,
        opens_at=None if is_open else calendars.next_open(symbol, now),
        last=last if last is not None and abs(now - last.closed_at) <= LAST_PRICE_MAX_AGE else None,
    )


def check_content(
    request: SignalRequest, event_at: datetime, market: MarketConditions, problems: Problems
) -> None:
    """Adds every reason why the signal could be published at no time.

    `event_at` is the present if none was sent.
    """
    is_aware = check_time(problems, "event_at", event_at, market.now, skew=ClockSkew.MARKET_DATA)
    if request.expires_at is not None:
        _check_lifetime(request.kind, request.expires_at, event_at if is_aware else None, market, problems)
    before = len(problems)
    prices = _prices(request)
    for field, price in prices:
        check_number(problems, field, price)
    # Arithmetic on a number that cannot be stored, such as NaN or 1e1000000, fails.
    if len(problems) > before:
        return
    for field, price in prices:
        _check_price(field, price, request.symbol, market.instrument, problems)
    if request.kind == "entry":
        _check_order(request, problems)


def check_moment(
    request: SignalRequest, event_at: datetime, market: MarketConditions, problems: Problems
) -> None:
    """Adds every reason why the signal cannot be published now, although it may have been earlier."""
    if request.kind == "entry":
        _check_expiry(request.expires_at, event_at, market.now, problems)
    elif event_at.tzinfo and EARLIEST <= event_at < market.now - MAX_EXIT_AGE:
        message = (
            f"This exit happened {_ago(event_at, market.now)}. An exit may be at most "
            f"{shown_duration(MAX_EXIT_AGE)} late. The server's time is {shown_time(market.now)}."
        )
        problems.add("event_at", "out_of_range", message)
    for field, price in _prices(request):
        if market.last is not None and _is_possible(price, market.instrument):
            reach = _reach(market.last.price, market.instrument)
            if abs(price - market.last.price) > reach:
                message = (
                    f"Expected a price within {plain(reach)} of {plain(market.last.price)}, the last price "
                    f"of {request.symbol} ({shown_time(market.last.closed_at)}), got {plain(price)}."
                )
                problems.add(field, "out_of_range", message)
    if request.kind == "entry" and not market.is_open:
        problems.add("symbol", "market_closed", _closed(request.symbol, market))


def _closed(symbol: str, market: MarketConditions) -> str:
    opens = f"It opens next at {shown_time(market.opens_at)}" if market.opens_at else "Its calendar ends"
    return (
        f"The market of {symbol} is closed, so no bot could follow an entry. {opens}. "
        f"The server's time is {shown_time(market.now)}. Exits are accepted at any time."
    )


def _check_lifetime(
    kind: str, expires_at: datetime, event_at: datetime | None, market: MarketConditions, problems: Problems
) -> None:
    if expires_at.tzinfo is None:
        problems.add("expires_at", "invalid_format", AWARE_TIME)
    elif kind == "exit":
        problems.add("expires_at", "out_of_range", "An exit never expires; leave this out.")
    # Leaves an expired entry to check_moment. Compares a difference, because a sum would overflow in 9999.
    elif event_at and expires_at > market.now and not timedelta() < expires_at - event_at <= MAX_LIFETIME:
        problems.add("expires_at", "out_of_range", "Expected a time within a day after event_at.")


def _check_expiry(expires_at: datetime | None, event_at: datetime, now: datetime, problems: Problems) -> None:
    if expires_at is not None:
        if expires_at.tzinfo and expires_at <= now:
            message = f"This entry expired {_ago(expires_at, now)}. The server's time is {shown_time(now)}."
            problems.add("expires_at", "out_of_range", message)
    elif event_at.tzinfo and EARLIEST <= event_at <= now - DEFAULT_LIFETIME:
        message = (
            f"This entry expired {_ago(event_at + DEFAULT_LIFETIME, now)}, because without expires_at it "
            f"expires {shown_duration(DEFAULT_LIFETIME)} after event_at. The server's time is "
            f"{shown_time(now)}."
        )
        problems.add("event_at", "out_of_range", message)


def _ago(instant: datetime, now: datetime) -> str:
    return f"{shown_duration(now - instant)} ago"


def _prices(request: SignalRequest) -> list[tuple[str, Decimal]]:
    """The prices that were sent, by field."""
    fields = ("price", "stop_price", "target_price")
    return [(field, price) for field in fields if (price := getattr(request, field)) is not None]


def _is_possible(price: Decimal, instrument: Instrument | None) -> bool:
    if not is_storable(price):
        return False
    return 0 < price <= MAX_PRICE if instrument is None else instrument.is_possible(price)


def _most(instrument: Instrument | None) -> Decimal:
    """The price that no price is further from zero than, in points."""
    return MAX_PRICE if instrument is None else instrument.max_price


def _check_price(
    field: str, price: Decimal, symbol: str, instrument: Instrument | None, problems: Problems
) -> None:
    if not _is_possible(price, instrument):
        most = _most(instrument)
        if abs(price) > most:
            message = f"No price of {symbol} can be further than {plain(most)} from zero"
        else:
            message = f"{symbol} cannot trade at zero or below"
        problems.add(field, "out_of_range", f"{message}, got {plain(price)}.")
    if instrument is not None and price % instrument.tick_size:
        message = (
            f"{symbol} trades in steps of {plain(instrument.tick_size)}; the nearest price to "
            f"{plain(price)} is {plain(instrument.to_tick(price))}."
        )
        problems.add(field, "out_of_range", message)


def _reach(last: Decimal, instrument: Instrument | None) -> Decimal:
    """How far from the last price a signal's price may be, in points."""
    if instrument is None:
        return UNKNOWN_REACH * abs(last)
    reach = KNOWN_REACH * abs(last)
    return max(reach, REACH_NEAR_ZERO) if instrument.can_be_negative else reach


def _check_order(request: SignalRequest, problems: Problems) -> None:
    is_long = request.side == "LONG"
    for field, price, is_below in (
        ("stop_price", request.stop_price, is_long),
        ("target_price", request.target_price, not is_long),
    ):
        if price is not None and not (price < request.price if is_below else price > request.price):
            message = (
                f"A {request.side} has its {field} {'below' if is_below else 'above'} its price "
                f"{plain(request.price)}, got {plain(price)}."
            )
            problems.add(field, "out_of_range", message)
