"""Publishes signals from the outbox, sends heartbeats, and lets bots connect to the hub."""

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from shared.domain.access.client_access import ACCESS_URL_LIFETIME, ClientAccessToken
from shared.domain.access.licenses import Grant, require_symbols
from shared.domain.access.sessions import Session
from shared.domain.market.messages import (
    RevokedMessage,
    group_of,
    heartbeat_groups,
    heartbeats_by_group,
)
from shared.domain.market.test_stream import TEST_SYMBOL
from shared.errors import FieldError, SignalCloudError, Unavailable, ValidationFailed
from shared.metrics import Count, Counter

SUBPROTOCOL = "json.reliable.webpubsub.azure.v1"
# A batch holds its symbol's lock and marks its messages as sent in one transaction, which the database ends
# after 30 s. So a batch is bounded in number and time; otherwise a slow hub would cost it its marks.
BATCH = 100
BATCH_S = 10.0
# After a failed send, no request sends for this long, because a hub that hangs costs each attempt seconds.
# The relay continues to try.
PAUSE_S = 5.0

log = logging.getLogger(__name__)


class Hub(Protocol):
    @property
    def hub(self) -> str: ...
    async def send_to_group(self, group: str, payload: bytes) -> None: ...
    async def close_group(self, group: str, reason: str) -> None: ...
    async def client_access_url(
        self, user_id: str, groups: Sequence[str], memberships: Sequence[str], lifetime: timedelta
    ) -> str: ...


