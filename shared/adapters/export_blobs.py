"""Stores sealed exports as blobs: the app only adds them; operators list and read them.

One export is one request (Put Blob), because the right to add blobs covers neither blocks nor replacements.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from shared.domain.access.exports import MAX_PACKED_BYTES
from shared.errors import Conflict, ExportDamaged, KeyStoreUnavailable, NotFound

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.storage.blob.aio import ContainerClient

CONTAINER = "license-exports"
CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0
# Bounds a call with all its retries.
CALL_TIMEOUT_S = 90.0
RETRIES = 3
# What sealing adds to an export is less.
MAX_BLOB_BYTES = MAX_PACKED_BYTES + 4096
MAX_LISTED = 5_000


class ExportBlobs:
    """The exports of one event loop. Every method raises KeyStoreUnavailable if the store cannot answer."""

    def __init__(self, address: str, credential: "AsyncTokenCredential | None" = None) -> None:
        """`address` is the blob endpoint if there is a credential, else a connection string."""
        self._address = address
        self._credential = credential
        self._client: ContainerClient | None = None

    async def add(self, name: str, content: bytes) -> None:
        """Adds a blob; raises Conflict if the name is taken, which is never overwritten."""
        from azure.core.exceptions import ResourceNotFoundError

        container = await self._container()
        async with _translated():
            try:
                await container.upload_blob(name, content, overwrite=False)
            except ResourceNotFoundError:
                if self._credential is not None:
                    raise
                # In Azure, the stack makes the container; on one machine, the first export does.
                await container.create_container()
                await container.upload_blob(name, content, overwrite=False)

    async def names(self, prefix: str = "") -> list[str]:
        """The names of the exports, in order, at most MAX_LISTED; raises ExportDamaged if there are more."""
        container = await self._container()
        found: list[str] = []
        async with _translated():
            async for name in container.list_blob_names(name_starts_with=prefix):
                found.append(name)
                if len(found) > MAX_LISTED:
                    raise ExportDamaged(f"There are over {MAX_LISTED} exports: name one.")
        return sorted(found)

    async def read(self, name: str) -> bytes:
        """The content of a blob; raises NotFound, and ExportDamaged if it is too large to be an export."""
        container = await self._container()
        async with _translated():
            download = await container.download_blob(name)
            if download.size > MAX_BLOB_BYTES:
                raise ExportDamaged(f"{name} is larger than an export may be.")
            content: bytes = await download.readall()
            return content

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _container(self) -> "ContainerClient":
        if self._client is None:
            # In a thread, because the import takes half a second, and the loop serves requests.
            module = await asyncio.to_thread(import_module, "azure.storage.blob.aio")
            options: dict[str, Any] = {
                "connection_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
                "retry_total": RETRIES,
                # In seconds; the SDK's own pauses would exceed the time of the call.
                "initial_backoff": 1,
                "increment_base": 2,
                "max_single_put_size": MAX_BLOB_BYTES,
            }
            client = module.ContainerClient
            try:
                self._client = (
                    client.from_connection_string(self._address, CONTAINER, **options)
                    if self._credential is None
                    else client(self._address, CONTAINER, credential=self._credential, **options)
                )
            except ValueError as error:
                # A connection string that names tables alone.
                raise KeyStoreUnavailable(
                    "The store of exports cannot be reached.", internal=f"no blob endpoint: {error}"
                ) from error
        return self._client


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    """Bounds a call and turns the vendor's errors into ours."""
    from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError

    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            yield
    except ResourceExistsError as error:
        raise Conflict("An export of this name exists already.") from error
    except ResourceNotFoundError as error:
        raise NotFound("There is no such export.") from error
    except (AzureError, TimeoutError, OSError) as error:
        raise KeyStoreUnavailable(
            "The store of exports cannot be reached.", internal=f"{type(error).__name__}: {error}"
        ) from error
