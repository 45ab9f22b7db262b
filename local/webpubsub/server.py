"""Composes the stand-in and runs it until a signal stops it."""

import asyncio
import contextlib
import resource
import signal
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from local.webpubsub.broker import Broker
from local.webpubsub.endpoint import ClientEndpoint
from local.webpubsub.limits import CLOSE_TIMEOUT_S, MAX_MESSAGE_BYTES, MAX_REQUEST_LINE_BYTES
from local.webpubsub.rest import DataPlane
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
        clients = ClientEndpoint(broker, options.access_key)
        runner = _runner(clients, DataPlane(broker, options.access_key, loop.time))
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, options.host, options.port, backlog=_BACKLOG)
        await site.start()
        sweep = asyncio.create_task(_sweep(clients))
        stack.callback(sweep.cancel)
        await stop.wait()
        await site.stop()
        # Before the runner's own cleanup, which no longer reads the clients' answers.
        await clients.close_all("The server is shutting down.")


def _runner(clients: ClientEndpoint, data_plane: DataPlane) -> web.AppRunner:
    app = web.Application(client_max_size=MAX_MESSAGE_BYTES)
    app.add_routes(data_plane.routes())
    app.add_routes(clients.routes())
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


async def _sweep(clients: ClientEndpoint) -> None:
    """Ping silent peers and cut dead ones. After a pause of this process no peer counts as dead."""
    loop = asyncio.get_running_loop()
    due = loop.time() + _SWEEP_INTERVAL_S
    while True:
        await asyncio.sleep(_SWEEP_INTERVAL_S)
        now = loop.time()
        paused = now - due > _SWEEP_INTERVAL_S
        for socket in clients.sockets():
            if paused:
                socket.forgive_silence(now)
            else:
                socket.check_alive(now)
        due = now + _SWEEP_INTERVAL_S
