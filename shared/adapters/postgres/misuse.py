"""Keeps what may be misuse of licenses: counts of accounts by day, and hashed addresses of keys."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

import msgspec

from shared.adapters.postgres.database import Database
from shared.domain.access.misuse import Thresholds, UseFigures
from shared.sql import queries

_SQL = queries("misuse")


class Counts(Protocol):
    @property
    def requests(self) -> int: ...
    @property
    def limited(self) -> int: ...
    @property
    def limited_hours(self) -> int: ...
    @property
    def sessions_refused(self) -> int: ...
    @property
    def sessions_taken_over(self) -> int: ...
    @property
    def sessions_replaced(self) -> int: ...


class Seen(Protocol):
    @property
    def account_id(self) -> str: ...
    @property
    def day(self) -> date: ...
    @property
    def public_id(self) -> str: ...
    @property
    def address(self) -> bytes: ...


class MisuseStore:
    """Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, day: date, counts: Sequence[tuple[str, Counts]], addresses: Sequence[Seen]) -> None:
        """Adds to the counts of accounts on `day`, in the order of their ids, and new addresses of keys."""
        added = {
            "day": day,
            "accounts": [account_id for account_id, _ in counts],
            "requests": [each.requests for _, each in counts],
            "limited": [each.limited for _, each in counts],
            "limited_hours": [each.limited_hours for _, each in counts],
            "sessions_refused": [each.sessions_refused for _, each in counts],
            "sessions_taken_over": [each.sessions_taken_over for _, each in counts],
            "sessions_replaced": [each.sessions_replaced for _, each in counts],
        }
        # In one order, so that two processes never wait for each other.
        ordered = sorted(
            addresses, key=lambda seen: (seen.account_id, seen.day, seen.public_id, seen.address)
        )
        seen = {
            "accounts": [each.account_id for each in ordered],
            "days": [each.day for each in ordered],
            "public_ids": [each.public_id for each in ordered],
            "addresses": [each.address for each in ordered],
        }
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["add_counts"], added)
            if ordered:
                await connection.execute(_SQL["add_addresses"], seen)

    async def list(self, since: date, thresholds: Thresholds, limit: int) -> Sequence[tuple[str, UseFigures]]:
        """At most `limit` accounts with their figures from the day `since` on, the most outstanding first."""
        given = {"since": since, "limit": limit, **msgspec.structs.asdict(thresholds)}
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_SQL["list"], given)
            return [
                (
                    account_id,
                    UseFigures(
                        addresses_per_key=addresses,
                        session_fights=fights,
                        limited_hours=hours,
                        limited_percent=percent,
                        suspicious_trades=trades,
                    ),
                )
                for account_id, addresses, fights, hours, percent, trades in await cursor.fetchall()
            ]
