"""Stands in for Front Door: one address for two regions.

`python -m loadtests.failover.front_door PORT ORIGIN ...` takes the origins in the order of their priority.
Requests go to the first whose probe passes; if none passes, to all in turn. No request is sent a second time.
"""

# ruff: noqa: T201 - the rehearsal reads it

import asyncio
import itertools
import sys
from collections.abc import Sequence

import aiohttp
from aiohttp import web

PROBE_PATH = "/api/health/active"
# Azure probes each 30 s or more; a rehearsal measures our part of the time.
PROBE_EVERY_S = 0.5
PROBE_TIMEOUT_S = 2.0
TIMEOUT_S = 30.0
MAX_BODY_BYTES = 10_000_000
# Headers of one connection, which the other side must not see.
HOP_BY_HOP = frozenset(
    ("connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding", "upgrade")
)


class FrontDoor:
    """A reverse proxy; `serving` is the origin that its requests go to, None if no probe passes."""

    def __init__(self, session: aiohttp.ClientSession, origins: Sequence[str]) -> None:
        self._session = session
        self._origins = origins
        self._in_turn = itertools.cycle(origins)
        self.serving: str | None = origins[0]

    async def probe(self) -> None:
        """Asks each origin, again and again, and chooses the first that passes."""
        while True:
            passed = await asyncio.gather(*map(self._passes, self._origins))
            healthy = [origin for origin, is_healthy in zip(self._origins, passed, strict=True) if is_healthy]
            chosen = healthy[0] if healthy else None
            if chosen != self.serving:
                print(f"serves from {chosen or 'all in turn'}", flush=True)
                self.serving = chosen
            await asyncio.sleep(PROBE_EVERY_S)

    async def _passes(self, origin: str) -> bool:
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        try:
            async with self._session.get(origin + PROBE_PATH, timeout=timeout) as answer:
                return answer.status == web.HTTPOk.status_code
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """The origin's answer, or 503 if it gives none."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        try:
            async with self._session.request(
                request.method,
                (self.serving or next(self._in_turn)) + request.path_qs,
                headers=headers,
                data=await request.read(),
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return web.Response(status=503, text="no origin answers")
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        return web.Response(status=answer.status, body=body, headers=kept)


async def serve(port: int, origins: Sequence[str]) -> None:
    """Serves on the loopback address until it is stopped."""
    # The bodies pass as they are, compressed or not.
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        door = FrontDoor(session, origins)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", door.forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await door.probe()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2:]))
