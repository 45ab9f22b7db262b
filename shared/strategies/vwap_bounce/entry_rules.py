"""Decides the entries of `vwap_bounce`: trade against an excursion beyond a VWAP band when RSI turns back.

`advance` takes one bar at a time and depends only on the state and that bar, so signals do not depend on how
bars were batched. The rules, here for LONG and mirrored for SHORT:

1. An excursion begins when a bar's low reaches vwap - band * deviation, bands computed with that bar.
2. The entry is at the close of the first bar at which RSI has turned up after an oversold bar
   (RSI of the bar before <= oversold, RSI now higher), at most `confirm_bars` bars after the last touch,
   with the close still beyond the inner band, so that the way back to the VWAP is worth the trade.
3. One excursion gives one entry: a close back within the inner band arms the side again.

Bands are used after `min_bars` bars of the session, and if the deviation is at least `min_deviation_ticks`.
There are no entries in the last `quiet_minutes` of a session, because they would last beyond it. Only
contiguous bars confirm: after a gap of more than `max_gap_minutes` in a session, and at each session's start,
an unfinished excursion is discarded and RSI must turn again. After a gap, an excursion that gave an entry
still gives no other. Bars outside sessions change nothing, and neither do bars without volume: a quiet minute
is the same whether it is absent or sent with volume 0.

The VWAP begins with the first received bar of a session. If a feed starts during a session, its VWAP covers
only the rest of that session.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from shared.domain.confidence.strategy import FeatureValue, Strategy
from shared.domain.market.bars import Bar, Source
from shared.domain.market.calendars import TradingSession, hour_of
from shared.domain.market.indicators import SessionVwap, VolumeRatio, WilderAtr, WilderRsi
from shared.domain.market.instruments import Instrument
from shared.domain.market.signals import Side, SignalDraft
from shared.errors import ConfigurationError

# The upper end of the feature's range; larger distances count as this one.
MAX_VWAP_DISTANCE = 10.0
# After an unchanged close, RSI differs only by rounding, which is no turn.
LEAST_TURN = 1e-6

Phase = Literal["armed", "stretched", "entered"]
_Positive = Annotated[float, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class EntryRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters in the table `[entry]` of the strategy file; `band` and `inner_band` in deviations.

    `oversold` is on the RSI scale and mirrored for SHORT (70 for 30). The stop is `stop_atr` average true
    ranges beyond the extreme of the excursion, and the target is the VWAP.
    """

    name: str
    version: _Count
    band: _Positive
    inner_band: _Positive
    oversold: Annotated[float, msgspec.Meta(gt=0, lt=50)]
    confirm_bars: _Count
    min_bars: _Count
    min_deviation_ticks: _Positive
    max_gap_minutes: _Count
    quiet_minutes: Annotated[int, msgspec.Meta(ge=0)]
    expires_minutes: _Count
    stop_atr: _Positive

    def __post_init__(self) -> None:
        if self.inner_band >= self.band:
            raise ValueError("inner_band must be smaller than band")


def entry_rules(strategy: Strategy) -> EntryRules:
    """The rules in the table `[entry]` of the strategy; raises ConfigurationError if they are not valid."""
    try:
        return msgspec.convert(
            strategy.entry | {"name": strategy.name, "version": strategy.version}, EntryRules
        )
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"The entry rules of {strategy.name} are wrong: {error}.") from error


class Excursion(msgspec.Struct, frozen=True, array_like=True):
    """One side's progress from `armed` through `stretched` (beyond the band) to `entered`.

    `bars_since_touch` and `extreme` (the lowest low for LONG, the highest high for SHORT) have a meaning only
    while `stretched`.
    """

    phase: Phase = "armed"
    bars_since_touch: int = 0
    extreme: float = 0.0


class EntryState(msgspec.Struct, frozen=True, array_like=True):
    """Everything that the rules remember about one symbol between two bars."""

    trading_day: date | None = None
    last_open_time: datetime | None = None
    bars: int = 0
    vwap: SessionVwap = SessionVwap()
    volumes: VolumeRatio = VolumeRatio()
    rsi: WilderRsi = WilderRsi()
    atr: WilderAtr = WilderAtr()
    long: Excursion = Excursion()
    short: Excursion = Excursion()


class _Reading(msgspec.Struct, frozen=True):
    """A bar from one side's view, mirrored for SHORT, so that the rules for LONG apply to both.

    `distance` and `reach` are the distances of the close and of the bar's far end beyond the VWAP, in
    deviations; `rsi` and `earlier_rsi` are mirrored for SHORT; `extreme` is the bar's low or high in points.
    """

    side: Side
    distance: float
    reach: float
    rsi: float
    earlier_rsi: float | None
    extreme: float


def advance(
    state: EntryState,
    bar: Bar,
    session: TradingSession | None,
    rules: EntryRules,
    instrument: Instrument,
    *,
    source: Source,
) -> tuple[EntryState, SignalDraft | None]:
    """The state after `bar`, and the entry at its close, if there is one. Pass bars oldest first.

    `session` is the one that is open at the bar's `open_time`, or None. A draft's `event_at` is the close of
    the bar; the caller sets `received_at`, because it knows when the bar was received.
    """
    if session is None or bar.volume == 0:
        return state, None
    contiguous = _contiguous(state, bar, session, rules)
    earlier_rsi = state.rsi.value if contiguous else None
    state = _measured(state, bar, session, contiguous=contiguous)
    readings = _readings(state, bar, rules, instrument, earlier_rsi)
    if readings is None:
        return state, None
    long, short = readings
    long_after, long_enters = _followed(state.long, long, rules)
    short_after, short_enters = _followed(state.short, short, rules)
    entering = (long, long_after) if long_enters else (short, short_after) if short_enters else None
    state = msgspec.structs.replace(state, long=long_after, short=short_after)
    if entering is None or bar.close_time > session.closes_at - timedelta(minutes=rules.quiet_minutes):
        return state, None
    reading, excursion = entering
    return state, _draft(state, bar, reading, excursion, rules=rules, instrument=instrument, source=source)


