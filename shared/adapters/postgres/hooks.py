"""Stores hooks. Each method sees the hooks of one account, and raises Unavailable."""

from datetime import datetime

import msgspec
from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Jsonb

from shared.adapters.postgres.database import Connection, Database
from shared.domain.access.hooks import MAX_HOOKS, Hook
from shared.errors import Conflict
from shared.sql import queries

MAX_LISTED = 1_000
_SQL = queries("hooks")


class HookStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, hook: Hook) -> None:
        """Adds a hook; raises Conflict if its license has MAX_HOOKS that take alerts."""
        given = msgspec.structs.asdict(hook) | {
            "mapping": Jsonb(msgspec.to_builtins(hook.mapping)),
            "symbols": [*hook.symbols],
            "addresses": [*hook.addresses],
        }
        async with self._database.transaction(account_id=hook.account_id) as connection:
            await connection.execute(_SQL["lock_license"], given)
            cursor = connection.cursor(row_factory=scalar_row)
            count = await (await cursor.execute(_SQL["count_hooks"], given)).fetchone()
            assert isinstance(count, int)
            if count >= MAX_HOOKS:
                raise Conflict(f"The license {hook.license_id} has {MAX_HOOKS} hooks; end one first.")
            await connection.execute(_SQL["add_hook"], given)

    async def of_secret(self, account_id: str, public_id: str) -> Hook | None:
        """The hook that a secret opens; None if there is none, or it has ended."""
        async with self._database.transaction(account_id=account_id) as connection:
            return await _one(connection, "hook_of_secret", {"public_id": public_id})

    async def get(self, account_id: str | None, hook_id: str) -> Hook | None:
        """A hook of the account, also if it has ended; for operators, who have none, of any account."""
        async with self._database.transaction(account_id=account_id) as connection:
            if account_id is None:
                await connection.execute(_SQL["as_operator"])
            return await _one(connection, "hook", {"hook_id": hook_id})

    async def of_account(self, account_id: str, license_id: str | None) -> list[Hook]:
        """The hooks of an account, or of one license of it, the latest first; at most MAX_LISTED."""
        async with self._database.transaction(account_id=account_id) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            given = {"account_id": account_id, "license_id": license_id, "limit": MAX_LISTED}
            rows = await (await cursor.execute(_SQL["hooks_of_account"], given)).fetchall()
            return [msgspec.convert(row, Hook) for row in rows]

    async def rotate(self, hook: Hook, public_id: str, at: datetime) -> Hook | None:
        """The hook with another secret; None if it has ended or was rotated since it was read."""
        async with self._database.transaction(account_id=hook.account_id) as connection:
            given = {"hook_id": hook.hook_id, "former": hook.public_id, "public_id": public_id, "at": at}
            return await _one(connection, "rotate_hook", given)

    async def end(self, account_id: str, hook_id: str, at: datetime) -> Hook | None:
        """The hook that has ended; None if there is none."""
        async with self._database.transaction(account_id=account_id) as connection:
            return await _one(connection, "end_hook", {"hook_id": hook_id, "at": at})


async def _one(connection: Connection, query: str, given: dict[str, object]) -> Hook | None:
    cursor = connection.cursor(row_factory=dict_row)
    row = await (await cursor.execute(_SQL[query], given)).fetchone()
    return None if row is None else msgspec.convert(row, Hook)
