"""Sends webhooks as vendors do: signed, repeated with growing waits until they are taken, in any order."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import aiohttp
import msgspec

type Json = dict[str, Any]
type Vendor = Literal["stripe", "whop"]

FIRST_WAIT_S = 0.2
LAST_WAIT_S = 30.0
MAX_TRIES = 16
TIMEOUT_S = 10.0
OLD_S = 600
MAX_KEPT = 1_000
_FORGED_SECRET = "whsec_" + base64.b64encode(b"a secret that nobody set up").decode()


class Manner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How events are sent: shuffled, each `duplicates` times, with a wrong signature, or with an old one."""

    disorder: bool = False
    duplicates: int = 1
    forged: bool = False
    old: bool = False
    seed: int = 0


@dataclass
class Delivery:
    """One event on its way; `statuses` has an HTTP status for each try, 0 if no answer came."""

    event_id: str
    kind: str
    statuses: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def is_taken(self) -> bool:
        return bool(self.statuses) and 200 <= self.statuses[-1] < 300

    def as_json(self) -> Json:
        return {**asdict(self), "is_taken": self.is_taken}


def sign_stripe(body: bytes, secret: str, at: int) -> str:
    """The header `Stripe-Signature`: HMAC-SHA256 under the whole secret, over time and body."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def sign_whop(body: bytes, secret: str, message_id: str, at: int) -> dict[str, str]:
    """The headers of Standard Webhooks; Whop's key is the whole secret, which is not base64."""
    digest = hmac.new(secret.encode(), f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class Sender:
    """Delivers one vendor's events to one address, each in a task of its own."""

    def __init__(self, vendor: Vendor, app_url: str, secret: str, session: aiohttp.ClientSession) -> None:
        self._vendor = vendor
        self._url = f"{app_url}/api/webhooks/{vendor}"
        self._secret = secret
        self._session = session
        self._tasks: set[asyncio.Task[None]] = set()
        self.deliveries: deque[Delivery] = deque(maxlen=MAX_KEPT)

    async def send(self, events: Sequence[Json], manner: Manner, wait_s: float) -> list[Delivery]:
        """Starts to deliver; returns when all are taken or given up, or after `wait_s` seconds."""
        order = [event for event in events for _ in range(max(1, manner.duplicates))]
        if manner.disorder:
            random.Random(manner.seed or None).shuffle(order)  # noqa: S311 - no secret
        started: list[Delivery] = []
        tasks: list[asyncio.Task[None]] = []
        for event in order:
            delivery = Delivery(event["id"], event["type"])
            started.append(delivery)
            self.deliveries.append(delivery)
            tasks.append(asyncio.create_task(self._deliver(event, manner, delivery)))
            # In order, the next event leaves when this one is answered, or has failed once.
            if not manner.disorder and manner.duplicates <= 1:
                await self._first_try(delivery, tasks[-1])
        self._tasks |= set(tasks)
        for task in tasks:
            task.add_done_callback(self._tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=wait_s)
        return started

    async def close(self) -> None:
        """Gives up what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @staticmethod
    async def _first_try(delivery: Delivery, task: asyncio.Task[None]) -> None:
        while not delivery.statuses and not task.done():  # noqa: ASYNC110 - a try takes milliseconds
            await asyncio.sleep(0.002)

    async def _deliver(self, event: Json, manner: Manner, delivery: Delivery) -> None:
        body = json.dumps(event, separators=(",", ":")).encode()
        tries = 1 if manner.forged or manner.old else MAX_TRIES
        wait_s = FIRST_WAIT_S
        for number in range(tries):
            if number:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, LAST_WAIT_S)
            await self._try(event, body, manner, delivery)
            if delivery.is_taken:
                return

    async def _try(self, event: Json, body: bytes, manner: Manner, delivery: Delivery) -> None:
        secret = _FORGED_SECRET if manner.forged else self._secret
        at = int(time.time()) - (OLD_S if manner.old else 0)
        if self._vendor == "stripe":
            headers = {"Stripe-Signature": sign_stripe(body, secret, at)}
        else:
            headers = sign_whop(body, secret, event["id"], at)
        headers["Content-Type"] = "application/json; charset=utf-8"
        started = time.monotonic()
        try:
            async with self._session.post(
                self._url,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        delivery.statuses.append(status)
        delivery.seconds.append(round(time.monotonic() - started, 4))
