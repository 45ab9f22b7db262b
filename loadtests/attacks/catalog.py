"""Lists every attack by name, with what it does and the license that it needs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from loadtests.attacks import hub, keyless, licensed
from loadtests.attacks.field import Field


@dataclass(frozen=True)
class Attack:
    """`per_minute` is the rate limit of the attacker's license, 0 if it has none.

    `stored_trades` are recorded for its account beforehand, which needs a plan without quotas. `lasting`
    attacks change the stack for good, so they come last. `most` bounds what the attacker may be answered or
    note, by name; GROWTH is the growth of the host's memory in MB.
    """

    name: str
    about: str
    run: Callable[[Field], Awaitable[None]]
    per_minute: int = 0
    stored_trades: int = 0
    lasting: bool = False
    most: Mapping[str, float] = field(default_factory=dict)


async def _nothing(field: Field) -> None:
    """Waits, so that the row shows how much the machine itself varies."""
    await asyncio.sleep(max(0.0, field.left_s))


CUSTOMER = 100  # requests a minute, the default of a license
GROWTH = "growth of the host's memory, MB"
# For two workers together.
_LITTLE_MEMORY = {GROWTH: 200.0}
_OPEN = "most open at once"
ATTACKS = {
    attack.name: attack
    for attack in (
        Attack("nobody", "no attack: shows how much the machine itself varies", _nothing),
        Attack(
            "large-bodies",
            f"without a key, {keyless.LARGE_BODIES_A_SECOND:.0f} bodies a second of 0.9 MB: a NaN and "
            f"{keyless.UNKNOWN_FIELDS:,} unknown fields",
            keyless.large_bodies,
            most=_LITTLE_MEMORY,
        ),
        Attack(
            "unfinished-bodies",
            f"without a key, {keyless.UNFINISHED} bodies of 98 MB that never end",
            keyless.unfinished_bodies,
            most=_LITTLE_MEMORY,
        ),
        Attack(
            "slow-connections",
            f"without a key, {keyless.SLOW_HEADS} heads that never end and {keyless.IDLE} idle connections",
            keyless.slow_connections,
            most=_LITTLE_MEMORY,
        ),
        Attack(
            "invented-keys",
            f"{keyless.INVENTED_KEYS_A_SECOND:.0f} keys a second with right checksums, never issued",
            keyless.invented_keys,
        ),
        Attack(
            "performance",
            f"{licensed.PARALLEL_PERFORMANCE} parallel GET performance of an account with 150,000 trades",
            licensed.performance,
            per_minute=10_000,
            stored_trades=150_000,
        ),
        Attack(
            "confidence-flood",
            f"{licensed.FLOOD_A_SECOND:,.0f} confidences a second, far over the limit",
            licensed.confidence_flood,
            per_minute=CUSTOMER,
        ),
        Attack(
            "batches",
            f"batches of {licensed.STATES_A_BATCH} new states, as fast as allowed",
            licensed.batches,
            per_minute=CUSTOMER,
        ),
        Attack(
            "negotiations",
            f"{licensed.NEGOTIATIONS_A_SECOND:.0f} negotiations a second, far over the limit",
            licensed.negotiations,
            per_minute=CUSTOMER,
        ),
        Attack(
            "sockets-one-url",
            f"{hub.SOCKETS:,} sockets from one client access URL",
            hub.one_url,
            per_minute=CUSTOMER,
            most={_OPEN: 1},  # a URL connects once
        ),
        Attack(
            "sockets-many-urls",
            "one socket for each URL, negotiated as fast as allowed",
            hub.many_urls,
            per_minute=10_000,
            most={_OPEN: 10},  # the connections of the standard plan
        ),
        Attack(
            "volume",
            f"{licensed.TRADES_A_REQUEST} trades a request, as fast as allowed",
            licensed.volume,
            per_minute=CUSTOMER,
            lasting=True,
            most={"200": 10},  # 5,000 trades, a day's quota of the standard plan
        ),
        Attack(
            "old-dates",
            f"{licensed.OLD_TRADES} trades dated over {licensed.OLD_YEARS} years in one request",
            licensed.old_dates,
            per_minute=CUSTOMER,
            lasting=True,
            most={"200": 0},
        ),
    )
}
