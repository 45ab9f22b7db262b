"""Remembers for a moment which licenses have no room for a connection, so that attempts cost nothing."""

import logging
from collections.abc import Callable

import msgspec

from shared.errors import ConnectionsExceeded
from shared.metrics import Count, Counter
from shared.services.bounded import make_room

# No limit counts attempts to connect, so a license that was full is refused this long without a look. A
# client that replaces a connection tries again after RETRY_AFTER_S.
FULL_FOR_S = 1.0
RETRY_AFTER_S = 10
LOG_EVERY_S = 60.0
MAX_REMEMBERED = 10_000

log = logging.getLogger(__name__)


class _Full(msgspec.Struct, frozen=True):
    """A license of an account that had no room, with `limit` connections; remembered `until` a time."""

    until: float
    limit: int
    account_id: str


class _Refusals(msgspec.Struct):
    """What was logged of a license's refused connections: when, and how many since."""

    logged_at: float
    count: int = 0


class FullLicenses:
    """The full licenses that one event loop's process knows; `clock` returns seconds, monotonic."""

    def __init__(self, clock: Callable[[], float], count: Counter) -> None:
        self._clock = clock
        self._count = count
        self._full: dict[str, _Full] = {}  # by license, the oldest first
        self._refusals: dict[str, _Refusals] = {}

    def remember(self, license_id: str, limit: int, account_id: str) -> None:
        make_room(self._full, MAX_REMEMBERED)
        self._full[license_id] = _Full(self._clock() + FULL_FOR_S, limit, account_id)

    def forget(self, account_id: str) -> None:
        """Lets the account's licenses be looked at again, because one of its connections has ended."""
        for license_id in [name for name, known in self._full.items() if known.account_id == account_id]:
            del self._full[license_id]

    def refuse(self, license_id: str, account_id: str) -> None:
        """Raises ConnectionsExceeded, and counts it, if the license had no room a moment ago."""
        known = self._full.get(license_id)
        if known is None:
            return
        if self._clock() >= known.until:
            del self._full[license_id]
            return
        self._note(license_id, known.limit, account_id)
        raise ConnectionsExceeded(
            f"The license has {known.limit} open connections, as many as its plan allows: close one.",
            retry_after_s=RETRY_AFTER_S,
        )

    def _note(self, license_id: str, limit: int, account_id: str) -> None:
        """Counts the refusal, and logs those of a license at most once a minute."""
        self._count(Count.CONNECTIONS_EXCEEDED)
        now = self._clock()
        known = self._refusals.get(license_id)
        if known is not None and now - known.logged_at < LOG_EVERY_S:
            known.count += 1
            return
        log.warning(
            "a connection of account %s is refused: license %s has %d open; %d more were refused since the "
            "last such line",
            *(account_id, license_id, limit, known.count if known is not None else 0),
        )
        make_room(self._refusals, MAX_REMEMBERED)
        self._refusals[license_id] = _Refusals(now)
