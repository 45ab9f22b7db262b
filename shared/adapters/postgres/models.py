"""Stores model versions. An artefact is data; at most one version of a strategy is its champion."""

from datetime import UTC, datetime

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from shared.adapters.postgres.database import Database
from shared.adapters.postgres.notification_events import add_in
from shared.domain.confidence.models import StoredModel
from shared.domain.notifications.signal_events import model_promoted, model_retired
from shared.errors import NotFound
from shared.sql import queries

MAX_LISTED = 200
_SQL = queries("models")


class ModelStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def champion(self, strategy: str) -> StoredModel | None:
        """The strategy's champion with its artefact, or None; raises Unavailable."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(StoredModel))
            await cursor.execute(_SQL["champion"], {"strategy": strategy})
            return await cursor.fetchone()

    async def add(self, model: StoredModel) -> None:
        """Stores a version; an existing one stays as it is, because versions never change.

        To make a champion, add a candidate and promote it. Raises Unavailable, and InvalidInput for values
        that the schema refuses.
        """
        if model.status == "champion":
            raise ValueError("add a candidate and promote it")
        values = msgspec.structs.asdict(model) | {"document": Jsonb(model.document)}
        async with self._database.transaction(jobs=True) as connection:
            await connection.execute(_SQL["add_model"], values)

    async def promote(self, version: str) -> None:
        """Makes the version its strategy's champion and retires the former, and reports both as events.

        Raises NotFound and Unavailable.
        """
        async with self._database.transaction(jobs=True) as connection:
            cursor = await connection.execute(_SQL["lock_strategy"], {"version": version})
            if await cursor.fetchone() is None:
                raise NotFound(f"There is no model version {version}.")
            retired = await connection.execute(_SQL["retire_champion"], {"version": version})
            crowned = await connection.execute(_SQL["crown"], {"version": version})
            at = datetime.now(UTC)
            former = [model_retired(name, old, at) for name, old in await retired.fetchall()]
            new = [model_promoted(name, crown, basis, at) for name, crown, basis in await crowned.fetchall()]
            await add_in(connection, [*former, *new])

    async def list(self, strategy: str | None) -> list[StoredModel]:
        """The MAX_LISTED newest versions of a strategy, or of all, newest first, without artefacts."""
        async with self._database.transaction() as connection:
            cursor = connection.cursor(row_factory=class_row(StoredModel))
            await cursor.execute(_SQL["list_models"], {"strategy": strategy, "limit": MAX_LISTED})
            return await cursor.fetchall()
