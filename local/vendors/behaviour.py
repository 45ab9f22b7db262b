"""Makes a vendor fail its next requests: by an error, silence, a lost answer, a redirect, a huge answer."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
from aiohttp import web

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
type Refusal = Callable[[int, float], web.Response]

VENDORS = ("discord", "telegram", "slack", "twilio", "pagerduty", "smtp", "webhook")
MAX_PLANNED = 1_000


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to the next `count` requests of `vendor` (for webhooks: of the receiver `name` alone).

    `status` answers with an error, for a 429 with `retry_after_s`; `hang` answers nothing for `seconds`;
    `lost` takes the request in and then closes the connection without an answer; `redirect` sends the caller
    to `location`; `huge` answers with `size` bytes.
    """

    vendor: str
    kind: Literal["status", "hang", "lost", "redirect", "huge"] = "status"
    count: int = 1
    name: str = ""
    status: int = 500
    retry_after_s: float = 1.0
    seconds: float = 60.0
    location: str = ""
    size: int = 50_000_000


@dataclass(frozen=True)
class _Place:
    vendor: str
    name: str


class Faults:
    """Planned faults; `refusals` shape an error as the vendor of that name does."""

    def __init__(self, refusals: dict[str, Refusal]) -> None:
        self._refusals = refusals
        self._planned: dict[_Place, deque[Fault]] = defaultdict(deque)

    def plan(self, fault: Fault) -> None:
        """Appends the fault `count` times; a count of 0 cancels what is planned for the same place."""
        place = _Place(fault.vendor, fault.name)
        if fault.count == 0:
            self._planned.pop(place, None)
            return
        for _ in range(min(fault.count, MAX_PLANNED)):
            self._planned[place].append(fault)

    def next_of(self, vendor: str, name: str = "") -> Fault | None:
        """Takes the next fault of this place, if one is planned."""
        planned = self._planned.get(_Place(vendor, name))
        return planned.popleft() if planned else None

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Applies the next fault to a vendor's request; control requests have none."""
        vendor, _, rest = request.path.strip("/").partition("/")
        name = rest.partition("/")[0] if vendor == "webhook" else ""
        fault = self.next_of(vendor, name)
        return await handler(request) if fault is None else await self._apply(fault, request, handler)

    async def _apply(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
        if fault.kind in {"hang", "lost"}:
            if fault.kind == "lost":
                await handler(request)
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=499)
        if fault.kind == "redirect":
            return web.Response(status=302, headers={"Location": fault.location})
        if fault.kind == "huge":
            return await _answer_hugely(request, fault.size)
        refusal = self._refusals.get(fault.vendor)
        if refusal is not None:
            return refusal(fault.status, fault.retry_after_s)
        headers = {"Retry-After": f"{fault.retry_after_s:g}"} if fault.status == 429 else {}
        return web.Response(status=fault.status, text="planned fault", headers=headers)


async def _answer_hugely(request: web.Request, size: int) -> web.StreamResponse:
    """Streams `size` bytes, so that a caller that reads without a limit uses up its memory."""
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await answer.prepare(request)
    block = b"x" * 65_536
    for _ in range(0, size, len(block)):
        await answer.write(block)
    await answer.write_eof()
    return answer
