"""Posts to addresses that customers chose, and lets none of them lead into our own network.

The host is resolved once, every one of its addresses must be public, and the connection goes to exactly
these: a name that answers otherwise a moment later changes nothing. TLS and the Host header keep the name.
There are no redirects, no proxies of the environment, and bounds for time and size.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.domain.notifications.addresses import is_below, is_public, is_public_literal, url_fault

CONNECT_S = 3.0
TOTAL_S = 10.0
MAX_ANSWER_BYTES = 65_536
_USER_AGENT = "signal-cloud-notifications"

# A lookup cannot be cancelled, and a customer's name server may let it hang for half a minute. These threads
# are not the loop's own few, for which everything else would wait.
_lookups = ThreadPoolExecutor(64, "lookups")

# Returns the IP addresses of a host; raises OSError if there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class NotDelivered(Exception):
    """The receiver certainly has nothing of the message; the text says why, without the address's secrets."""


class AnswerLost(Exception):
    """The message was sent, and no answer came: the receiver may have it."""


class Answered:
    """The status, the headers in lower case, and at most MAX_ANSWER_BYTES of the body of an answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses that the system knows for `host`."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_lookups, look_up)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Outgoing:
    """`trusted` are the addresses of stand-ins, which may be local and without TLS; none in a deployment."""

    def __init__(self, trusted: Sequence[str] = (), resolve: Resolve = resolve) -> None:
        self._trusted = tuple(trusted)
        self._resolve = resolve

    async def send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """Sends a request; raises NotDelivered for an address that is refused or unreachable, AnswerLost."""
        begun = asyncio.Event()
        try:
            async with asyncio.timeout(TOTAL_S):
                pinned = await self._pinned(url)
                return await self._sent(method, url, body, headers, pinned=pinned, begun=begun)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = (
                f"no answer in {TOTAL_S:g} s" if isinstance(error, TimeoutError) else type(error).__name__
            )
            if begun.is_set():
                raise AnswerLost(f"The answer was lost: {reason}.") from error
            raise NotDelivered(f"The address cannot be reached: {reason}.") from error

    async def _pinned(self, url: str) -> "_Pinned | None":
        """The checked addresses of the host; None for a stand-in. Raises NotDelivered."""
        if any(is_below(url, base) for base in self._trusted):
            return None
        fault = url_fault(url)
        if fault is not None:
            raise NotDelivered(f"The address is refused. {fault}")
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        if is_public_literal(host):
            return _Pinned([host])
        async with asyncio.timeout(CONNECT_S):
            found = await self._resolve(host, port)
        if not found or not all(_is_public_text(address) for address in found):
            raise NotDelivered("The address is refused: its host is not on the public internet.")
        return _Pinned(found)

    @staticmethod
    async def _sent(
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        pinned: "_Pinned | None",
        begun: asyncio.Event,
    ) -> Answered:
        async def begin(*_: object) -> None:
            begun.set()

        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(begin)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=pinned, use_dns_cache=False, force_close=True),
            # Ends before the time for all, so that an answer with an endless body still has its status.
            timeout=aiohttp.ClientTimeout(total=TOTAL_S - 1, connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            # Unpacking would let a small answer become a large one.
            auto_decompress=False,
            trace_configs=[trace],
        ) as session:
            sent = {"user-agent": _USER_AGENT, "accept-encoding": "identity", **headers}
            async with session.request(method, url, data=body, headers=sent, allow_redirects=False) as answer:
                received = {name.lower(): value for name, value in answer.headers.items()}
                return Answered(answer.status, received, await _bounded(answer.content))


def _is_public_text(address: str) -> bool:
    try:
        return is_public(ip_address(address))
    except ValueError:
        return False


class _Pinned(AbstractResolver):
    """Answers every question with the addresses that were checked."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing to close."""


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    """The beginning of the body. It decides nothing but details of a refusal, so its loss is none."""
    read = bytearray()
    with suppress(aiohttp.ClientError, OSError, TimeoutError):
        while len(read) < MAX_ANSWER_BYTES:
            part = await content.read(MAX_ANSWER_BYTES - len(read))
            if not part:
                break
            read += part
    return bytes(read)
