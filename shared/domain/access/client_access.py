"""Names the hub's groups of a license and a key, and reads them from the token of a connecting client.

A client access URL puts its connection into three groups: its license's, its key's, and one that no other URL
has; and into a fourth if it belongs to a session. So closing a group closes exactly the connections of a
license, a key or a session, and `connect` learns from the token whom to judge and whether the URL was used
before. The token's roles cover only groups of symbols, so no client can join these groups, leave them or send
to them. `RealtimeService.negotiate` adds the groups whose heartbeats the connection hears.
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
_SESSION = "session."


class ClientAccessToken(msgspec.Struct, frozen=True):
    """Whom a client access URL names, the `nonce` that only this URL has, and its session if it has one."""

    license_id: str
    public_id: str
    nonce: str
    session_id: str | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that its connection is in from the start."""
        always = (_LICENSE + self.license_id, _KEY + self.public_id, _ONCE + self.nonce)
        return always if self.session_id is None else (*always, group_of_session(self.session_id))


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


def group_of_session(session_id: str) -> str:
    """The group of the connection of a session."""
    return _SESSION + session_id


def token_in(groups: Iterable[str]) -> ClientAccessToken | None:
    """The access that a token's groups describe; None if they are not those of one of our URLs."""
    found: dict[str, list[str]] = {_LICENSE: [], _KEY: [], _ONCE: [], _SESSION: []}
    for group in groups:
        for prefix, names in found.items():
            if group.startswith(prefix):
                names.append(group.removeprefix(prefix))
    sessions = found.pop(_SESSION)
    if len(sessions) > 1 or any(len(names) != 1 for names in found.values()):
        return None
    ((license_id,), (public_id,), (nonce,)) = found.values()
    return ClientAccessToken(license_id, public_id, nonce, sessions[0] if sessions else None)
