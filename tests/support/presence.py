"""Asks a process to open connections."""

from shared.domain.access.connections import Opening
from shared.errors import SignalCloudError
from shared.services.presence import Presence

LICENSE = "lic_Ab0000000000"


def opening(name: str, *, nonce: str = "", license_id: str = LICENSE, limit: int = 10) -> Opening:
    return Opening(name, license_id, nonce or f"n-{name}", limit)


async def outcome(process: Presence, asked: Opening) -> str:
    """The code of the refusal, or `opened`."""
    try:
        await process.open(asked, "acct-1")
    except SignalCloudError as error:
        return error.code
    return "opened"
