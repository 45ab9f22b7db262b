"""Stores signals. Each takes the next sequence of its symbol, without gaps, and queues its message."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.adapters.postgres.database import Connection, Database
from shared.domain.market.messages import message_of
from shared.domain.market.signals import Latency, Signal, SignalDraft
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
        return signal, True
    await connection.execute(_SQL["give_sequence_back"], {"symbol": draft.symbol})
    key = {"symbol": draft.symbol, "idempotency_key": draft.idempotency_key}
    earlier = await (await cursor.execute(_SQL["signal_of_key"], key)).fetchone()
    assert earlier is not None
    return earlier, False


def _parameters(draft: SignalDraft) -> dict[str, object]:
    return msgspec.structs.asdict(draft) | {"features": Jsonb(draft.features)}


class SignalStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def publish(self, draft: SignalDraft) -> tuple[Signal, bool]:
        """Stores the signal and queues its message; returns what `publish_in` returns.

        Raises Unavailable, and InvalidInput for values that the schema refuses.
        """
        async with self._database.transaction() as connection:
            return await publish_in(connection, draft)

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
