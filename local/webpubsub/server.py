"""Composes the stand-in and runs it until a signal stops it."""

import asyncio
import contextlib
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web

from local.webpubsub.broker import Broker
from local.webpubsub.endpoint import ClientEndpoint
from local.webpubsub.limits import CLOSE_TIMEOUT_S, MAX_MESSAGE_BYTES, MAX_REQUEST_LINE_BYTES
from local.webpubsub.rest import DataPlane
from local.webpubsub.sockets import Socket
from local.webpubsub.upstream import EventHandler

_SWEEP_INTERVAL_S = 5.0
_BACKLOG = 4_096  # thousands of bots reconnect at once after a cut


@dataclass(frozen=True, slots=True)
class Options:
    """Settings from the command line. `upstream_events` holds names from upstream.EVENTS."""

    host: str
    port: int
    access_key: str
    upstream_url: str | None
    upstream_events: frozenset[str]


async def serve(options: Options) -> None:
    """Serve until SIGINT or SIGTERM, then close all client connections and return."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    _allow_many_sockets()
    async with contextlib.AsyncExitStack() as stack:
        events = None
        if options.upstream_url is not None:
            session = await stack.enter_async_context(
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True)
            )
            events = EventHandler(
                session,
                url=options.upstream_url,
                events=options.upstream_events,
                key=options.access_key,
                origin=f"{options.host}:{options.port}",
            )
            stack.push_async_callback(events.close)
        broker = Broker(loop, events)
        runner = _runner(broker, options.access_key)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, options.host, options.port, backlog=_BACKLOG)
        await site.start()
        sweep = asyncio.create_task(_sweep(broker))
        stack.callback(sweep.cancel)
        await stop.wait()
        await site.stop()
        await _close_all(broker)


def _runner(broker: Broker, key: str) -> web.AppRunner:
    app = web.Application(client_max_size=MAX_MESSAGE_BYTES)
    app.add_routes(DataPlane(broker, key, asyncio.get_running_loop().time).routes())
    app.add_routes(ClientEndpoint(broker, key).routes())
    return web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=CLOSE_TIMEOUT_S,
        max_line_size=MAX_REQUEST_LINE_BYTES,
        max_field_size=MAX_REQUEST_LINE_BYTES,
    )


def _allow_many_sockets() -> None:
    """Raise the soft limit of open files, because its usual 1,024 would bound the connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # then the limit stays as it is
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _sweep(broker: Broker) -> None:
    """Ping silent peers and cut dead ones. After a pause of this process no peer counts as dead."""
    loop = asyncio.get_running_loop()
    due = loop.time() + _SWEEP_INTERVAL_S
    while True:
        await asyncio.sleep(_SWEEP_INTERVAL_S)
        now = loop.time()
        paused = now - due > _SWEEP_INTERVAL_S
        for socket in broker.sockets():
            if paused:
                socket.forgive_silence(now)
            else:
                socket.check_alive(now)
        due = now + _SWEEP_INTERVAL_S


class _Farewell:
    """Closes sockets as their last listener, and sets `done` when all are closed."""

    def __init__(self, sockets: Iterable[Socket]) -> None:
        self._open = set(sockets)
        self.done = asyncio.Event()
        if not self._open:
            self.done.set()
        for socket in tuple(self._open):
            socket.listen(self)
            socket.close(WSCloseCode.GOING_AWAY, "The server is shutting down.")

    def received(self, socket: Socket, kind: WSMsgType, payload: bytes) -> None: ...

    def writable(self, socket: Socket) -> None: ...

    def lost(self, socket: Socket, *, closed_by_peer: bool) -> None:
        del closed_by_peer
        self._open.discard(socket)
        if not self._open:
            self.done.set()


async def _close_all(broker: Broker) -> None:
    """Close the clients' sockets, and wait at most CLOSE_TIMEOUT_S for their answers."""
    farewell = _Farewell(broker.sockets())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await farewell.done.wait()
