"""Names the hub's groups of a license and a key, and reads them from the token of a connecting client.

A client access URL puts its connection into three groups: its license's, its key's, and one that no other URL
has. So closing a group closes exactly the connections of a license or a key, and `connect` learns from the
token whom to judge and whether the URL was used before. The token's roles cover only groups of symbols, so
no client can join these groups, leave them or send to them. `RealtimeService.negotiate` adds the group of
heartbeats, which every connection is in.
"""

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from shared.domain.access.licenses import is_license_id
from shared.domain.access.plans import Plan
from shared.domain.market.messages import group_of
from shared.errors import SymbolNotLicensed

# A URL must be used within this time. It connects once, so a client negotiates for each new connection.
ACCESS_URL_LIFETIME = timedelta(minutes=5)

MAX_NAMED = 5
_LICENSE = "license."
_KEY = "key."
_ONCE = "once."


class ClientAccessToken(msgspec.Struct, frozen=True):
    """Whom a client access URL names, and the `nonce` that only this URL has."""

    license_id: str
    public_id: str
    nonce: str

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that its connection is in from the start."""
        return (_LICENSE + self.license_id, _KEY + self.public_id, _ONCE + self.nonce)


def group_of_subject(subject: str) -> str:
    """The group of all connections of a license id, or of a key's public id."""
    return (_LICENSE if is_license_id(subject) else _KEY) + subject


def require_groups(terms: Plan, groups: Iterable[str]) -> None:
    """Raises SymbolNotLicensed if a license with these terms would not get one of the groups now."""
    covered = {group_of(symbol, terms.signal_delay_s) for symbol in terms.symbols}
    others = [group for group in groups if group not in covered]
    if others:
        raise SymbolNotLicensed(
            f"The license has changed since this client access URL was made, and does not cover "
            f"{', '.join(others[:MAX_NAMED])} now: negotiate again."
        )


def token_in(groups: Iterable[str]) -> ClientAccessToken | None:
    """The access that a token's groups describe; None if they are not those of one of our URLs."""
    found: dict[str, list[str]] = {_LICENSE: [], _KEY: [], _ONCE: []}
    for group in groups:
        for prefix, names in found.items():
            if group.startswith(prefix):
                names.append(group.removeprefix(prefix))
    if any(len(names) != 1 for names in found.values()):
        return None
    ((license_id,), (public_id,), (nonce,)) = found.values()
    return ClientAccessToken(license_id, public_id, nonce)
