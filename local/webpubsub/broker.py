"""Opens, drops, recovers and ends connections, and carries out the requests of their clients."""

import asyncio
from collections.abc import Iterable, Iterator

from aiohttp import WSCloseCode, WSMsgType

from local.webpubsub import messages
from local.webpubsub.connections import Connection, ReliableConnection, SimpleConnection
from local.webpubsub.hubs import Hub
from local.webpubsub.limits import ACK_DELAY_S, RECOVERY_WINDOW_S, REFUSAL_DELAY_S
from local.webpubsub.messages import AckError, MessageInvalid, Payload
from local.webpubsub.roles import Permission
from local.webpubsub.sockets import Socket
from local.webpubsub.upstream import EventHandler


class Broker:
    """Holds all hubs of the process. Call it on the event loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, events: EventHandler | None) -> None:
        self._loop = loop
        self._hubs: dict[str, Hub] = {}
        self.events = events

    def hub(self, name: str) -> Hub:
        """Returns the hub of that name in any case, and creates it at first use."""
        key = name.casefold()
        if key not in self._hubs:
            self._hubs[key] = Hub(name, self.end)
        return self._hubs[key]

    def open(self, connection: Connection, groups: Iterable[str], socket: Socket) -> None:
        hub = self.hub(connection.hub)
        hub.add(connection)
        for group in groups:
            hub.join(connection, group)
        connection.attach(socket)
        socket.listen(Session(self, hub, connection))
        if self.events is not None:
            self.events.notify(connection, "connected", {})

    def recover(self, hub_name: str, connection_id: str, reconnection_token: str, socket: Socket) -> None:
        """Give the connection its new socket and cut its old one, or close the new socket as refused."""
        hub = self._hubs.get(hub_name.casefold())
        connection = hub.connections.get(connection_id) if hub is not None else None
        if (
            hub is None
            or not isinstance(connection, ReliableConnection)
            or not connection.accepts(reconnection_token)
        ):
            self._loop.call_later(
                REFUSAL_DELAY_S,
                socket.close,
                WSCloseCode.POLICY_VIOLATION,
                "The connection cannot be recovered.",
            )
            return
        if connection.expiry is not None:
            connection.expiry.cancel()
            connection.expiry = None
        if connection.socket is not None:
            connection.socket.detach()
            connection.socket.abort()
        connection.attach(socket)
        socket.listen(Session(self, hub, connection))

    def drop(self, connection: Connection, *, closed_by_peer: bool) -> None:
        """Handle the loss of a socket. A reliable connection then waits for recovery unless it was closed."""
        connection.socket = None
        if closed_by_peer:
            self._forget(connection, "The client closed the connection.")
        elif isinstance(connection, ReliableConnection) and connection.replay.complete:
            connection.expiry = self._loop.call_later(
                RECOVERY_WINDOW_S, self._forget, connection, "The connection was lost."
            )
        else:
            self._forget(connection, "The connection was lost.")

    def end(self, connection: Connection, reason: str, *, code: int = WSCloseCode.OK) -> None:
        """Close the connection from this side, so that the client cannot recover it."""
        if connection.socket is not None:
            connection.socket.detach()
            connection.close(reason, code)
            connection.socket = None
        self._forget(connection, reason)

    def _forget(self, connection: Connection, reason: str) -> None:
        if isinstance(connection, ReliableConnection) and connection.expiry is not None:
            connection.expiry.cancel()
            connection.expiry = None
        self.hub(connection.hub).remove(connection)
        if self.events is not None:
            self.events.notify(connection, "disconnected", {"reason": reason})

    def acknowledge(
        self, connection: Connection, ack_id: int | None, error: AckError | None = None, text: str = ""
    ) -> None:
        """Answer a request with an ack id, over the socket that the connection has by then."""
        if ack_id is None:
            return
        if error is None:
            connection.mark_done(ack_id)
        self._loop.call_later(ACK_DELAY_S, connection.write, messages.ack_frame(ack_id, error, text))

    def sockets(self) -> Iterator[Socket]:
        for hub in self._hubs.values():
            for connection in tuple(hub.connections.values()):
                if connection.socket is not None:
                    yield connection.socket


class Session:
    """Handles the messages of one client on one socket, until the socket is lost."""

    __slots__ = ("_broker", "_connection", "_hub")

    def __init__(self, broker: Broker, hub: Hub, connection: Connection) -> None:
        self._broker = broker
        self._hub = hub
        self._connection = connection

    def received(self, socket: Socket, kind: WSMsgType, payload: bytes) -> None:
        try:
            if isinstance(self._connection, SimpleConnection):
                data_type: messages.DataType = "text" if kind is WSMsgType.TEXT else "binary"
                self._event("message", messages.payload_from_body(data_type, payload), None)
            else:
                self._handle(messages.decode_upstream(payload, is_text=kind is WSMsgType.TEXT))
        except MessageInvalid as error:
            self._broker.end(self._connection, str(error), code=WSCloseCode.POLICY_VIOLATION)

    def writable(self, socket: Socket) -> None:
        if isinstance(self._connection, ReliableConnection) and socket is self._connection.socket:
            self._connection.write_unsent(asyncio.get_running_loop().time())

    def lost(self, socket: Socket, *, closed_by_peer: bool) -> None:
        del socket
        self._broker.drop(self._connection, closed_by_peer=closed_by_peer)

    def _handle(self, message: messages.Upstream) -> None:
        connection = self._connection
        match message:
            case messages.Ping():
                connection.write(messages.PONG_MESSAGE)
                return
            case messages.SequenceAck():
                if isinstance(connection, ReliableConnection):
                    connection.replay.acknowledge(message.sequence_id)
                return
        if message.ack_id is not None and connection.already_done(message.ack_id):
            text = f"The request with ackId {message.ack_id} has been handled before."
            self._broker.acknowledge(connection, message.ack_id, "Duplicate", text)
            return
        match message:
            case messages.JoinGroup() | messages.LeaveGroup():
                self._change_group(message)
            case messages.SendToGroup():
                self._send_to_group(message)
            case messages.SendEvent():
                payload = messages.payload_from_frame(message.data_type, message.data)
                self._event(message.event, payload, message.ack_id)

    def _change_group(self, message: messages.JoinGroup | messages.LeaveGroup) -> None:
        if self._permitted(Permission.JOIN_LEAVE_GROUP, message.group, message.ack_id):
            change = self._hub.join if isinstance(message, messages.JoinGroup) else self._hub.leave
            change(self._connection, message.group)
            self._broker.acknowledge(self._connection, message.ack_id)

    def _send_to_group(self, message: messages.SendToGroup) -> None:
        connection = self._connection
        payload = messages.payload_from_frame(message.data_type, message.data)
        if self._permitted(Permission.SEND_TO_GROUP, message.group, message.ack_id):
            # Acknowledge first: the send below may end this very connection, and then nothing may follow.
            self._broker.acknowledge(connection, message.ack_id)
            self._hub.send(
                self._hub.of_group(message.group),
                messages.from_group(message.group, connection.user_id, payload, None),
                excluded=frozenset([connection.connection_id]) if message.no_echo else frozenset(),
            )

    def _permitted(self, permission: Permission, group: str, ack_id: int | None) -> bool:
        if self._connection.permissions.allows(permission, group):
            return True
        text = f"The connection may not {permission} {group!r}."
        self._broker.acknowledge(self._connection, ack_id, "Forbidden", text)
        return False

    def _event(self, event: str, payload: Payload, ack_id: int | None) -> None:
        """Send an event to the event handler; without a handler, accept and drop it."""
        broker, connection = self._broker, self._connection
        if broker.events is None or not broker.events.wants("user"):
            broker.acknowledge(connection, ack_id)
            return
        if ack_id is not None:
            connection.mark_done(ack_id)  # at once, so that the handler does not get a repetition

        def answered(answer: Payload | None, failure: str | None) -> None:
            if failure is not None and ack_id is not None:
                connection.unmark_done(ack_id)
            error: AckError | None = None if failure is None else "InternalServerError"
            broker.acknowledge(connection, ack_id, error, failure or "")
            if answer is not None and connection.connection_id in self._hub.connections:
                self._hub.send([connection], messages.from_server(answer, None))

        broker.events.ask(connection, event, payload, answered)
