"""Serves the data-plane REST API, api-version 2024-12-01."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from local.webpubsub import messages, parameters
from local.webpubsub.broker import Broker
from local.webpubsub.connections import Connection
from local.webpubsub.endpoint import HUB_NAME
from local.webpubsub.filters import FilterInvalid, compile_filter
from local.webpubsub.hubs import Hub, chosen
from local.webpubsub.limits import MAX_GROUP_CHARS, MAX_PAGE, MAX_TTL_S, MAX_USER_CHARS
from local.webpubsub.messages import MessageInvalid
from local.webpubsub.parameters import Refused
from local.webpubsub.tokens import TokenRefused, check_request_token, make_client_token

API_VERSION = "2024-12-01"
_MAX_TOKEN_MINUTES = 60 * 24 * 365
_MAX_TOP = 2**31 - 1
_HUB = "/api/hubs/{hub}"
_CONNECTION = _HUB + "/connections/{connection}"
_GROUP = _HUB + "/groups/{group}"
_USER = _HUB + "/users/{user}"
_PERMISSION = _HUB + "/permissions/{permission}/connections/{connection}"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _GroupsBody(msgspec.Struct):
    groups: Annotated[list[messages.Group], msgspec.Meta(min_length=1)]
    filter: str | None = None


class DataPlane:
    """The operations. Their requests are signed with the access key, as client tokens are."""

    def __init__(self, broker: Broker, key: str, now: Callable[[], float]) -> None:
        self._broker = broker
        self._key = key
        self._now = now

    def routes(self) -> Iterable[web.RouteDef]:
        yield web.get("/api/health", self._health)  # HEAD as well
        for method, path, handler in (
            ("POST", _HUB + "/:send", self._send_to_all),
            ("POST", _GROUP + "/:send", self._send_to_group),
            ("POST", _USER + "/:send", self._send_to_user),
            ("POST", _CONNECTION + "/:send", self._send_to_connection),
            ("HEAD", _CONNECTION, self._connection_exists),
            ("HEAD", _GROUP, self._group_exists),
            ("HEAD", _USER, self._user_exists),
            ("DELETE", _CONNECTION, self._close_connection),
            ("POST", _HUB + "/:closeConnections", self._close_all),
            ("POST", _GROUP + "/:closeConnections", self._close_group),
            ("POST", _USER + "/:closeConnections", self._close_user),
            ("GET", _GROUP + "/connections", self._list_connections),
            ("PUT", _GROUP + "/connections/{connection}", self._add_connection),
            ("DELETE", _GROUP + "/connections/{connection}", self._remove_connection),
            ("DELETE", _CONNECTION + "/groups", self._remove_connection_from_all),
            ("PUT", _USER + "/groups/{group}", self._add_user),
            ("DELETE", _USER + "/groups/{group}", self._remove_user),
            ("DELETE", _USER + "/groups", self._remove_user_from_all),
            ("PUT", _PERMISSION, self._grant),
            ("DELETE", _PERMISSION, self._revoke),
            ("HEAD", _PERMISSION, self._has_permission),
            ("POST", _HUB + "/:generateToken", self._generate_token),
            ("POST", _HUB + "/:addToGroups", self._add_to_groups),
            ("POST", _HUB + "/:removeFromGroups", self._remove_from_groups),
        ):
            yield web.route(method, path, self._guarded(handler))

    def _guarded(self, handler: Handler) -> Handler:
        """Returns a handler that first checks the request, and turns refusals into the API's error body."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                self._check(request)
                return await handler(request)
            except Refused as refused:
                return _error(refused.status, refused.code, str(refused))
            except (FilterInvalid, MessageInvalid) as error:
                return _error(400, "BadRequest", str(error))
            except web.HTTPRequestEntityTooLarge:
                return _error(413, "PayloadTooLarge", "The body is larger than 1 MB.")

        return guarded

    def _check(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() != "bearer":
            raise Refused(401, "Unauthorized", "A bearer token is missing.")
        try:
            check_request_token(token, self._key, request.raw_path)
        except TokenRefused as error:
            raise Refused(401, "Unauthorized", str(error)) from error
        if request.query.get("api-version") != API_VERSION:
            raise Refused(400, "BadRequest", f"The query must say api-version={API_VERSION}.")
        names = request.match_info
        if not HUB_NAME.fullmatch(names["hub"]):
            raise Refused(400, "BadRequest", "The name of the hub is not valid.")
        for name, most in (("group", MAX_GROUP_CHARS), ("user", MAX_USER_CHARS)):
            if len(names.get(name, "")) > most:
                raise Refused(400, "BadRequest", f"The {name} may have at most {most} characters.")

    async def _health(self, request: web.Request) -> web.Response:
        del request
        return web.Response()

    # Sending

    async def _send_to_all(self, request: web.Request) -> web.Response:
        hub = self._hub(request)
        message = messages.from_server(await parameters.payload(request), self._expiry(request))
        hub.send(
            hub.everyone(),
            message,
            excluded=parameters.excluded(request),
            matches=parameters.connection_filter(request),
        )
        return web.Response(status=202)

    async def _send_to_group(self, request: web.Request) -> web.Response:
        hub, group = self._hub(request), request.match_info["group"]
        message = messages.from_group(group, None, await parameters.payload(request), self._expiry(request))
        hub.send(
            hub.of_group(group),
            message,
            excluded=parameters.excluded(request),
            matches=parameters.connection_filter(request),
        )
        return web.Response(status=202)

    async def _send_to_user(self, request: web.Request) -> web.Response:
        hub = self._hub(request)
        message = messages.from_server(await parameters.payload(request), self._expiry(request))
        hub.send(
            hub.of_user(request.match_info["user"]), message, matches=parameters.connection_filter(request)
        )
        return web.Response(status=202)

    async def _send_to_connection(self, request: web.Request) -> web.Response:
        message = messages.from_server(await parameters.payload(request), self._expiry(request))
        connection = self._connection(request)
        if connection is not None:
            self._hub(request).send([connection], message)
        return web.Response(status=202)

    # Existence and closing

    async def _connection_exists(self, request: web.Request) -> web.Response:
        return _exists(self._connection(request) is not None)

    async def _group_exists(self, request: web.Request) -> web.Response:
        return _exists(request.match_info["group"] in self._hub(request).groups)

    async def _user_exists(self, request: web.Request) -> web.Response:
        return _exists(request.match_info["user"] in self._hub(request).users)

    async def _close_connection(self, request: web.Request) -> web.Response:
        connection = self._connection(request)
        return self._close(request, [connection] if connection is not None else [])

    async def _close_all(self, request: web.Request) -> web.Response:
        return self._close(request, self._hub(request).everyone())

    async def _close_group(self, request: web.Request) -> web.Response:
        return self._close(request, self._hub(request).of_group(request.match_info["group"]))

    async def _close_user(self, request: web.Request) -> web.Response:
        return self._close(request, self._hub(request).of_user(request.match_info["user"]))

    def _close(self, request: web.Request, connections: Iterable[Connection]) -> web.Response:
        reason = request.query.get("reason", "")
        for connection in chosen(connections, parameters.excluded(request), None):
            self._broker.end(connection, reason)
        return web.Response(status=204)

    # Groups

    async def _list_connections(self, request: web.Request) -> web.Response:
        """List by order of arrival, so that pages repeat and skip nobody when connections come and go."""
        size = parameters.whole_number(request, "maxpagesize", MAX_PAGE, low=1, high=MAX_PAGE)
        top = parameters.whole_number(request, "top", _MAX_TOP, low=1, high=_MAX_TOP)
        after = parameters.whole_number(request, "continuationToken", 0, low=0, high=2**63)
        size = min(size, top)
        members = self._hub(request).of_group(request.match_info["group"])
        page = sorted((one for one in members if one.ordinal > after), key=lambda one: one.ordinal)
        value = [
            {"connectionId": one.connection_id} | ({"userId": one.user_id} if one.user_id is not None else {})
            for one in page[:size]
        ]
        content: dict[str, object] = {"value": value}
        if len(page) > size and top > size:
            query = {
                "maxpagesize": size,
                "continuationToken": page[size - 1].ordinal,
                "api-version": API_VERSION,
            }
            if "top" in request.query:
                query["top"] = top - size
            path = request.raw_path.partition("?")[0]
            content["nextLink"] = f"{request.scheme}://{request.host}{path}?{urlencode(query)}"
        return _json(content)

    async def _add_connection(self, request: web.Request) -> web.Response:
        connection = self._connection(request)
        if connection is None:
            raise Refused(404, "NotFound", "There is no such connection.")
        self._hub(request).join(connection, request.match_info["group"])
        return web.Response()

    async def _remove_connection(self, request: web.Request) -> web.Response:
        connection = self._connection(request)
        if connection is not None:
            self._hub(request).leave(connection, request.match_info["group"])
        return web.Response(status=204)

    async def _remove_connection_from_all(self, request: web.Request) -> web.Response:
        connection = self._connection(request)
        if connection is not None:
            for group in tuple(connection.groups):
                self._hub(request).leave(connection, group)
        return web.Response(status=204)

    async def _add_user(self, request: web.Request) -> web.Response:
        hub = self._hub(request)
        connections = tuple(hub.of_user(request.match_info["user"]))
        if not connections:
            raise Refused(404, "NotFound", "The user has no connection.")
        for connection in connections:
            hub.join(connection, request.match_info["group"])
        return web.Response()

    async def _remove_user(self, request: web.Request) -> web.Response:
        hub = self._hub(request)
        for connection in hub.of_user(request.match_info["user"]):
            hub.leave(connection, request.match_info["group"])
        return web.Response(status=204)

    async def _remove_user_from_all(self, request: web.Request) -> web.Response:
        hub = self._hub(request)
        for connection in hub.of_user(request.match_info["user"]):
            for group in tuple(connection.groups):
                hub.leave(connection, group)
        return web.Response(status=204)

    async def _add_to_groups(self, request: web.Request) -> web.Response:
        return await self._change_groups(request, self._hub(request).join)

    async def _remove_from_groups(self, request: web.Request) -> web.Response:
        return await self._change_groups(request, self._hub(request).leave)

    async def _change_groups(
        self, request: web.Request, change: Callable[[Connection, str], None]
    ) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read(), type=_GroupsBody)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Refused(400, "BadRequest", str(error)) from error
        matches = compile_filter(body.filter) if body.filter is not None else None
        for connection in chosen(self._hub(request).everyone(), frozenset(), matches):
            for group in body.groups:
                change(connection, group)
        return web.Response()

    # Permissions and tokens

    async def _grant(self, request: web.Request) -> web.Response:
        self._override(request, allowed=True)
        return web.Response()

    async def _revoke(self, request: web.Request) -> web.Response:
        self._override(request, allowed=False)
        return web.Response(status=204)

    def _override(self, request: web.Request, *, allowed: bool) -> None:
        permission, connection = parameters.permission(request), self._connection(request)
        if connection is not None:
            connection.permissions.override(permission, request.query.get("targetName"), allowed=allowed)
        elif allowed:
            raise Refused(404, "NotFound", "There is no such connection.")

    async def _has_permission(self, request: web.Request) -> web.Response:
        permission, connection = parameters.permission(request), self._connection(request)
        group = request.query.get("targetName")
        if connection is None:
            return _exists(False)
        if group is None:
            return _exists(connection.permissions.allows_every_group(permission))
        return _exists(connection.permissions.allows(permission, group))

    async def _generate_token(self, request: web.Request) -> web.Response:
        query = request.query
        if query.get("clientType", "Default").casefold() != "default":
            raise Refused(400, "BadRequest", "This stand-in serves only clients of type Default.")
        minutes = parameters.whole_number(request, "minutesToExpire", 60, low=1, high=_MAX_TOKEN_MINUTES)
        token = make_client_token(
            self._key,
            audience=f"{request.scheme}://{request.host}/client/hubs/{request.match_info['hub']}",
            now=datetime.now(UTC),
            lifetime=timedelta(minutes=minutes),
            user_id=query.get("userId"),
            roles=query.getall("role", []),
            groups=query.getall("group", []),
        )
        return _json({"token": token})

    def _hub(self, request: web.Request) -> Hub:
        return self._broker.hub(request.match_info["hub"])

    def _connection(self, request: web.Request) -> Connection | None:
        return self._hub(request).connections.get(request.match_info["connection"])

    def _expiry(self, request: web.Request) -> float | None:
        """Returns the loop's time at which an undelivered message expires; None (0 s) is never."""
        ttl_s = parameters.whole_number(request, "messageTtlSeconds", 0, low=0, high=MAX_TTL_S)
        return self._now() + ttl_s if ttl_s else None


def _exists(found: bool) -> web.Response:
    return web.Response(status=200 if found else 404)


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(content), content_type="application/json")


def _error(status: int, code: str, message: str) -> web.Response:
    return _json({"error": {"code": code, "message": message}}, status)
