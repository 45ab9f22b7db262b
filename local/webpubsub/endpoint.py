"""The client endpoint: /client/hubs/{hub} and /client/?hub=."""

import asyncio
import re
from collections.abc import Iterable
from secrets import token_urlsafe

from aiohttp import web

from local.webpubsub.broker import Broker
from local.webpubsub.connections import Connection, ReliableConnection, SimpleConnection
from local.webpubsub.handshake import TakenOver, accept_key, offered_subprotocols, take_over
from local.webpubsub.limits import ACCEPT_DELAY_S, MAX_HUB_CHARS, MAX_USER_CHARS
from local.webpubsub.messages import JSON_PROTOCOL, RELIABLE_PROTOCOL
from local.webpubsub.tokens import ClientToken, TokenRefused, read_client_token
from local.webpubsub.upstream import ConnectAnswer, ConnectRequest, EventFailed

HUB_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{MAX_HUB_CHARS - 1}}}")
_OWN_PROTOCOLS = (JSON_PROTOCOL, RELIABLE_PROTOCOL)


class ClientEndpoint:
    """Lets clients in: by access token, or by reconnection token into a connection that they have had."""

    def __init__(self, broker: Broker, key: str) -> None:
        self._broker = broker
        self._key = key

    def routes(self) -> Iterable[web.RouteDef]:
        for path in ("/client/hubs/{hub}", "/client/", "/client"):
            yield web.get(path, self._connect, allow_head=False)

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        accept = accept_key(request)
        await asyncio.sleep(ACCEPT_DELAY_S)
        hub = request.match_info.get("hub") or request.query.get("hub", "")
        if not HUB_NAME.fullmatch(hub):
            raise web.HTTPBadRequest(text="The name of the hub is missing or not valid.\n")
        offered = offered_subprotocols(request)
        if offered and all(name.startswith("protobuf.") for name in offered):
            raise web.HTTPBadRequest(text="Protobuf subprotocols are not served here.\n")
        if "awps_connection_id" in request.query:
            return self._recover(request, hub, accept, offered)
        token = self._token(request, hub)
        own = next((name for name in offered if name in _OWN_PROTOCOLS), None)
        connection = self._make(hub, token.user_id, token.roles, own)
        groups = token.groups
        if self._broker.events is not None and self._broker.events.wants("connect"):
            answer = await self._ask(connection, request, token, offered)
            own = answer.subprotocol or own
            connection = self._remake(connection, answer, token, own)
            groups = (*groups, *answer.groups)
        taken = take_over(request, accept, own)
        if taken is not None:
            socket, behind = taken
            self._broker.open(connection, groups, socket)
            if behind:
                socket.data_received(behind)
        return TakenOver()

    def _token(self, request: web.Request, hub: str) -> ClientToken:
        text = request.query.get("access_token")
        if text is None:
            scheme, _, text = request.headers.get("Authorization", "").partition(" ")
            text = text if scheme.casefold() == "bearer" else ""
        try:
            return read_client_token(text, self._key, hub)
        except TokenRefused as error:
            raise web.HTTPUnauthorized(text=f"{error}\n") from error

    def _recover(self, request: web.Request, hub: str, accept: str, offered: list[str]) -> web.StreamResponse:
        """By the reconnection token alone, as an access token counts only when a connection begins.

        What cannot be recovered is accepted and then closed: only that makes clients start anew.
        """
        taken = take_over(request, accept, RELIABLE_PROTOCOL if RELIABLE_PROTOCOL in offered else None)
        if taken is not None:
            socket, behind = taken
            query = request.query
            token = query.get("awps_reconnection_token", "")
            self._broker.recover(hub, query["awps_connection_id"], token, socket)
            if behind:
                socket.data_received(behind)
        return TakenOver()

    async def _ask(
        self, connection: Connection, request: web.Request, token: ClientToken, offered: list[str]
    ) -> ConnectAnswer:
        """The event handler's decision; raises an HTTP error that carries its refusal."""
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
                text="The event handler chose a subprotocol that was not offered.\n"
            )
        if answer.user_id is not None and len(answer.user_id) > MAX_USER_CHARS:
            raise web.HTTPInternalServerError(text="The event handler chose a user id that is too long.\n")
        return answer

    def _make(
        self, hub: str, user_id: str | None, roles: Iterable[str], subprotocol: str | None
    ) -> Connection:
        connection_id = token_urlsafe(18)
        if subprotocol == RELIABLE_PROTOCOL:
            return ReliableConnection(hub, connection_id, user_id, roles)
        if subprotocol == JSON_PROTOCOL:
            return Connection(hub, connection_id, user_id, roles)
        return SimpleConnection(hub, connection_id, user_id, subprotocol)

    def _remake(
        self, asked: Connection, answer: ConnectAnswer, token: ClientToken, subprotocol: str | None
    ) -> Connection:
        """The connection as the event handler wants it, under the id that the handler was told."""
        user_id = answer.user_id or token.user_id
        connection = self._make(asked.hub, user_id, (*token.roles, *answer.roles), subprotocol)
        connection.connection_id = asked.connection_id
        connection.state = asked.state
        return connection
