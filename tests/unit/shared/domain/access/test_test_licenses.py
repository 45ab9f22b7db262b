"""Test licenses stay apart from all others, whatever is changed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.access.license_changes import with_overrides, with_plan
from shared.domain.access.license_checks import check_license
from shared.domain.access.licenses import License
from shared.domain.access.plans import Overrides
from shared.domain.access.test_licenses import TEST_PLAN, check_apart, kind_of, stream_publisher
from shared.domain.problems import Problems
from tests.support.license_plans import PLANS, a_plan, with_plans

NOW = datetime(2026, 3, 2, tzinfo=UTC)
TEST = License(license_id="lic_Ab0000000000", account_id="sc-test-x", plan=TEST_PLAN, created_at=NOW)
LIVE = License(license_id="lic_Ab0000000001", account_id="acct-1", plan="pro", created_at=NOW)


def faults(license_: License) -> list[str]:
    problems = Problems()
    check_license(license_, PLANS, problems)
    return [problem.field for problem in problems]


def test_a_license_is_a_test_license_for_ever_or_never() -> None:
    assert faults(TEST) == faults(LIVE) == []
    assert faults(with_plan(TEST, "pro")) == ["plan"]
    assert faults(with_plan(LIVE, TEST_PLAN)) == ["plan"]
    assert (kind_of(TEST), kind_of(LIVE)) == ("test", "live")


def test_no_override_opens_another_symbol() -> None:
    assert faults(with_overrides(TEST, Overrides(symbols=("ES",)))) == ["symbols"]
    assert faults(with_overrides(TEST, Overrides(symbols=("TEST", "ES")))) == ["symbols"]
    assert faults(with_overrides(TEST, Overrides(symbols=("TEST",), keys=1))) == []
    assert faults(with_overrides(LIVE, Overrides(symbols=("TEST", "ES")))) == []


@pytest.mark.parametrize("catalog", [PLANS, with_plans(a_plan(TEST_PLAN, symbols=("ES", "NQ")))])
@given(st.lists(st.sampled_from(["ES", "TEST", "NQ"]), unique=True))
def test_the_terms_of_a_test_license_have_the_test_symbol_alone(catalog: object, symbols: list[str]) -> None:
    assert isinstance(catalog, type(PLANS))
    changed = with_overrides(TEST, Overrides(symbols=tuple(symbols)))
    assert catalog.terms_of(changed).symbols == ("TEST",)


def test_live_plans_do_not_hear_the_test_stream() -> None:
    assert [plan.name for plan in PLANS.values() if "TEST" in plan.symbols] == [TEST_PLAN]


def test_the_streams_publisher_may_publish_there_and_nowhere_else() -> None:
    grant = stream_publisher(PLANS)
    assert (grant.key.scopes, grant.terms.symbols) == (("publisher",), ("TEST",))
    problems = Problems()
    check_apart(grant.license, problems)
    problems.refuse()