def after_jump(state: EntryState, price: float) -> EntryState:
    """The state after the market has jumped to `price`, for example by a roll to another contract.

    Excursions, VWAP, RSI and volumes begin again there, because against a VWAP of the old level the jump
    itself would be traded as an excursion. The average true range goes on without the jump.
    """
    if state.atr.value is None:
        # So early, the bars before the jump may as well be the wrong ones.
        return EntryState()
    return EntryState(atr=msgspec.structs.replace(state.atr, last_close=price))


def _contiguous(state: EntryState, bar: Bar, session: TradingSession, rules: EntryRules) -> bool:
    """Whether `bar` follows the last one closely enough to confirm its excursion."""
    if state.last_open_time is None or state.trading_day != session.trading_day:
        return False
    return bar.open_time - state.last_open_time <= timedelta(minutes=rules.max_gap_minutes)


def _measured(state: EntryState, bar: Bar, session: TradingSession, *, contiguous: bool) -> EntryState:
    same_session = state.trading_day == session.trading_day
    high, low, close = float(bar.high), float(bar.low), float(bar.close)
    return EntryState(
        trading_day=session.trading_day,
        # In UTC, because the difference of two local times is wrong when summer time begins or ends.
        last_open_time=bar.open_time.astimezone(UTC),
        bars=state.bars + 1 if same_session else 1,
        vwap=(state.vwap if same_session else SessionVwap()).push(bar),
        volumes=(state.volumes if same_session else VolumeRatio()).push(bar.volume),
        rsi=state.rsi.push(close),
        atr=state.atr.push(high, low, close),
        long=_carried(state.long, same_session=same_session, contiguous=contiguous),
        short=_carried(state.short, same_session=same_session, contiguous=contiguous),
    )


def _carried(excursion: Excursion, *, same_session: bool, contiguous: bool) -> Excursion:
    if not same_session or (excursion.phase == "stretched" and not contiguous):
        return Excursion()
    return excursion


def _readings(
    state: EntryState, bar: Bar, rules: EntryRules, instrument: Instrument, earlier_rsi: float | None
) -> tuple[_Reading, _Reading] | None:
    """The bar from both sides' view, LONG first; None while the bands cannot be used."""
    vwap, deviation, rsi = state.vwap.vwap, state.vwap.deviation, state.rsi.value
    if state.bars < rules.min_bars or vwap is None or deviation is None or rsi is None:
        return None
    if state.atr.value is None or deviation < rules.min_deviation_ticks * float(instrument.tick_size):
        return None
    high, low, close = float(bar.high), float(bar.low), float(bar.close)
    mirrored = None if earlier_rsi is None else 100.0 - earlier_rsi
    return (
        _Reading("LONG", (vwap - close) / deviation, (vwap - low) / deviation, rsi, earlier_rsi, low),
        _Reading("SHORT", (close - vwap) / deviation, (high - vwap) / deviation, 100.0 - rsi, mirrored, high),
    )


def _followed(excursion: Excursion, reading: _Reading, rules: EntryRules) -> tuple[Excursion, bool]:
    """The excursion after this bar, and whether to enter at its close."""
    if reading.distance < rules.inner_band:
        return Excursion(), False
    if excursion.phase == "entered":
        return excursion, False
    if reading.reach >= rules.band:
        waited = 0
    elif excursion.phase == "stretched" and excursion.bars_since_touch < rules.confirm_bars:
        waited = excursion.bars_since_touch + 1
    else:
        return Excursion(), False
    extreme = reading.extreme
    if excursion.phase == "stretched":
        extreme = (min if reading.side == "LONG" else max)(extreme, excursion.extreme)
    turned = (
        reading.earlier_rsi is not None
        and reading.earlier_rsi <= rules.oversold
        and reading.rsi > reading.earlier_rsi + LEAST_TURN
    )
    return Excursion("entered" if turned else "stretched", waited, extreme), turned


def _draft(
    state: EntryState,
    bar: Bar,
    reading: _Reading,
    excursion: Excursion,
    *,
    rules: EntryRules,
    instrument: Instrument,
    source: Source,
) -> SignalDraft:
    vwap, atr, rsi, ratio = state.vwap.vwap, state.atr.value, state.rsi.value, state.volumes.value
    assert vwap is not None and atr is not None and rsi is not None  # _readings checked them
    event_at = bar.close_time
    features: dict[str, FeatureValue] = {
        "vwap_distance": round(min(reading.distance, MAX_VWAP_DISTANCE), 4),
        "rsi": round(rsi, 4),
        "atr": round(atr, 4),
        "hour": hour_of(event_at),
    }
    if ratio is not None:
        features["volume_ratio"] = round(ratio, 4)
    beyond = -1 if reading.side == "LONG" else 1
    # A stop is at least one tick beyond the extreme, even in a very quiet market.
    room = max(Decimal(rules.stop_atr * atr), instrument.tick_size)
    return SignalDraft(
        symbol=instrument.symbol,
        strategy=rules.name,
        strategy_version=rules.version,
        side=reading.side,
        price=instrument.to_tick(bar.close),
        stop_price=instrument.to_tick(Decimal(excursion.extreme) + beyond * room),
        target_price=instrument.to_tick(vwap),
        event_at=event_at,
        expires_at=event_at + timedelta(minutes=rules.expires_minutes),
        features=features,
        source=source,
        idempotency_key=f"{rules.name}:{instrument.symbol}:{reading.side}:{event_at:%Y%m%dT%H%MZ}",
    )
