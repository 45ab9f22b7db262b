"""Ends several bots' entitlement under one fault of Redis, and watches what they still get afterwards."""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aiohttp
import msgspec

from loadtests.attacks.http_client import Connection, Refused, request
from loadtests.attacks.revocation.bot import SLIPPED, Bot, Try
from loadtests.attacks.revocation.endings import Ending, RedisFault
from loadtests.attacks.revocation.valkey import Valkey
from loadtests.attacks.stack import BotKey, Ran, another_key, license_command, new_bot
from loadtests.bench.servers import RunningStack

HTTP_WITHIN_S = 5.0
SIGNALS_WITHIN_S = 10.0
PUBLISHED_WITHIN_S = 5.0
PER_MINUTE = 10_000
# Expiring licenses are made last, this long before their end; the fault begins a little before it.
EXPIRES_IN_S = 25.0
FAULT_BEFORE_EXPIRY_S = 6.0
# The processes meet the fault before the endings do.
FAULT_LEAD_S = 2.0
COMMANDS_AT_ONCE = 2
PUBLISH_EVERY_S = 0.5
BESIDE_EXPIRY_S = 3.0
# When the old URLs are tried, in seconds after the last ending, and after Redis is back; also at each ending.
TRIES_S = (0.2, 1.0, 2.0, 4.0, 7.0, 11.0)
HEALED_TRIES_S = (0.5, 2.0, 5.0)
# Everything of a key after its public id is cut from what is shown.
_KEY = re.compile(r"(sc_live_\w{6})\w+")


@dataclass(frozen=True)
class Cell:
    """What one bot still got, in seconds after its end; None: nothing.

    `old_in` are the times at which a URL from before the end let in, of `old_tried` attempts. `closed` are
    the times at which the sockets from before were closed, with the reason; None: never.
    """

    ending: str
    redis: str
    status: int | None
    text: str
    took_s: float
    last_200_s: float | None
    granted: int
    last_granted_s: float | None
    last_signal_s: float | None
    old_in: list[float]
    old_tried: int
    closed: list[tuple[float | None, str]]
    answers: dict[str, int]
    watched_s: float

    @property
    def is_met(self) -> bool:
        return (
            (self.last_200_s or 0.0) <= HTTP_WITHIN_S
            and (self.last_signal_s or 0.0) <= SIGNALS_WITHIN_S
            and not self.old_in
        )


@dataclass(frozen=True)
class Innocents:
    """Whether an innocent bot and the publisher went on, from the fault to the end of the watch."""

    redis: str
    longest_gap_s: float
    signals: int
    published: dict[str, int]
    answers: dict[str, int]

    @property
    def is_met(self) -> bool:
        return self.longest_gap_s <= PUBLISHED_WITHIN_S and set(self.published) == {"201"}


@dataclass
class _Publisher:
    """Publishes a signal every PUBLISH_EVERY_S through both processes in turn.

    It is an exit, which is accepted at every hour, and has a key of its own, because the same alert within a
    minute would be answered as the first one.
    """

    key: str
    ports: tuple[int, int]
    answers: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        body = msgspec.json.encode({"symbol": "ES", "side": "LONG", "kind": "exit", "price": "6543.25"})
        for connection in itertools.cycle([Connection(port) for port in self.ports]):
            due_at = time.monotonic() + PUBLISH_EVERY_S
            try:
                whole = request("POST", "signals", key=self.key, body=body, idempotency_key=uuid4().hex)
                self.answers[(await connection.ask(whole)).label] += 1
            except Refused as error:
                self.answers[str(error)] += 1
            await asyncio.sleep(max(0.0, due_at - time.monotonic()))


