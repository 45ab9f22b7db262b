"""Keeps test licenses apart: those of the plan `test`, whose keys begin with sc_test_.

Strangers make them for themselves. So their accounts have names that no other account may have, their plan
can neither be left nor entered, and no override shows them more than the test stream.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.domain.access.keys import KeyKind
from shared.domain.access.licenses import ApiKey, Grant, License
from shared.domain.market.test_stream import TEST_SYMBOL
from shared.domain.problems import Problems


class GrantMaker(Protocol):
    """A catalog of plans."""

    def grant(self, license_: License, key: ApiKey) -> Grant: ...


TEST_PLAN = "test"
TEST_ACCOUNT = "sc-test-"
TEST_LIFETIME = timedelta(days=30)
TEST_SYMBOLS = (TEST_SYMBOL,)
# An ended test license and its rows stay so long, so that its holder is told why the key works no more.
TEST_RETENTION = timedelta(days=7)

# Publishes the test stream. It is stored nowhere, so nobody can present its key.
_STREAM_LICENSE = License(
    license_id="lic_000000000000",
    account_id=f"{TEST_ACCOUNT}stream",
    plan=TEST_PLAN,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
_STREAM_KEY = ApiKey(
    public_id="000000",
    key_hash="",
    license_id=_STREAM_LICENSE.license_id,
    scopes=("publisher",),
    created_at=_STREAM_LICENSE.created_at,
)


def stream_publisher(plans: GrantMaker) -> Grant:
    """The grant under which the test stream is published."""
    return plans.grant(_STREAM_LICENSE, _STREAM_KEY)


def is_test(license_: License) -> bool:
    return license_.plan == TEST_PLAN


def is_test_account(account_id: str) -> bool:
    return account_id.startswith(TEST_ACCOUNT)


def kind_of(license_: License) -> KeyKind:
    """The kind of the license's keys."""
    return "test" if is_test(license_) else "live"


def check_apart(license_: License, problems: Problems) -> None:
    """Adds what would mix test licenses with others: a plan and an account that do not fit, or symbols."""
    if is_test(license_) != is_test_account(license_.account_id):
        message = (
            f"Licenses of the plan {TEST_PLAN} are of accounts that begin with {TEST_ACCOUNT}, and no others "
            "are. A test license stays one; create a new license instead."
        )
        problems.add("plan", "unknown_value", message)
    if is_test(license_) and license_.overrides.symbols not in (None, TEST_SYMBOLS):
        problems.add("symbols", "unknown_value", f"A test license hears {TEST_SYMBOL} alone.")
