"""Bounds calls of Azure Table Storage, and turns the vendor's errors into ours."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from shared.adapters.table_rows import unavailable
from shared.errors import Conflict


@asynccontextmanager
async def translated(timeout_s: float) -> AsyncIterator[None]:
    """Bounds a call and turns the vendor's errors into ours."""
    from azure.core.exceptions import (
        AzureError,
        HttpResponseError,
        ResourceExistsError,
        ResourceModifiedError,
    )

    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (ResourceExistsError, ResourceModifiedError) as error:
        raise Conflict("It exists already, or somebody else changed it.") from error
    except HttpResponseError as error:
        if error.status_code == HTTPStatus.CONFLICT:
            # For a transaction, the SDK raises this as a TableTransactionError.
            raise Conflict("It exists already.") from error
        raise unavailable(f"{type(error).__name__}: {error.message}") from error
    except (AzureError, TimeoutError, OSError) as error:
        raise unavailable(f"{type(error).__name__}: {error}") from error
