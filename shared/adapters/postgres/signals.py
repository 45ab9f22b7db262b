"""Stores signals. Each takes the next sequence of its symbol, without gaps, and queues its message."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import msgspec
from psycopg.rows import class_row, dict_row, scalar_row
from psycopg.types.json import Jsonb

from shared.adapters.postgres.database import Connection, Database
from shared.adapters.postgres.notification_events import add_in
from shared.adapters.postgres.spans import span_parameters
from shared.domain.confidence.strategy import is_strategy_name
from shared.domain.market.bars import BAR_INTERVAL
from shared.domain.market.feeds import Span
from shared.domain.market.messages import message_of
from shared.domain.market.repeats import (
    REPEAT_WINDOW,
    EarlierSignal,
    signal_of_repeat,
    signal_of_retry,
)
from shared.domain.market.signal_checks import LastPrice
from shared.domain.market.signals import Latency, Signal, SignalDraft
from shared.domain.notifications.signal_events import signal_events
from shared.domain.plain_json import encode
from shared.sql import queries

_SQL = queries("signals")


async def publish_in(connection: Connection, draft: SignalDraft) -> tuple[Signal, bool]:
    """Publishes within the caller's transaction, which locks the symbol's counter from then on.

    Returns (signal, True), or (the earlier signal, False) if the draft's idempotency key was used before.
    """
    cursor = connection.cursor(row_factory=class_row(Signal))
    await cursor.execute(_SQL["insert_signal"], _parameters(draft))
    signal = await cursor.fetchone()
    if signal is not None:
        payload = encode(message_of(signal))
        queued = {"symbol": signal.symbol, "sequence": signal.sequence, "payload": payload}
        await connection.execute(_SQL["queue_message"], queued)
        await add_in(connection, signal_events(signal, datetime.now(UTC)))
        return signal, True
    await connection.execute(_SQL["give_sequence_back"], {"symbol": draft.symbol})
    key = {"symbol": draft.symbol, "idempotency_key": draft.idempotency_key}
    earlier = await (await cursor.execute(_SQL["signal_of_key"], key)).fetchone()
    assert earlier is not None
    return earlier, False


async def _earlier(connection: Connection, draft: SignalDraft) -> EarlierSignal | None:
    """The signal of a publisher's idempotency key, or without a key the same alert of the last minute.

    Locks the publisher until the transaction ends.
    """
    parameters = _parameters(draft)
    # In a statement of its own, because a statement that waited would not see what it waited for.
    await connection.execute(_SQL["lock_publisher"], parameters)
    cursor = connection.cursor(row_factory=dict_row)
    if draft.idempotency_key is None:
        await cursor.execute(_SQL["repeated_alert"], parameters | {"window": REPEAT_WINDOW})
    else:
        await cursor.execute(_SQL["repeated_key"], parameters)
    row = await cursor.fetchone()
    if row is None:
        return None
    default_times = row.pop("default_times")
    return EarlierSignal(Signal(**row), default_times)


def _parameters(draft: SignalDraft) -> dict[str, object]:
    changed = {"features": Jsonb(draft.features), "default_times": [*draft.default_times]}
    return msgspec.structs.asdict(draft) | changed


class SignalStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        # A strategy that was published stays published, so it is looked up once.
        self._published: set[str] = set()

    async def publish(self, draft: SignalDraft) -> tuple[Signal, bool]:
        """Stores the signal and queues its message; returns (signal, True).

        If a publisher's draft repeats an earlier signal, returns (the earlier signal, False): that of its
        idempotency key, on any symbol, or without a key the same alert of the last minute. Raises Conflict if
        the key's signal has other content, Unavailable, and InvalidInput for values that the schema refuses.
        """
        async with self._database.transaction() as connection:
            earlier = await _earlier(connection, draft) if draft.publisher is not None else None
            if earlier is None:
                return await publish_in(connection, draft)
            return signal_of_repeat(earlier, draft), False

    async def repeated(self, draft: SignalDraft) -> Signal | None:
        """The earlier signal with the content of a publisher's draft, which may no longer be published.

        None if there is none. Raises Conflict if the draft's key has a signal with other content, and
        Unavailable.
        """
        async with self._database.transaction() as connection:
            earlier = await _earlier(connection, draft)
            return None if earlier is None else signal_of_retry(earlier, draft)

    async def last_of(self, publisher: str, strategy: str, symbol: str) -> Signal | None:
        """The last signal of a publisher's strategy on a symbol; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(Signal))
            given = {"publisher": publisher, "strategy": strategy, "symbol": symbol}
            return await (await cursor.execute(_SQL["last_of_publisher"], given)).fetchone()

    async def last_price(self, spans: Sequence[Span]) -> LastPrice | None:
        """The close of the newest bar in `spans`, None if they have none; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_SQL["last_price"], span_parameters(spans))
            row = await cursor.fetchone()
            return None if row is None else LastPrice(row[0], row[1] + BAR_INTERVAL)

    async def published_among(self, names: Collection[str]) -> set[str]:
        """Those of `names` that are strategies which ever had a signal; raises Unavailable."""
        asked = {name for name in names if is_strategy_name(name)}
        unknown = asked - self._published
        if unknown:
            async with self._database.transaction() as connection:
                cursor = connection.cursor(row_factory=scalar_row)
                await cursor.execute(_SQL["published_strategies"], {"strategies": sorted(unknown)})
                self._published.update(await cursor.fetchall())
        return asked & self._published

    async def list(self, symbol: str, *, after: int, limit: int) -> list[Signal]:
        """At most `limit` of the symbol's signals after sequence `after`, in order; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(Signal))
            await cursor.execute(_SQL["list_signals"], {"symbol": symbol, "after": after, "limit": limit})
            return await cursor.fetchall()

    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]:
        """The last sequence of each symbol that ever had a signal, among `symbols` or all."""
        async with self._database.transaction() as connection:
            chosen = None if symbols is None else [*symbols]
            cursor = await connection.execute(_SQL["last_sequences"], {"symbols": chosen})
            return dict(await cursor.fetchall())

    async def latency_ms(self, since: datetime) -> Latency:
        """Milliseconds from the receipt of a signal's cause to its publication, from `since` on."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_SQL["latency"], {"since": since})
            row = await cursor.fetchone()
            assert row is not None
            n, percentiles = row
            return Latency(n, *(percentiles or (None, None, None)))
