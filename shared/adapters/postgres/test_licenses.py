"""Removes the rows of test accounts; row-level security lets timers delete those of no other account."""

from shared.adapters.postgres.database import Database
from shared.sql import queries

_SQL = queries("test_licenses")


class AccountsOfTests:
    """Every method raises Unavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remove(self, account_id: str, license_id: str) -> None:
        """Deletes all rows of a test account and of its license; the plan bounds their number."""
        async with self._database.transaction(jobs=True) as connection:
            for query in _SQL.values():
                await connection.execute(query, {"account_id": account_id, "license_id": license_id})
