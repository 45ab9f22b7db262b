"""The plans of the file, the values that none may have, and the terms of a license."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from shared.adapters.plans import FILE
from shared.domain.access.licenses import License
from shared.domain.access.plan_catalog import PlanCatalog, parse_plans
from shared.domain.access.plans import BOUNDS, STANDARD, Overrides, Plan, check_values
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.problems import Problems
from shared.errors import ConfigurationError
from tests.support.license_plans import PLANS, a_plan, with_plans
from tests.support.places import ROOT
from tests.support.strategies import STRATEGIES

NOW = datetime(2026, 3, 2, tzinfo=UTC)
LICENSE = License(license_id="lic_Ab0123456789", account_id="a", created_at=NOW)


def faults(values: Plan | Overrides) -> list[str]:
    problems = Problems()
    check_values(values, problems)
    return [each.field for each in problems]


def override(name: str, value: int) -> Overrides:
    return msgspec.convert({name: value}, Overrides)


def test_the_plans_that_we_sell_are_there() -> None:
    assert list(PLANS) == ["standard", "free", "starter", "pro", "test", "load"]


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_every_plan_of_the_file_is_sensible(plan: Plan) -> None:
    assert faults(plan) == []
    assert plan.title
    served = {*INSTRUMENTS, *STRATEGIES.symbols}
    assert plan.symbols == ("TEST",) or served.issuperset(plan.symbols)
    assert STRATEGIES.keys() >= set(plan.strategies)
    assert plan.requests_per_second <= plan.requests_per_minute
    # Each key alone can use its whole limit, unless the plan is for one key's work at a time.
    assert plan.license_requests_per_minute in (0, plan.requests_per_minute) or (
        plan.requests_per_minute < plan.license_requests_per_minute < plan.keys * plan.requests_per_minute
    )
    # A running bot needs a socket, and one more while it reconnects.
    assert plan.connections > plan.sessions or plan.name in ("standard", "test")
    assert plan.signal_delay_s == 0 or plan.price == 0


def test_who_pays_more_gets_no_less() -> None:
    free, starter, pro = PLANS["free"], PLANS["starter"], PLANS["pro"]
    assert free.price < starter.price < PLANS[STANDARD].price < pro.price
    for name in set(BOUNDS) - {"signal_delay_s", "grace_days"}:
        if name != "license_requests_per_minute":
            assert getattr(starter, name) <= getattr(pro, name)


def test_terms_are_those_of_the_plan_but_for_the_overrides() -> None:
    assert PLANS.terms_of(LICENSE) is PLANS[STANDARD]
    own = Overrides(symbols=("NQ",), signal_delay_s=0, session_required=True, price=Decimal("1.50"))
    terms = PLANS.terms_of(msgspec.structs.replace(LICENSE, plan="free", overrides=own))
    assert (terms.symbols, terms.signal_delay_s, terms.price) == (("NQ",), 0, Decimal("1.50"))
    assert terms.session_required
    assert terms.keys == PLANS["free"].keys
    assert own.given().keys() == {"symbols", "signal_delay_s", "session_required", "price"}


def test_every_value_but_the_name_can_be_overridden() -> None:
    assert set(Plan.__struct_fields__) - set(Overrides.__struct_fields__) == {"name", "title"}
    assert set(Overrides.__struct_fields__) < set(Plan.__struct_fields__)


def test_a_license_whose_plan_is_gone_has_the_values_of_the_standard_plan() -> None:
    told: list[str] = []
    plans = with_plans(missing=told.append)
    lost = msgspec.structs.replace(LICENSE, plan="vip", overrides=Overrides(keys=3))
    assert plans.terms_of(lost) == a_plan(keys=3)
    assert told == ["vip"]
    plans.terms_of(LICENSE)
    assert told == ["vip"]


@pytest.mark.parametrize("name", BOUNDS)
def test_each_number_has_its_bounds(name: str) -> None:
    low, high = BOUNDS[name]
    for within in (low, high):
        assert faults(override(name, within)) == []
    for beyond in (low - 1, high + 1):
        assert faults(override(name, beyond)) == [name]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (Overrides(symbols=()), "symbols"),
        (Overrides(symbols=("es",)), "symbols"),
        (Overrides(symbols=tuple(f"S{n}" for n in range(101))), "symbols"),
        (Overrides(strategies=("No Name",)), "strategies"),
        (Overrides(strategies=tuple(f"s{n}" for n in range(51))), "strategies"),
        (Overrides(price=Decimal(-1)), "price"),
        (Overrides(price=Decimal("NaN")), "price"),
        (Overrides(price=Decimal("Infinity")), "price"),
        (Overrides(currency="usd"), "currency"),
    ],
)
def test_other_values_have_theirs(values: Overrides, field: str) -> None:
    assert faults(values) == [field]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[standard", "The file of plans is wrong"),
        ("[free]\nkeys = 1", r"no table \[standard\]"),
        ("[standard]\nkeys = 1", "missing required field"),
        ("[standard]\nkeyz = 1", "unknown field `keyz`"),
        ("standard = 3", "Expected `object`, got `int`"),
    ],
)
def test_a_file_that_is_wrong_says_why(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        parse_plans(text)


def test_a_plan_with_impossible_values_is_named() -> None:
    with pytest.raises(ConfigurationError, match="The plan standard is wrong: keys: Expected from 1"):
        parse_plans(FILE.read_text(encoding="utf-8").replace("keys = 10\n", "keys = 0\n", 1))


def test_a_value_that_a_plan_does_not_name_is_the_standard_one() -> None:
    plans = parse_plans(FILE.read_text(encoding="utf-8") + '\n[tiny]\ntitle = "T"\nkeys = 1\n')
    assert plans[-1] == a_plan("tiny", title="T", keys=1)
    assert plans[:-1] == list(PLANS.values())


def test_a_catalog_needs_the_standard_plan_and_each_name_once() -> None:
    with pytest.raises(ConfigurationError, match="must be a plan standard"):
        PlanCatalog([a_plan("other")])
    with pytest.raises(ConfigurationError, match="same name"):
        PlanCatalog([a_plan(), a_plan()])


def test_the_readme_shows_the_plans_of_the_file() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| plan | symbols |")[2]
    rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()[2:]]
    assert rows == [_shown(plan) for plan in PLANS.values() if plan.name != "load"]


def _shown(plan: Plan) -> list[str]:
    """The row of a plan in the README."""
    symbols = "`TEST`" if plan.symbols == ("TEST",) else str(len(plan.symbols))
    limits = [plan.requests_per_minute, plan.requests_per_second, plan.license_requests_per_minute]
    counts = [*limits, plan.keys, plan.sessions, plan.connections]
    delay = f"{plan.signal_delay_s // 60} min" if plan.signal_delay_s else "-"
    grace = f"{plan.grace_days:g} days" if plan.grace_days else "-"
    price = f"{plan.price:.0f} {plan.currency}"
    return [plan.name, symbols, *(f"{count:,}" if count else "-" for count in counts), delay, grace, price]
