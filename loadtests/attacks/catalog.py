"""Lists every attack by name, with what it does and the license that it needs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from loadtests.attacks import hub, keyless, licensed
from loadtests.attacks.field import Field


@dataclass(frozen=True)
class Attack:
    """`per_minute` is the rate limit of the attacker's license, 0 if it has none.

    `stored_trades` are recorded for its account beforehand, which needs a plan without quotas. `lasting`
    attacks change the stack for good, so they come last.
    """

    name: str
    about: str
    run: Callable[[Field], Awaitable[None]]
    per_minute: int = 0
    stored_trades: int = 0
    lasting: bool = False


async def _nothing(field: Field) -> None:
    """Waits, so that the row shows how much the machine itself varies."""
    await asyncio.sleep(max(0.0, field.left_s))


CUSTOMER = 100  # requests a minute, the default of a license
ATTACKS = {
    attack.name: attack
    for attack in (
        Attack("nobody", "no attack: shows how much the machine itself varies", _nothing),
        Attack(
            "large-bodies",
            f"without a key, {keyless.LARGE_BODIES_A_SECOND:.0f} bodies a second of 0.9 MB: a NaN and "
            f"{keyless.UNKNOWN_FIELDS:,} unknown fields",
            keyless.large_bodies,
        ),
        Attack(
            "unfinished-bodies",
            f"without a key, {keyless.UNFINISHED} bodies of 98 MB that never end",
            keyless.unfinished_bodies,
        ),
        Attack(
            "slow-connections",
            f"without a key, {keyless.SLOW_HEADS} heads that never end and {keyless.IDLE} idle connections",
            keyless.slow_connections,
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
        ),
        Attack(
            "sockets-many-urls",
            "one socket for each URL, negotiated as fast as allowed",
            hub.many_urls,
            per_minute=10_000,
        ),
        Attack(
            "volume",
            f"{licensed.TRADES_A_REQUEST} trades a request, as fast as allowed",
            licensed.volume,
            per_minute=CUSTOMER,
            lasting=True,
        ),
        Attack(
            "old-dates",
            f"{licensed.OLD_TRADES} trades dated over {licensed.OLD_YEARS} years in one request",
            licensed.old_dates,
            per_minute=CUSTOMER,
            lasting=True,
        ),
    )
}
