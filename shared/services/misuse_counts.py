"""Counts what may be misuse of a license, in memory, and stores the sums about every half minute.

A process keeps, for each key of the day, the addresses that used it, and for each account its requests beyond
the limit and its fights over sessions. It stores an account only when there is something to tell, so that a
normal bot costs one row a day and process. If a process dies, it loses what it has not stored, FLUSH_AFTER_S
at most.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import date, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

import msgspec

from shared.domain.access.licenses import Grant
from shared.domain.access.misuse import MAX_ADDRESSES, Fight, hashed_address
from shared.errors import Unavailable
from shared.services.bounded import make_room

FLUSH_AFTER_S = 30.0
MAX_REMEMBERED = 10_000
# A key's address is looked at again after so many requests, so that a new day begins without a clock.
LOOKED_AT_EVERY = 64

log = logging.getLogger(__name__)


class SeenAddress(msgspec.Struct, frozen=True):
    """A key was used on a day from an address that this process had not seen."""

    account_id: str
    day: date
    public_id: str
    address: bytes


class UseCounts(msgspec.Struct):
    """The additions to an account's day. Bit n of `limited_hours` says that hour n had limited requests."""

    requests: int = 0
    limited: int = 0
    limited_hours: int = 0
    sessions_refused: int = 0
    sessions_taken_over: int = 0
    sessions_replaced: int = 0


class MisuseStore(Protocol):
    async def add(
        self, day: date, counts: Sequence[tuple[str, UseCounts]], addresses: Sequence[SeenAddress]
    ) -> None: ...


class _Key(msgspec.Struct, gc=False):
    """A key's use: the header that named its last address, and the requests until the next look at it."""

    account_id: str
    forwarded: str | None
    left: int
    day: date
    addresses: set[bytes]
    uncounted: int = 0


class MisuseCounts:
    """The counts of one event loop's process; `secret` keys the hashes of addresses."""

    def __init__(
        self, *, store: Callable[[], MisuseStore], secret: bytes, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._secret = secret
        self._now = now
        self._keys: dict[str, _Key] = {}  # by public id, the oldest first
        self._counts: dict[str, UseCounts] = {}  # by account, what is to be stored
        self._addresses: list[SeenAddress] = []
        self._flushing: asyncio.Task[None] | None = None

    def is_unseen(self, grant: Grant, forwarded: str | None) -> bool:
        """Counts an admitted request; True asks for `note_address`.

        `forwarded` is what the platform said of the request's way. On the hot path this is one look-up.
        """
        key = self._keys.get(grant.key.public_id)
        if key is None or key.forwarded != forwarded or key.left <= 0:
            return True
        key.left -= 1
        return False

    def note_address(
        self, grant: Grant, forwarded: str | None, address: IPv4Address | IPv6Address | None
    ) -> None:
        """Notes the address of an admitted request that `is_unseen` asked for."""
        day = self._now().date()
        public_id, account_id = grant.key.public_id, grant.license.account_id
        key = self._keys.get(public_id)
        if key is None:
            make_room(self._keys, MAX_REMEMBERED)
            key = self._keys[public_id] = _Key(account_id, forwarded, LOOKED_AT_EVERY, day, set())
        key.uncounted += LOOKED_AT_EVERY - key.left + 1
        key.left = LOOKED_AT_EVERY
        if key.day != day:
            key.day = day
            key.addresses.clear()
        elif key.forwarded == forwarded and key.addresses:
            return
        key.forwarded = forwarded
        if address is None:
            return
        hashed = hashed_address(address, day, self._secret)
        if hashed not in key.addresses and len(key.addresses) < MAX_ADDRESSES:
            key.addresses.add(hashed)
            self._addresses.append(SeenAddress(account_id, day, public_id, hashed))
            self._of(account_id)

    def limited(self, grant: Grant) -> None:
        """Counts a request that was refused by a limit."""
        counts = self._of(grant.license.account_id)
        counts.limited += 1
        counts.limited_hours |= 1 << self._now().hour

    def fought(self, account_id: str, fight: Fight) -> None:
        """Counts a bot that found its place taken, took one over, or replaced its instance's live session."""
        counts = self._of(account_id)
        match fight:
            case "refused":
                counts.sessions_refused += 1
            case "taken_over":
                counts.sessions_taken_over += 1
            case "replaced":
                counts.sessions_replaced += 1

    def _of(self, account_id: str) -> UseCounts:
        """The counts of an account, which are stored soon."""
        counts = self._counts.get(account_id)
        if counts is None:
            make_room(self._counts, MAX_REMEMBERED)
            counts = self._counts[account_id] = UseCounts()
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush_later())
        return counts

    async def _flush_later(self) -> None:
        try:
            await asyncio.sleep(FLUSH_AFTER_S)
            await self.flush()
        finally:
            self._flushing = None

    async def flush(self) -> None:
        """Stores what was counted; what cannot be stored is added to the next attempt."""
        counts, self._counts = self._counts, {}
        addresses, self._addresses = self._addresses, []
        for key in self._keys.values():
            if key.account_id in counts:
                counts[key.account_id].requests += key.uncounted + LOOKED_AT_EVERY - key.left
                key.uncounted, key.left = 0, LOOKED_AT_EVERY
        try:
            await self._store().add(self._now().date(), sorted(counts.items()), addresses)
        except Unavailable as error:
            log.warning("the counts of misuse wait: %s", error.internal)
            self._put_back(counts, addresses)

    def _put_back(self, counts: dict[str, UseCounts], addresses: list[SeenAddress]) -> None:
        for account_id, former in counts.items():
            now = self._counts.setdefault(account_id, UseCounts())
            for name in UseCounts.__struct_fields__:
                if name != "limited_hours":
                    setattr(now, name, getattr(now, name) + getattr(former, name))
            now.limited_hours |= former.limited_hours
        self._addresses = (addresses + self._addresses)[:MAX_REMEMBERED]
