"""Stores licenses and API keys in Azure Table Storage, the source of truth for both.

The tables `licenses` and `apikeys` are partitioned by shard: the first two characters of a license's random
part, which its keys' public ids share. So a point read finds a presented key, a query of one partition finds
a license's keys, and a transaction creates many keys. A row is below 8 KB, of the 1 MiB allowed. The table
`endings` lists in order of time what ends or has just ended. The first write creates the tables.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.adapters.table_errors import translated
from shared.adapters.table_rows import (
    API_KEYS,
    ENDINGS,
    ENDINGS_SHARD,
    KEY,
    LICENSE,
    LICENSES,
    TABLES,
    Kind,
    ending_of,
    ending_row,
    entity_of,
    missing,
    moment_of,
    row_of,
)
from shared.domain.access.endings import Ending
from shared.domain.access.keys import is_public_id, shard_of_public_id
from shared.domain.access.licenses import (
    ApiKey,
    License,
    is_hashed_since,
    is_license_id,
    shard_of_license_id,
)
from shared.errors import Conflict, Unavailable
from shared.telemetry import traced

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.data.tables.aio import TableClient, TableServiceClient

CONNECT_TIMEOUT_S = 1.5
READ_TIMEOUT_S = 2.0
# Bounds a call with all its retries. Requests of bots wait for point reads and for recent endings, but not
# for other calls.
POINT_READ_TIMEOUT_S = 3.0
CALL_TIMEOUT_S = 20.0
RETRIES = 2
RETRY_BACKOFF_S = 0.1

MAX_TRANSACTION = 100
PAGE_ROWS = 1_000
MAX_UPDATE_ATTEMPTS = 5


class LicenseTables:
    """The key store of one event loop.

    Every method raises KeyStoreUnavailable when Table Storage cannot answer.
    """

    def __init__(self, address: str, credential: "AsyncTokenCredential | None" = None) -> None:
        """`address` is the endpoint if there is a credential, else a connection string."""
        self._address = address
        self._credential = credential
        self._service: TableServiceClient | None = None
        self.error_count = 0

    async def get_license(self, license_id: str) -> License | None:
        if not is_license_id(license_id):
            return None
        entity = await self._get(LICENSES, shard_of_license_id(license_id), license_id)
        return None if entity is None else row_of(LICENSE, entity)

    async def get_key(self, public_id: str) -> ApiKey | None:
        if not is_public_id(public_id):
            return None
        entity = await self._get(API_KEYS, shard_of_public_id(public_id), public_id)
        return None if entity is None else row_of(KEY, entity)

    async def keys_of(self, license_id: str) -> list[ApiKey]:
        """Every key of one license, in order of public id."""
        found = await self._query(
            API_KEYS,
            "PartitionKey eq @shard and license_id eq @license_id",
            {"shard": shard_of_license_id(license_id), "license_id": license_id},
        )
        return [row_of(KEY, entity) for entity in found]

    async def keys_hashed_before(self, moment: datetime) -> list[ApiKey]:
        """The keys that were hashed before `moment`. Scans the table, so only operators call it."""
        found = await self._query(API_KEYS, "created_at lt @moment", {"moment": moment})
        keys = [row_of(KEY, entity) for entity in found]
        return [key for key in keys if not is_hashed_since(key, moment)]

    async def licenses_of(self, account_id: str) -> list[License]:
        """Every license of one account; scans the table."""
        found = await self._query(LICENSES, "account_id eq @account", {"account": account_id})
        return [row_of(LICENSE, entity) for entity in found]

    async def license_pages(self) -> AsyncIterator[list[License]]:
        """Every license, PAGE_ROWS at a time. A change during the reading may be in it or not."""
        async for page in self._pages(LICENSES):
            yield [row_of(LICENSE, entity) for entity in page]

    async def key_pages(self) -> AsyncIterator[list[ApiKey]]:
        """As `license_pages`, for keys."""
        async for page in self._pages(API_KEYS):
            yield [row_of(KEY, entity) for entity in page]

    async def ending_pages(self) -> AsyncIterator[list[Ending]]:
        """As `license_pages`, for endings."""
        async for page in self._pages(ENDINGS):
            yield [ending_of(entity) for entity in page]

    async def ended_licenses(self, plan: str, before: datetime, limit: int) -> list[License]:
        """At most `limit` licenses of a plan that expired before a time; scans the table."""
        found = await self._query(
            LICENSES, "plan eq @plan and expires_at lt @before", {"plan": plan, "before": before}, limit
        )
        return [row_of(LICENSE, entity) for entity in found]

    async def endings(self, since: datetime, until: datetime, limit: int) -> list[Ending]:
        """The first `limit` endings from `since` to `until`, in order of time, in one partition."""
        found = await self._query(
            ENDINGS,
            "PartitionKey eq @shard and RowKey ge @since and RowKey lt @until",
            # "~" is after every character of a name, so endings at `until` itself are included.
            {"shard": ENDINGS_SHARD, "since": moment_of(since), "until": moment_of(until) + "~"},
            limit,
            POINT_READ_TIMEOUT_S,
        )
        return [ending_of(entity) for entity in found]

    async def add_endings(self, endings: Sequence[Ending]) -> None:
        """Records that licenses or keys may end, at most MAX_TRANSACTION; the last `closes` of one counts."""
        operations = [("upsert", ending_row(ending)) for ending in endings]
        await self._write(ENDINGS, lambda table: table.submit_transaction(operations))

    async def remove_ending(self, ending: Ending) -> None:
        """Removes the record of an ending that needs no more attention; it may be gone already."""
        row = ending_row(ending)
        await self._delete(ENDINGS, row["PartitionKey"], row["RowKey"])

    async def has_account(self, account_id: str) -> bool:
        """Whether any license, ended or not, is of this account; scans the table."""
        return bool(await self._query(LICENSES, "account_id eq @account", {"account": account_id}, limit=1))

    async def add_license(self, license_: License) -> None:
        """Raises Conflict if the id is taken."""
        await self._write(
            LICENSES, lambda table: table.create_entity(entity_of(LICENSE, license_.license_id, license_))
        )

    async def add_keys(self, keys: Sequence[ApiKey]) -> None:
        """Adds all of `keys` or none: at most MAX_TRANSACTION, of one license. Raises Conflict if an id is
        taken.
        """
        operations = [("create", entity_of(KEY, key.public_id, key)) for key in keys]
        await self._write(API_KEYS, lambda table: table.submit_transaction(operations))

    async def remove_license(self, license_id: str) -> None:
        """Removes the license after its keys; they may be gone already."""
        shard = shard_of_license_id(license_id)
        for key in await self.keys_of(license_id):
            await self._delete(API_KEYS, shard, key.public_id)
        await self._delete(LICENSES, shard, license_id)

    async def update_license(self, license_id: str, change: Callable[[License], License]) -> License:
        """Applies `change` to the stored license and returns the result.

        If others change the license at the same time, `change` runs again on what they have stored. If its
        result is stored already, nothing is written.

        Raises NotFound, and Conflict if others changed the license during all of MAX_UPDATE_ATTEMPTS.
        """
        if not is_license_id(license_id):
            raise missing(LICENSE, license_id)
        return await self._update(LICENSE, license_id, change)

    async def update_key(self, public_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        """As `update_license`, for a key."""
        if not is_public_id(public_id):
            raise missing(KEY, public_id)
        return await self._update(KEY, public_id, change)

    async def ping(self) -> None:
        """Reads a license that does not exist, in one round trip."""
        await self._get(LICENSES, "-", "-")

    async def close(self) -> None:
        if self._service is not None:
            await self._service.close()
            self._service = None

    def _table(self, name: str) -> "TableClient":
        return self._client().get_table_client(name)

    def _client(self) -> "TableServiceClient":
        if self._service is None:
            from azure.data.tables.aio import TableServiceClient

            options: dict[str, Any] = {
                "connection_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
                "retry_total": RETRIES,
                "retry_backoff_factor": RETRY_BACKOFF_S,
            }
            if self._credential is None:
                self._service = TableServiceClient.from_connection_string(self._address, **options)
            else:
                self._service = TableServiceClient(self._address, credential=self._credential, **options)
        return self._service

    @asynccontextmanager
    async def _bounded(self, timeout_s: float) -> AsyncIterator[None]:
        """`translated`, and counts the calls that fail because the store is unavailable."""
        try:
            async with translated(timeout_s):
                yield
        except Unavailable:
            self.error_count += 1
            raise

    async def _get(self, table: str, shard: str, row: str) -> Mapping[str, Any] | None:
        from azure.core.exceptions import ResourceNotFoundError

        async with self._bounded(POINT_READ_TIMEOUT_S):
            try:
                reading = self._table(table).get_entity(shard, row)
                found: Mapping[str, Any] = await traced(reading, "get_entity", "azure_tables")
            except ResourceNotFoundError:
                # The row does not exist, or the table does not because nothing was ever written.
                return None
            return found

    async def _query(
        self,
        table: str,
        query: str,
        parameters: dict[str, Any],
        limit: int | None = None,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> list[Mapping[str, Any]]:
        from azure.core.exceptions import ResourceNotFoundError

        async def listed() -> list[Mapping[str, Any]]:
            found: list[Mapping[str, Any]] = []
            async for entity in self._table(table).query_entities(query, parameters=parameters):
                found.append(entity)
                if limit is not None and len(found) >= limit:
                    break
            return found

        async with self._bounded(timeout_s):
            try:
                return await traced(listed(), "query_entities", "azure_tables")
            except ResourceNotFoundError:
                return []

    async def _pages(self, table: str) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        from azure.core.exceptions import ResourceNotFoundError

        pages = self._table(table).list_entities(results_per_page=PAGE_ROWS).by_page()
        while True:
            # Each page has its time, because a large table has many.
            async with self._bounded(CALL_TIMEOUT_S):
                try:
                    page = await anext(pages, None)
                    rows = None if page is None else [entity async for entity in page]
                except ResourceNotFoundError:
                    rows = None
            if rows is None:
                return
            yield rows

    async def _delete(self, table: str, shard: str, row: str) -> None:
        async with self._bounded(CALL_TIMEOUT_S):
            deleting = self._table(table).delete_entity(shard, row)
            await traced(deleting, "delete_entity", "azure_tables")

    async def _write(self, table: str, write: Callable[["TableClient"], Awaitable[Any]]) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        async with self._bounded(CALL_TIMEOUT_S):
            try:
                await traced(write(self._table(table)), "write", "azure_tables")
            except HttpResponseError as error:
                # For a transaction, the SDK raises a class of its own, and only that has the code.
                code = getattr(error, "error_code", None)
                if not isinstance(error, ResourceNotFoundError) and code != "TableNotFound":
                    raise
                for name in TABLES:
                    await self._client().create_table_if_not_exists(name)
                await write(self._table(table))

    async def _update[T](self, kind: Kind[T], row: str, change: Callable[[T], T]) -> T:
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError
        from azure.data.tables import UpdateMode

        for _ in range(MAX_UPDATE_ATTEMPTS):
            entity: Any = await self._get(kind.table, kind.shard(row), row)
            if entity is None:
                raise missing(kind, row)
            before = row_of(kind, entity)
            after = change(before)
            if after == before:
                return before
            try:
                async with self._bounded(CALL_TIMEOUT_S):
                    updating = self._table(kind.table).update_entity(
                        entity_of(kind, row, after),
                        mode=UpdateMode.REPLACE,
                        etag=entity.metadata["etag"],
                        match_condition=MatchConditions.IfNotModified,
                    )
                    await traced(updating, "update_entity", "azure_tables")
            except Conflict as error:
                if not isinstance(error.__cause__, ResourceModifiedError):
                    raise
                continue
            return after
        raise Conflict(f"Others keep changing the {kind.name} {row}; try again.")
