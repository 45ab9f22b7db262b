"""Describes how much waits in an inbox or an outbox."""

import msgspec


class Backlog(msgspec.Struct, frozen=True):
    """How many wait, the age in seconds of the oldest, and how many were given up within a day."""

    waiting: int
    oldest_s: float
    failed: int
