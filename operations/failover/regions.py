"""Reads what Pulumi says about the two regions, and connects to a region's database as its administrator."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from operations.cloud import Cloud
from operations.command import UsageError
from operations.database import CONNECT_TIMEOUT_S, connect, with_login
from operations.failover.sequences import ReplicaState, are_raised, is_fenced, raise_counters, replica_state
from shared.adapters.postgres.database import Connection
from shared.settings_reader import SettingsReader

PROGRAM = ("--cwd", "infra", "--stack")
ADMIN_KEY = "postgres_admin_name"
NEEDED = (
    "app_name",
    "app_url",
    "data_storage_account",
    "database",
    "location",
    "postgres_host",
    "postgres_server",
    "postgres_server_id",
    "resource_group",
    "role",
    "url",
    "webpubsub_endpoint",
)


@dataclass(frozen=True)
class Region:
    """One stack of the two, by the outputs of its last `pulumi up`."""

    stack: str
    outputs: Mapping[str, str]
    postgres_admin: str

    def __getitem__(self, name: str) -> str:
        return self.outputs[name]

    @property
    def is_active(self) -> bool:
        return self.outputs["role"] == "active"


def read_region(cloud: Cloud, stack: str) -> Region:
    """Raises ToolFailed, and UsageError if the stack has no second region."""
    outputs: dict[str, Any] = cloud.read("pulumi", "stack", "output", "--json", *PROGRAM, stack)
    missing = [name for name in NEEDED if not outputs.get(name)]
    if missing:
        raise UsageError(f"the stack {stack} has no output {', '.join(missing)}: is it one of two regions?")
    admin = cloud.text("pulumi", "config", "get", ADMIN_KEY, *PROGRAM, stack)
    return Region(stack, {name: str(outputs[name]) for name in NEEDED}, admin)


@asynccontextmanager
async def database_of(region: Region) -> AsyncIterator[Connection]:
    """A connection to the server itself, past PgBouncer, by a token of the caller; raises Unavailable."""
    parameters: dict[str, Any] = {
        "host": region["postgres_host"],
        "port": "5432",
        "dbname": region["database"],
        "user": region.postgres_admin,
        "sslmode": "verify-full",
        "sslrootcert": "system",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "signal-cloud-failover",
    }
    # A token is valid for about an hour, and this command may take longer: each connection asks for one.
    parameters = await with_login(SettingsReader(os.environ), parameters, entra=True)
    async with await connect(parameters) as connection:
        yield connection


class RegionDatabase:
    """The database of one region; each question opens a connection. Raises Unavailable."""

    def __init__(
        self,
        region: Region,
        connecting: Callable[[Region], AbstractAsyncContextManager[Connection]] = database_of,
    ) -> None:
        self._region = region
        self._connecting = connecting

    def replica_state(self) -> ReplicaState:
        return self._ask(replica_state)

    def is_fenced(self) -> bool:
        return self._ask(is_fenced)

    def are_raised(self) -> bool:
        return self._ask(are_raised)

    def raise_counters(self) -> dict[str, int]:
        return self._ask(raise_counters)

    def _ask[Found](self, ask: Callable[[Connection], Awaitable[Found]]) -> Found:
        async def asked() -> Found:
            async with self._connecting(self._region) as connection:
                return await ask(connection)

        return asyncio.run(asked())
