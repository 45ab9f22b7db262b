"""How the commands here end: one line for what is wrong, and a status for whoever called."""

import asyncio
import sys
from collections.abc import Coroutine

import psycopg

from shared.errors import ConfigurationError, SignalCloudError

FAILED = 1
MISUSED = 2


class AskedWrongly(ConfigurationError):
    """An argument or a setting is missing, or cannot be meant."""


def finish(command: Coroutine[object, object, int]) -> int:
    """Runs `command`; its own status, MISUSED or FAILED for what went wrong around it, told on stderr."""
    try:
        return asyncio.run(command)
    except SignalCloudError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        if error.internal:
            print(f"  {error.internal}", file=sys.stderr)
        if isinstance(error, AskedWrongly):
            return MISUSED
    except psycopg.errors.InsufficientPrivilege as error:
        print(f"not allowed: {error.diag.message_primary}", file=sys.stderr)
        if error.diag.message_detail:
            print(f"  {error.diag.message_detail}", file=sys.stderr)
    return FAILED
