"""Makes licenses for tests of lists and filters."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from shared.domain.access.licenses import License
from shared.domain.access.plans import Overrides

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def a_license(number: int = 1, **values: Any) -> License:
    """The license `number`, with values of its own."""
    given: dict[str, Any] = {
        "license_id": f"lic_{number:012d}",
        "account_id": f"acct-{number}",
        "created_at": NOW,
    }
    return License(**given | values)


def changed(license_: License, **values: Any) -> License:
    """`license_` with other values and the next revision."""
    return msgspec.structs.replace(license_, revision=license_.revision + 1, **values)


def drawn_licenses(count: int) -> list[License]:
    """Licenses of every kind, the same in each run."""
    draw = Random(15).choice
    times = [None, *(NOW + timedelta(days=days) for days in (-400, -1, 0, 1, 7, 30, 400))]
    return [
        a_license(
            number,
            account_id=draw(["acct-1", "acct-2", "Acme"]),
            plan=draw(["standard", "starter", "free", "test"]),
            overrides=Overrides(symbols=draw([None, None, ("ES",), ("ES", "NQ"), ("CL",)])),
            status=draw(["active", "active", "active", "suspended", "revoked", "expired"]),
            suspended_by=draw([None, None, None, "payment"]),
            expires_at=draw(times),
            grace_until=draw([None, None, *times]),
            reference=draw([None, "stripe:sub_1", "order 7"]),
            email=draw([None, "Someone@example.com"]),
            notes=draw(["", "Pays Late", "vip", "50%_off", "Stra\u00dfe"]),
            created_at=NOW - timedelta(days=draw([0, 1, 90])),
        )
        for number in range(1, count + 1)
    ]
