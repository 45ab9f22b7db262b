"""The limits of the plans."""

from shared.domain.access.plans import PLANS, STANDARD, plan_of


def test_a_license_gets_the_limits_of_its_plan() -> None:
    assert plan_of("standard").connections == 10
    assert plan_of("load").connections > plan_of("standard").connections
    assert plan_of("invented") is PLANS[STANDARD]
    assert all(plan.connections >= 1 for plan in PLANS.values())
