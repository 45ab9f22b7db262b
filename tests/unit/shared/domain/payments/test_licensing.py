"""What an operator reads of a change, and which plan a product is."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.domain.access.licenses import License
from shared.domain.payments.events import account_of, discord_id, short
from shared.domain.payments.history import PaymentState
from shared.domain.payments.licensing import changes_between, settled
from shared.domain.payments.products import plan_of
from shared.errors import NotFound
from tests.support.license_plans import PLANS

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
LICENSE = License(
    license_id="lic_0123456789ab",
    account_id="stripe-cus_1",
    plan="starter",
    expires_at=NOW + timedelta(days=30),
    created_at=NOW,
)
SAID: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {}, "nothing changed"),
    ({"status": "suspended"}, {}, "nothing changed: license_suspended"),
    ({}, {"plan": "pro"}, "plan starter became pro"),
    ({}, {"expires_at": NOW}, "ends at 2026-03-02T14:30:00Z"),
    ({}, {"expires_at": None}, "never ends"),
    ({}, {"grace_until": NOW}, "suspended from 2026-03-02T14:30:00Z on, unless it is paid"),
    ({"grace_until": NOW}, {"grace_until": None}, "paid in time"),
    ({"grace_until": NOW}, {"grace_until": None, "status": "suspended"}, "active became suspended"),
    ({}, {"status": "revoked", "plan": "pro"}, "plan starter became pro, active became revoked"),
    ({}, {"email": "a@example.com"}, "contact changed"),
]


@pytest.mark.parametrize(("earlier", "later", "said"), SAID)
def test_each_change_is_said(earlier: dict[str, Any], later: dict[str, Any], said: str) -> None:
    before = msgspec.structs.replace(LICENSE, **earlier)
    after = msgspec.structs.replace(before, **later)
    assert changes_between(before, after, NOW) == f"license lic_0123456789ab: {said}"


def test_an_address_is_not_said() -> None:
    after = msgspec.structs.replace(LICENSE, email="a@example.com")
    assert "example" not in changes_between(LICENSE, after, NOW)


def test_a_change_counts_once_and_no_change_counts_nothing() -> None:
    state = PaymentState(provider="stripe", subject="stripe:sub_1", started=True, period_end=NOW)
    once = settled(LICENSE, state, "pro", PLANS, NOW)
    assert once.revision == LICENSE.revision + 1
    assert (once.payment, once.paid_plan, once.paid_until) == ("stripe:sub_1", "pro", once.expires_at)
    assert settled(once, state, "pro", PLANS, NOW) is once


PRODUCTS = {"stripe:price_1": "starter", "stripe:prod_1": "pro", "whop:price_1": "load"}


@pytest.mark.parametrize(
    ("bought", "plan"),
    [(("price_1",), "starter"), (("price_1", "prod_1"), "starter"), (("price_2", "prod_1"), "pro")],
)
def test_the_most_exact_name_of_what_was_bought_counts(bought: tuple[str, ...], plan: str) -> None:
    state = PaymentState(provider="stripe", subject="stripe:sub_1", products=bought)
    assert plan_of(state, PRODUCTS, PLANS) == plan


@pytest.mark.parametrize(
    ("bought", "products", "told"),
    [
        (("price_9", "prod_9"), PRODUCTS, "no plan for stripe:price_9 or stripe:prod_9"),
        ((), PRODUCTS, "the vendor named none"),
        (("price_1",), {"stripe:price_1": "gone"}, "the plan gone, which does not exist"),
    ],
)
def test_the_refusal_says_what_to_set(bought: tuple[str, ...], products: dict[str, str], told: str) -> None:
    state = PaymentState(provider="stripe", subject="stripe:sub_1", products=bought)
    with pytest.raises(NotFound, match=told):
        plan_of(state, products, PLANS)


def test_an_account_is_named_by_vendor_and_customer_and_fits() -> None:
    assert account_of("stripe", "cus_1") == "stripe-cus_1"
    assert len(account_of("whop", "u" * 255)) == 64


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("123456789012345678", "123456789012345678"),
        (123456789012345678, "123456789012345678"),
        (" 123456789012345 ", "123456789012345"),
        ("12345678901234", None),
        ("1" * 21, None),
        ("\u0661" * 18, None),
        ("Rodger#6128", None),
        (None, None),
        ({}, None),
    ],
)
def test_a_discord_id_has_15_to_20_digits(given: object, read: str | None) -> None:
    assert discord_id(given) == read


@pytest.mark.parametrize(
    ("given", "kept"), [(" a ", "a"), ("", None), ("a\nb", None), ("a" * 256, None), (None, None)]
)
def test_texts_of_vendors_are_bounded(given: str | None, kept: str | None) -> None:
    assert short(given) == kept
