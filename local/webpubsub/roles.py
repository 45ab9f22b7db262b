"""Decides what a connection may do: by the roles of its token, and by permissions of the REST API."""

import re
from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    JOIN_LEAVE_GROUP = "joinLeaveGroup"
    SEND_TO_GROUP = "sendToGroup"


def _pattern(text: str) -> re.Pattern[str]:
    """Returns a wildcard as a regular expression: `?` and `*` stop at a `.`, `**` does not."""
    parts = {"**": ".*", "*": r"[^.]*", "?": r"[^.]"}
    pieces = re.split(r"(\*\*|\*|\?)", text)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)


class Permissions:
    """Decides whether a connection may join, leave or send to a group.

    A grant or revocation of the REST API overrides the roles of the token. One for a single group
    overrides one for all groups.
    """

    __slots__ = ("_all", "_groups", "_overrides", "_patterns")

    def __init__(self, roles: Iterable[str]) -> None:
        self._all: set[Permission] = set()
        self._groups: set[tuple[Permission, str]] = set()
        self._patterns: list[tuple[Permission, re.Pattern[str]]] = []
        self._overrides: dict[tuple[Permission, str | None], bool] = {}
        for role in roles:
            self._add_role(role)

    def _add_role(self, role: str) -> None:
        for permission in Permission:
            base = f"webpubsub.{permission}"
            if role == base:
                self._all.add(permission)
            elif role.startswith(f"{base}."):
                self._groups.add((permission, role[len(base) + 1 :]))
            elif role.startswith(f"{base}s."):
                self._patterns.append((permission, _pattern(role[len(base) + 2 :])))

    def allows(self, permission: Permission, group: str) -> bool:
        for target in (group, None):
            override = self._overrides.get((permission, target))
            if override is not None:
                return override
        return (
            permission in self._all
            or (permission, group) in self._groups
            or any(kind is permission and pattern.fullmatch(group) for kind, pattern in self._patterns)
        )

    def allows_every_group(self, permission: Permission) -> bool:
        return self._overrides.get((permission, None), permission in self._all)

    def override(self, permission: Permission, group: str | None, *, allowed: bool) -> None:
        """Grant or revoke for one group, or for all, which also removes the overrides of single groups."""
        if group is None:
            self._overrides = {
                key: value for key, value in self._overrides.items() if key[0] is not permission
            }
        self._overrides[permission, group] = allowed
