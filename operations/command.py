"""Ends a command: prints one line for each failure, and turns it into an exit status."""

import asyncio
import sys
from collections.abc import Callable, Coroutine

import psycopg

from shared.errors import ConfigurationError, SignalCloudError

FAILED = 1
MISUSED = 2
INTERRUPTED = 130


class UsageError(ConfigurationError):
    """An argument or a setting is missing or has a value that cannot be used."""


def run_command(command: Coroutine[object, object, int]) -> int:
    """As `run_plainly`, for a command that waits in a loop of asyncio."""
    return run_plainly(lambda: asyncio.run(command))


def run_plainly(command: Callable[[], int]) -> int:
    """The status that `command` returns; FAILED or MISUSED if it raises, with the reason on stderr.

    For a command that waits for processes: a loop of asyncio would keep the first Ctrl-C from it.
    """
    try:
        return command()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SignalCloudError as error:
        return report(error)
    except psycopg.errors.InsufficientPrivilege as error:
        print(f"not allowed: {error.diag.message_primary}", file=sys.stderr)
        if error.diag.message_detail:
            print(f"  {error.diag.message_detail}", file=sys.stderr)
        return FAILED


def report(error: SignalCloudError) -> int:
    """Prints the reason on stderr; returns the status of a command that ends with `error`."""
    print(f"{error.code}: {error.detail}", file=sys.stderr)
    for field in error.errors:
        print(f"  {field.field}: {field.message}", file=sys.stderr)
    if error.internal:
        print(f"  {error.internal}", file=sys.stderr)
    return MISUSED if isinstance(error, UsageError) else FAILED
