"""The answer to a caller that asks for its own license."""

from datetime import timedelta

import msgspec

from shared.domain.access.quotas import Usage
from shared.domain.access.rate_limit import RateState
from shared.services.own_license import own_license
from tests.support.grants import CREATED, grant_of
from tests.support.license_plans import a_plan

GRANT = grant_of("acct-1", "ES", "NQ", scopes=("bot", "ops"))
USAGE = Usage(3, 70, 21_000)


def test_own_license_tells_the_holder_what_concerns_it() -> None:
    own = own_license(GRANT, RateState(100, 42, 1.0), USAGE)
    assert (own.account_id, own.requests_remaining, own.key_scopes) == ("acct-1", 42, ("bot", "ops"))
    assert own_license(GRANT, None, None).requests_remaining is None
    assert not hasattr(own, "key_hash")


def test_every_field_is_that_of_the_license_or_of_the_key() -> None:
    month = timedelta(days=30)
    grant = msgspec.structs.replace(
        GRANT,
        license=msgspec.structs.replace(GRANT.license, expires_at=CREATED + month, plan="trial"),
        key=msgspec.structs.replace(GRANT.key, expires_at=CREATED + 2 * month),
    )
    assert msgspec.structs.asdict(own_license(grant, None, USAGE)) == {
        "license_id": "lic_Ab0000000000",
        "account_id": "acct-1",
        "plan": "trial",
        "status": "active",
        "expires_at": CREATED + month,
        "grace_until": None,
        "symbols": ("ES", "NQ"),
        "requests_per_minute": 100,
        "requests_remaining": None,
        "key": "Ab12Cd",
        "key_scopes": ("bot", "ops"),
        "key_expires_at": CREATED + 2 * month,
        "terms": a_plan(symbols=("ES", "NQ")),
        "overridden": ("symbols",),
        "usage": USAGE,
    }
