"""Serves the client endpoint: /client/hubs/{hub} and /client/?hub=."""

import asyncio
import re
from collections.abc import Callable, Iterable
from secrets import token_urlsafe

from aiohttp import web

from local.webpubsub.broker import Broker
from local.webpubsub.connections import Connection, ReliableConnection, SimpleConnection
from local.webpubsub.handshake import check_upgrade, offered_subprotocols, upgrade
from local.webpubsub.limits import ACCEPT_DELAY_S, MAX_HUB_CHARS, MAX_USER_CHARS
from local.webpubsub.messages import JSON_PROTOCOL, RELIABLE_PROTOCOL
from local.webpubsub.sockets import Socket
from local.webpubsub.tokens import ClientToken, TokenRefused, read_client_token
from local.webpubsub.upstream import ConnectAnswer, ConnectRequest, EventFailed

HUB_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{MAX_HUB_CHARS - 1}}}")
_OWN_PROTOCOLS = (JSON_PROTOCOL, RELIABLE_PROTOCOL)


class ClientEndpoint:
    """Admits clients by access token, or by reconnection token to the connection that they had before."""

    def __init__(self, broker: Broker, key: str) -> None:
        self._broker = broker
        self._key = key

    def routes(self) -> Iterable[web.RouteDef]:
        for path in ("/client/hubs/{hub}", "/client/", "/client"):
            yield web.get(path, self._connect, allow_head=False)

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        check_upgrade(request)
        await asyncio.sleep(ACCEPT_DELAY_S)
        hub = request.match_info.get("hub") or request.query.get("hub", "")
        if not HUB_NAME.fullmatch(hub):
            raise web.HTTPBadRequest(text="The name of the hub is missing or not valid.\n")
        offered = offered_subprotocols(request)
        if offered and all(name.startswith("protobuf.") for name in offered):
            raise web.HTTPBadRequest(text="This stand-in does not serve protobuf subprotocols.\n")
        if "awps_connection_id" in request.query:
            subprotocol, attach = self._recovery(request, hub, offered)
        else:
            subprotocol, attach = await self._new(request, hub, offered)
        upgrade(request, subprotocol, attach)
        return web.Response()  # aiohttp drops it, because the transport no longer belongs to the request

    async def _new(
        self, request: web.Request, hub: str, offered: list[str]
    ) -> tuple[str | None, Callable[[Socket], None]]:
        """Returns the subprotocol of a new connection, and what gives it its socket."""
        token = self._token(request, hub)
        own = next((name for name in offered if name in _OWN_PROTOCOLS), None)
        connection = _make(hub, token.user_id, token.roles, own)
        groups = token.groups
        if self._broker.events is not None and self._broker.events.wants("connect"):
            answer = await self._ask(connection, request, token, offered)
            own = answer.subprotocol or own
            connection = _remake(connection, answer, token, own)
            groups = (*groups, *answer.groups)
        return own, lambda socket: self._broker.open(connection, groups, socket)

    def _recovery(
        self, request: web.Request, hub: str, offered: list[str]
    ) -> tuple[str | None, Callable[[Socket], None]]:
        """Returns the subprotocol, and what gives the lost connection its next socket.

        The reconnection token is enough, because an access token counts only when a connection begins.
        A refused recovery is accepted and then closed, because clients start a new connection only then.
        """
        query = request.query
        connection_id, token = query["awps_connection_id"], query.get("awps_reconnection_token", "")
        subprotocol = RELIABLE_PROTOCOL if RELIABLE_PROTOCOL in offered else None
        return subprotocol, lambda socket: self._broker.recover(hub, connection_id, token, socket)

    def _token(self, request: web.Request, hub: str) -> ClientToken:
        text = request.query.get("access_token")
        if text is None:
            scheme, _, text = request.headers.get("Authorization", "").partition(" ")
            text = text if scheme.casefold() == "bearer" else ""
        try:
            return read_client_token(text, self._key, hub)
        except TokenRefused as error:
            raise web.HTTPUnauthorized(text=f"{error}\n") from error

    async def _ask(
        self, connection: Connection, request: web.Request, token: ClientToken, offered: list[str]
    ) -> ConnectAnswer:
        """Returns the event handler's decision; raises an HTTP error that carries its refusal."""
        assert self._broker.events is not None
        query = request.query
        asked = ConnectRequest(
            claims=token.claims,
            query={name: query.getall(name) for name in query if name != "access_token"},
            headers={
                name: request.headers.getall(name)
                for name in request.headers
                if name.lower() != "authorization"
            },
            subprotocols=offered,
        )
        try:
            answer = await self._broker.events.connect(connection, asked)
        except EventFailed as failure:
            refusal = web.HTTPBadRequest(text=failure.body)
            refusal.set_status(failure.status)
            raise refusal from failure
        if answer.subprotocol is not None and answer.subprotocol not in offered:
            raise web.HTTPInternalServerError(
                text="The event handler chose a subprotocol that the client did not offer.\n"
            )
        if answer.user_id is not None and len(answer.user_id) > MAX_USER_CHARS:
            raise web.HTTPInternalServerError(text="The event handler chose a user id that is too long.\n")
        return answer


def _make(hub: str, user_id: str | None, roles: Iterable[str], subprotocol: str | None) -> Connection:
    connection_id = token_urlsafe(18)
    if subprotocol == RELIABLE_PROTOCOL:
        return ReliableConnection(hub, connection_id, user_id, roles)
    if subprotocol == JSON_PROTOCOL:
        return Connection(hub, connection_id, user_id, roles)
    return SimpleConnection(hub, connection_id, user_id, subprotocol)


def _remake(
    asked: Connection, answer: ConnectAnswer, token: ClientToken, subprotocol: str | None
) -> Connection:
    """Returns the connection as the event handler wants it, under the id that the handler already knows."""
    user_id = answer.user_id or token.user_id
    connection = _make(asked.hub, user_id, (*token.roles, *answer.roles), subprotocol)
    connection.connection_id = asked.connection_id
    connection.state = asked.state
    return connection
