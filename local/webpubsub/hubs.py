"""Keeps the connections of a hub by id, user and group, and sends to them."""

from collections.abc import Callable, Iterable, Iterator

from local.webpubsub.connections import Connection
from local.webpubsub.messages import Message

Matches = Callable[[Connection], bool]


class Hub:
    """The connections of one hub. Sending works on a copy of the members, because it may end connections."""

    def __init__(self, name: str, give_up: Callable[[Connection, str], None]) -> None:
        self.name = name
        self.connections: dict[str, Connection] = {}
        self.users: dict[str, set[Connection]] = {}
        self.groups: dict[str, dict[Connection, None]] = {}
        self._give_up = give_up
        self._arrivals = 0

    def add(self, connection: Connection) -> None:
        self._arrivals += 1
        connection.ordinal = self._arrivals
        self.connections[connection.connection_id] = connection
        if connection.user_id is not None:
            self.users.setdefault(connection.user_id, set()).add(connection)

    def remove(self, connection: Connection) -> None:
        for group in tuple(connection.groups):
            self.leave(connection, group)
        del self.connections[connection.connection_id]
        if connection.user_id is not None:
            members = self.users[connection.user_id]
            members.discard(connection)
            if not members:
                del self.users[connection.user_id]

    def join(self, connection: Connection, group: str) -> None:
        connection.groups.add(group)
        self.groups.setdefault(group, {})[connection] = None

    def leave(self, connection: Connection, group: str) -> None:
        if group not in connection.groups:
            return
        connection.groups.discard(group)
        members = self.groups[group]
        del members[connection]
        if not members:
            del self.groups[group]

    def everyone(self) -> Iterable[Connection]:
        return self.connections.values()

    def of_user(self, user_id: str) -> Iterable[Connection]:
        return self.users.get(user_id, ())

    def of_group(self, group: str) -> Iterable[Connection]:
        return self.groups.get(group, ())

    def send(
        self,
        targets: Iterable[Connection],
        message: Message,
        *,
        excluded: frozenset[str] = frozenset(),
        matches: Matches | None = None,
    ) -> None:
        for connection in chosen(targets, excluded, matches):
            if not connection.deliver(message):
                self._give_up(connection, "The client reads too slowly: too many unsent messages.")


def chosen(
    targets: Iterable[Connection], excluded: frozenset[str], matches: Matches | None
) -> Iterator[Connection]:
    """Yields the `targets` that are not excluded by id and that the filter matches."""
    for connection in tuple(targets):
        if connection.connection_id not in excluded and (matches is None or matches(connection)):
            yield connection