class OutboxEntry(Protocol):
    @property
    def sequence(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def age_s(self) -> float: ...


class OutboxBatch(Protocol):
    @property
    def entries(self) -> Sequence[OutboxEntry]: ...
    async def sent(self, sequence: int) -> None: ...


class Outbox(Protocol):
    def batch(self, symbol: str, *, limit: int = ...) -> AbstractAsyncContextManager[OutboxBatch]: ...
    async def pending(self) -> list[str]: ...


class Sequences(Protocol):
    async def last_sequences(self, symbols: Sequence[str] | None) -> dict[str, int]: ...


class Delayed(Protocol):
    """What the service needs of DelayedSignals."""

    async def want(self, delay_s: int) -> None: ...
    async def relay(self) -> int: ...
    async def heartbeat(self, event_at: datetime) -> None: ...


class ClientAccess(msgspec.Struct, frozen=True):
    """What a bot needs to connect; the URL connects once, and not after `expires_at`.

    `session` is the one that the bot took with it, if it named its instance.
    """

    url: str
    hub: str
    groups: list[str]
    protocol: str
    expires_at: datetime
    session: Session | None = None


# Sends what is stored for a symbol, see RealtimeService.push.
Push = Callable[[str], Awaitable[None]]


class RealtimeService:
    """Delivers at least once and in order per symbol; bots deduplicate on (symbol, sequence).

    `published` is called for each sent message with the seconds since it was queued.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        outbox: Outbox,
        sequences: Sequences,
        delayed: Delayed,
        now: Callable[[], datetime],
        universe: Sequence[str],
        count: Counter,
        published: Callable[[float], None] = lambda latency_s: None,
        new_nonce: Callable[[], str] = secrets.token_urlsafe,
    ) -> None:
        self._hub = hub
        self._outbox = outbox
        self._sequences = sequences
        self._delayed = delayed
        self._now = now
        self._universe = tuple(universe)
        self._count = count
        self._published = published
        self._new_nonce = new_nonce
        self._failing = False
        self._paused_until = float("-inf")  # on the loop's clock
        self._sending: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._next: dict[str, asyncio.Task[int]] = {}

    async def push(self, symbol: str) -> None:
        """Sends what is stored for the symbol; if that fails, the relay sends it."""
        try:
            await self.drain(symbol)
        except SignalCloudError as error:
            log.warning("signals of %s wait for the relay: %s", symbol, error.internal or error.detail)

    async def drain(self, symbol: str) -> int:
        """Sends the oldest messages of the symbol's outbox, one batch, in order; returns how many.

        The relay sends the rest, so that no request sends a long backlog. In this process one drain of a
        symbol runs and one more waits; later callers share the waiting one. So all requests that publish
        while the hub hangs use only one database connection together. After a failed send, nothing is sent
        for PAUSE_S.
        """
        waiting = self._next.get(symbol)
        if waiting is None:
            waiting = self._next[symbol] = asyncio.create_task(self._drain_next(symbol))
        # Shielded, because other callers wait for the drain even if this one is cancelled.
        return await asyncio.shield(waiting)

    async def relay(self) -> int:
        """Sends all unsent messages of all symbols, also during a pause, and what is due under delays.

        Returns the number of messages.
        """
        self._paused_until = float("-inf")
        symbols = await self._outbox.pending()
        sent = sum(await asyncio.gather(*(self._drain_all(symbol) for symbol in symbols)))
        return sent + await self._delayed.relay()

    async def _drain_all(self, symbol: str) -> int:
        total = 0
        while sent := await self.drain(symbol):
            total += sent
        return total

    async def _drain_next(self, symbol: str) -> int:
        clock = asyncio.get_running_loop().time
        async with self._sending[symbol]:
            # A later caller may have stored a message that this drain does not see.
            del self._next[symbol]
            if clock() < self._paused_until:
                return 0
            sent, ends_at = 0, clock() + BATCH_S
            async with self._outbox.batch(symbol, limit=BATCH) as batch:
                claimed_at = clock()
                for entry in batch.entries:
                    if not await self._send(group_of(symbol), entry.payload):
                        break
                    if symbol != TEST_SYMBOL:
                        self._published(entry.age_s + clock() - claimed_at)
                    await batch.sent(entry.sequence)
                    sent += 1
                    if clock() >= ends_at:
                        break
            return sent

    async def heartbeat(self, event_at: datetime) -> None:
        """Sends every connection the last sequence of each symbol, 0 if it never had a signal.

        Connections that hear the test stream get its sequence in a message of their own.
        """
        last = dict.fromkeys(self._universe, 0) | await self._sequences.last_sequences(None)
        for group, message in heartbeats_by_group(last, event_at):
            if not await self._send(group, message):
                return
        await self._delayed.heartbeat(event_at)

    async def negotiate(
        self, grant: Grant, wanted: Sequence[str] | None, session_id: str | None = None
    ) -> ClientAccess:
        """A client access URL for the groups of the `wanted` symbols, or of all that the license covers.

        The account is the hub's user. The connection is in the groups of its license, its key and its
        session, so that each can be closed alone, and in the groups of its heartbeats. If the license has a
        delay of signals, the groups of symbols and of heartbeats are those of the delay. Raises
        ValidationFailed, SymbolNotLicensed and Unavailable.
        """
        if wanted is not None and not wanted:
            message = "Without symbols a connection hears nothing: name some, or leave this out for all."
            raise ValidationFailed((FieldError("symbols", "out_of_range", message),))
        symbols = grant.terms.symbols if wanted is None else tuple(dict.fromkeys(wanted))
        require_symbols(grant, {symbol: f"symbols[{index}]" for index, symbol in enumerate(symbols)})
        self._count(Count.NEGOTIATED)
        delay_s = grant.terms.signal_delay_s
        if delay_s:
            await self._delayed.want(delay_s)
        groups = [group_of(symbol, delay_s) for symbol in symbols]
        license_id, public_id = grant.license.license_id, grant.key.public_id
        token = ClientAccessToken(license_id, public_id, self._new_nonce(), session_id)
        memberships = (*token.groups, *heartbeat_groups(symbols, delay_s))
        url = await self._hub.client_access_url(
            grant.license.account_id, groups, memberships, ACCESS_URL_LIFETIME
        )
        return ClientAccess(url, self._hub.hub, groups, SUBPROTOCOL, self._now() + ACCESS_URL_LIFETIME)

    async def close_group(self, group: str, reason: str) -> None:
        """Sends every connection of a group the reason, then closes it; raises Unavailable.

        Later, negotiate refuses its key, and connect refuses its unused client access URLs.
        """
        message = RevokedMessage(reason=reason, event_at=self._now())
        try:
            await self._hub.send_to_group(group, msgspec.json.encode(message))
        except Unavailable as error:
            # The closing matters more, and it carries the reason as well.
            log.warning("the connections of %s are closed without a message: %s", group, error.internal)
        await self._hub.close_group(group, reason)

    async def _send(self, group: str, payload: bytes) -> bool:
        try:
            await self._hub.send_to_group(group, payload)
        except Unavailable as error:
            self._paused_until = asyncio.get_running_loop().time() + PAUSE_S
            if not self._failing:
                self._failing = True
                log.warning("realtime service unavailable, messages wait in the outbox: %s", error.internal)
            return False
        if self._failing:
            self._failing = False
            self._paused_until = float("-inf")
            log.info("realtime service is available again")
        return True
