"""The report of an estimate: every value that it shows."""

import re

import pytest

from infra.cost import report
from infra.cost.metering import estimate
from infra.cost.prices import UNVERIFIED, Purpose
from tests.infra.cost.estimates import LOAD, PRICES, reckoned, rows
from tests.infra.recording import VARIANTS, recorded_with


def test_a_budget_that_would_alert_is_told() -> None:
    tight = estimate(recorded_with("prod", budget_usd="800"), 1000, LOAD, PRICES)
    share = tight.usd / 800
    told = f"The estimate is {share:.0%} of the stack's budget_usd (800), which alerts at 80%."
    assert told in list(report.remarks(tight, LOAD.purposes["prod"]))


def test_a_stack_that_is_too_small_is_told_beside_the_comparison() -> None:
    assert report.too_small({"prod": reckoned("prod", 1000)}) == ""
    told = report.too_small({"dev": reckoned("dev", 21), "prod": reckoned("prod", 2001)})
    assert [line.split(":")[0] for line in told.splitlines()] == [
        "`dev` is too small for 21 bots",
        "`prod` is too small for 2,001 bots",
    ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_lines_add_up_to_the_estimate(variant: str) -> None:
    found = reckoned(variant)
    listed = rows(report.lines(found))
    together = {row[0]: float(row[5].replace(",", "")) for row in listed if row[2] == "together"}
    assert all(
        re.fullmatch(r"[a-z0-9-]+, 20\d\d-\d\d-\d\d", row[6]) for row in listed if row[2] != "together"
    )
    assert sum(together.values()) == pytest.approx(found.usd, abs=0.1)
    assert list(together.values()) == sorted(together.values(), reverse=True)
    for component, usd in together.items():
        own = [row for row in listed if row[0] == component and row[2] != "together"]
        assert sum(float(row[5].replace(",", "")) for row in own) == pytest.approx(usd, abs=0.1)


def test_a_line_shows_the_quantity_of_all_its_resources_and_marks_a_doubtful_price() -> None:
    found = reckoned("prod")
    by_key = {row[2].removesuffix(" *"): row for row in rows(report.lines(found))}
    component, name, key, quantity, unit, usd, source = by_key["network.endpoint"]
    assert source == "retail-flex, 2026-09-23"
    assert (component, name, key, unit) == ("network", "9 resources", "network.endpoint", "endpoint-hour")
    assert (quantity, usd) == ("6,570", "65.70")
    assert by_key["edge.Standard_AzureFrontDoor"][1] == "front-door"
    marked = {row[2].removesuffix(" *") for row in by_key.values() if row[2].endswith(" *")}
    assert marked == {each.price.key for each in found.charges if not each.price.source.verified}
    assert marked


def test_the_unverified_part_and_the_sources_add_up() -> None:
    found = reckoned("prod")
    told = list(report.remarks(found, LOAD.purposes["prod"]))
    unverified = sum(each.usd for each in found.charges if not each.price.source.verified)
    assert f"* {UNVERIFIED}: {unverified:,.2f} of {found.usd:,.2f} USD" in told
    (by_source,) = (line for line in told if line.startswith("USD by source"))
    parts = [float(part.rsplit(" ", 1)[1].replace(",", "")) for part in by_source.split(": ")[1].split(", ")]
    assert sum(parts) == pytest.approx(found.usd, abs=5)
    assert parts == sorted(parts, reverse=True)


@pytest.mark.parametrize(("expected", "difference"), [(365, "above"), (99_999, "below")])
def test_the_customer_s_figure_is_above_or_below(expected: int, difference: str) -> None:
    found = reckoned("prod")
    told = list(report.remarks(found, Purpose(1000, expected)))[-1]
    assert told.startswith(f"The customer expects {expected:,} USD: the estimate is ")
    assert told.endswith(f"{abs(found.usd - expected):,.0f} USD {difference} that.")


def test_a_stack_that_is_too_small_is_remarked_first() -> None:
    first, *others = report.remarks(reckoned("prod", 2001), LOAD.purposes["prod"])
    assert first.startswith("TOO SMALL: Web PubSub accepts 2,000 connections")
    assert not any(line.startswith("TOO SMALL") for line in others)


def test_the_comparison_shows_the_difference_with_its_sign() -> None:
    found = reckoned("prod")
    for expected, sign in ((1, "+"), (99_999, "-")):
        ((stack, bots, usd, customer, difference, largest),) = rows(
            report.comparison({"prod": found}, {"prod": Purpose(1000, expected)})
        )
        assert (stack, bots, usd, customer) == ("prod", "1,000", f"{found.usd:,.0f}", f"{expected:,}")
        assert difference == f"{sign}{abs(found.usd - expected):,.0f}"
        names = [part.split()[0] for part in largest.split(", ")]
        assert names == list(report.by_component(found))[:4]


def test_a_price_is_listed_with_its_multiple_and_what_is_free() -> None:
    listed = {row[0]: row for row in rows(report.price_list(PRICES).split("\n\n")[0])}
    for key, price in PRICES.prices.items():
        _, usd, unit, free, source, note = listed[key]
        assert (float(usd), source, note) == (price.usd, price.source.name, price.note)
        assert unit == (price.unit if price.per == 1 else f"{price.per:,} times: {price.unit}")
        assert free == (f"{price.free:,g}" if price.free else "")


def test_figures_say_whether_they_were_measured() -> None:
    text = " ".join(report.assumptions(reckoned("prod")).split())
    for figure in LOAD.figures.values():
        kind = "measured" if figure.measured else "assumed"
        assert (
            f"- {figure.name}: {figure.value:,g} {figure.unit}, {kind}: {' '.join(figure.how.split())}"
            in text
        )
    assert "Web PubSub: 2.00 units on average." in text
    plan = 730 * 0.085 * 10
    assert f"With the maximum (10) all month, the plan alone would cost {plan:,.0f} USD." in text
