"""The plans that ship with the code, and changed ones for tests."""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.adapters.plans import shipped_plans
from shared.domain.access.plan_catalog import PlanCatalog
from shared.domain.access.plans import Plan

PLANS = shipped_plans()


def a_plan(name: str = "standard", /, **values: Any) -> Plan:
    """The standard plan with other values, under this name."""
    return msgspec.structs.replace(PLANS["standard"], name=name, **values)


def with_plans(*plans: Plan, missing: Callable[[str], None] = lambda name: None) -> PlanCatalog:
    """The shipped plans, and these instead of those with the same names."""
    return PlanCatalog((dict(PLANS) | {plan.name: plan for plan in plans}).values(), missing)
