"""Models client connections of three kinds, and writes messages to them."""

import asyncio
from collections import deque
from collections.abc import Iterable
from secrets import compare_digest, token_urlsafe

from local.webpubsub.limits import MAX_REMEMBERED_ACKS
from local.webpubsub.messages import (
    JSON_PROTOCOL,
    RELIABLE_PROTOCOL,
    Message,
    connected_frame,
    disconnected_frame,
)
from local.webpubsub.replay import Replay
from local.webpubsub.roles import Permissions
from local.webpubsub.sockets import Socket


class Connection:
    """Connection of a json.webpubsub.azure.v1 client, and the base of the other kinds."""

    __slots__ = (
        "_acked",
        "_acked_order",
        "connection_id",
        "groups",
        "hub",
        "ordinal",
        "permissions",
        "socket",
        "state",
        "user_id",
    )
    subprotocol: str | None = JSON_PROTOCOL

    def __init__(self, hub: str, connection_id: str, user_id: str | None, roles: Iterable[str]) -> None:
        self.hub = hub
        self.connection_id = connection_id
        self.user_id = user_id
        self.permissions = Permissions(roles)
        self.groups: set[str] = set()
        self.ordinal = 0  # order of arrival in the hub; pages of the REST API continue after it
        self.state = ""  # the event handler sets it and gets it back
        self.socket: Socket | None = None
        self._acked: set[int] = set()
        self._acked_order: deque[int] = deque()

    def attach(self, socket: Socket) -> None:
        """Use `socket` from now on, and send the connected message first."""
        self.socket = socket
        self.write(connected_frame(self.connection_id, self.user_id, None))

    def deliver(self, message: Message) -> bool:
        """Send one message. Returns False if messages are lost, so that the hub must end the connection."""
        self.write(message.json_frame())
        return True

    def write(self, frame: bytes) -> None:
        """Send a frame outside the sequence, or drop it if the connection has no socket."""
        if self.socket is not None:
            self.socket.write(frame)

    def close(self, reason: str, code: int) -> None:
        """Send the disconnected message and close the socket. The caller removes the connection."""
        if self.socket is not None:
            self.socket.write(disconnected_frame(reason))
            self.socket.close(code, reason)

    def already_done(self, ack_id: int) -> bool:
        return ack_id in self._acked

    def mark_done(self, ack_id: int) -> None:
        """Remember a request that succeeded. A client may repeat a failed one under the same ack id."""
        if ack_id in self._acked:
            return
        self._acked.add(ack_id)
        self._acked_order.append(ack_id)
        if len(self._acked_order) > MAX_REMEMBERED_ACKS:
            self._acked.discard(self._acked_order.popleft())

    def unmark_done(self, ack_id: int) -> None:
        self._acked.discard(ack_id)


class SimpleConnection(Connection):
    """Connection of a client without a JSON subprotocol: it gets bare data, and all it sends is an event."""

    __slots__ = ("subprotocol",)

    def __init__(self, hub: str, connection_id: str, user_id: str | None, subprotocol: str | None) -> None:
        super().__init__(hub, connection_id, user_id, ())
        self.subprotocol = subprotocol

    def attach(self, socket: Socket) -> None:
        self.socket = socket

    def deliver(self, message: Message) -> bool:
        self.write(message.simple_frame())
        return True

    def close(self, reason: str, code: int) -> None:
        if self.socket is not None:
            self.socket.close(code, reason)


class ReliableConnection(Connection):
    """Connection of a json.reliable.webpubsub.azure.v1 client. It outlives its socket and loses nothing."""

    __slots__ = ("_reconnection_token", "expiry", "replay")
    subprotocol = RELIABLE_PROTOCOL

    def __init__(self, hub: str, connection_id: str, user_id: str | None, roles: Iterable[str]) -> None:
        super().__init__(hub, connection_id, user_id, roles)
        # One token for the whole life, because a new one could get lost with its message.
        self._reconnection_token = token_urlsafe(24)
        self.replay = Replay()
        self.expiry: asyncio.TimerHandle | None = None

    def accepts(self, reconnection_token: str) -> bool:
        """Returns whether this token may recover the connection, and whether no message is missing."""
        known = compare_digest(reconnection_token.encode(), self._reconnection_token.encode())
        return known and self.replay.complete

    def attach(self, socket: Socket) -> None:
        self.socket = socket
        self.write(connected_frame(self.connection_id, self.user_id, self._reconnection_token))
        self.replay.rewind()
        self.write_unsent(asyncio.get_running_loop().time())

    def deliver(self, message: Message) -> bool:
        replay, socket = self.replay, self.socket
        sequence_id = replay.append(message)
        if socket is not None and not socket.paused and replay.sent == sequence_id - 1:
            replay.sent = sequence_id
            socket.write(message.reliable_frame(sequence_id))
            return True
        return replay.complete or (socket is not None and not replay.lost_unsent)

    def write_unsent(self, now: float) -> None:
        """Write the unsent messages until the peer reads too slowly."""
        socket = self.socket
        if socket is None:
            return
        for sequence_id, message in self.replay.unsent(now):
            if socket.paused:
                return
            self.replay.sent = sequence_id
            socket.write(message.reliable_frame(sequence_id))
        if not socket.paused:
            self.replay.sent = self.replay.last