class Watch:
    """One fault of Redis, the endings under it, and their bots."""

    def __init__(
        self,
        *,
        stack: RunningStack,
        second_port: int,
        valkey: Valkey,
        fault: RedisFault,
        endings: Sequence[Ending],
        session: aiohttp.ClientSession,
    ) -> None:
        """`second_port` is of the second host process."""
        self._stack = stack
        self._ports = (stack.port, second_port)
        self._valkey = valkey
        self._fault = fault
        self._endings = endings
        self._session = session
        self._bots: dict[str, Bot] = {}
        self._ran: dict[str, Ran] = {}
        self._expiry: float | None = None

    async def run(self, watch_s: float, healed_s: float) -> tuple[list[Cell], Innocents]:
        witness = Bot(await self._license("witness"), self._ports, self._session)
        await witness.begin()
        await self._prepare()
        publisher = _Publisher(self._stack.addresses["keys"]["publisher"], self._ports)
        publishing = asyncio.create_task(publisher.run())
        try:
            if self._expiry is not None:
                await _until(self._expiry - FAULT_BEFORE_EXPIRY_S)
            fault_at = time.monotonic()
            await asyncio.to_thread(self._fault.before, self._valkey)
            await asyncio.sleep(FAULT_LEAD_S)
            await self._end()
            await asyncio.to_thread(self._fault.after, self._valkey)
            await self._try_and_wait(TRIES_S, watch_s)
            if self._fault.heal is not None:
                await asyncio.to_thread(self._fault.heal, self._valkey)
                await self._try_and_wait(HEALED_TRIES_S, healed_s)
            over_at = time.monotonic()
        finally:
            publishing.cancel()
            for bot in (witness, *self._bots.values()):
                await bot.stop()
        cells = [self._cell(ending, over_at) for ending in self._endings]
        return cells, self._innocents(witness, publisher, fault_at, over_at)

    async def _license(self, name: str, *arguments: str) -> BotKey:
        return await asyncio.to_thread(new_bot, self._stack, name, PER_MINUTE, *arguments)

    async def _prepare(self) -> None:
        """Makes and starts a bot for each ending, those that expire last."""
        for ending in sorted(self._endings, key=lambda each: each.command is None):
            if ending.command is not None:
                key = await self._license(ending.name)
            else:
                key = await self._expiring(ending)
            self._bots[ending.name] = Bot(key, self._ports, self._session)
            await self._bots[ending.name].begin()
        if self._expiry is not None and self._expiry - time.monotonic() < FAULT_BEFORE_EXPIRY_S:
            raise RuntimeError(f"the bots were not ready {FAULT_BEFORE_EXPIRY_S:.0f} s before the expiry")

    async def _expiring(self, ending: Ending) -> BotKey:
        """Returns a key whose license, or which itself, ends at the common instant of expiry."""
        if self._expiry is None:
            self._expiry = float(round(time.monotonic() + EXPIRES_IN_S))
        end = datetime.now(UTC) + timedelta(seconds=self._expiry - time.monotonic())
        if ending.name == "license-expiry":
            return await self._license(ending.name, "--expires", end.isoformat())
        bot = await self._license(ending.name)
        return await asyncio.to_thread(another_key, self._stack, bot, "--expires", end.isoformat())

    async def _end(self) -> None:
        """Runs the commands, and waits for the instant of expiry; a bot's end is its command's return.

        Each bot tries an old URL at once.
        """
        slots = asyncio.Semaphore(COMMANDS_AT_ONCE)

        async def run(ending: Ending) -> None:
            bot = self._bots[ending.name]
            if ending.command is None:
                assert self._expiry is not None
                bot.ending_from, bot.ended_at = self._expiry - BESIDE_EXPIRY_S, self._expiry
                await _until(self._expiry)
            else:
                async with slots:
                    bot.ending_from = time.monotonic()
                    ran = await asyncio.to_thread(license_command, self._stack, *ending.command(bot.key))
                self._ran[ending.name] = ran
                bot.ended_at = ran.returned_at
            await bot.try_old_url()

        await asyncio.gather(*(run(ending) for ending in self._endings))

    async def _try_and_wait(self, moments_s: Sequence[float], watch_s: float) -> None:
        """Lets every bot try an old URL at these moments from now, and returns after `watch_s`."""
        began = time.monotonic()
        for moment_s in moments_s:
            if moment_s < watch_s:
                await _until(began + moment_s)
                await asyncio.gather(*(bot.try_old_url() for bot in self._bots.values()))
        await _until(began + watch_s)

    def _cell(self, ending: Ending, over_at: float) -> Cell:
        bot, ran = self._bots[ending.name], self._ran.get(ending.name)
        end = bot.ended_at
        assert end is not None
        tries = [each for each in bot.tries if each.kind == "old"]
        closed = [
            (
                None if each.closed_at is None or each.closed_at >= over_at else each.closed_at - end,
                each.reason,
            )
            for each in bot.held
            if each.kind == "held"
        ]
        return Cell(
            ending=ending.name,
            redis=self._fault.name,
            status=ran.status if ran is not None else None,
            text=_KEY.sub(r"\1...", (ran.output + ran.errors).strip()) if ran is not None else "",
            took_s=ran.took_s if ran is not None else 0.0,
            last_200_s=_last(bot.answered_200, end),
            granted=len(bot.granted_after),
            last_granted_s=_last(bot.granted, end),
            last_signal_s=_last(bot.signals, end),
            old_in=[each.at - end for each in tries if each.answer == "in"],
            old_tried=len(tries),
            closed=closed,
            answers=dict(bot.answers_after + _tried(bot.tries)),
            watched_s=over_at - end,
        )

    def _innocents(self, witness: Bot, publisher: _Publisher, fault_at: float, over_at: float) -> Innocents:
        heard = [fault_at, *(at for at in witness.signals if fault_at <= at < over_at), over_at]
        return Innocents(
            redis=self._fault.name,
            longest_gap_s=max(later - earlier for earlier, later in itertools.pairwise(heard)),
            signals=len(heard) - 2,
            published=dict(publisher.answers),
            answers=dict(witness.answers),
        )


def _tried(tries: Sequence[Try]) -> Counter[str]:
    """Returns the answers to all attempts but the control, by kind."""
    return Counter(f"{each.kind} URL: {each.answer}" for each in tries if each.kind in ("old", SLIPPED))


def _last(times: Sequence[float], end: float) -> float | None:
    """Returns the last time after `end`, in seconds from there; None if there is none."""
    after = [at - end for at in times if at >= end]
    return max(after) if after else None


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
