"""Writes the estimate as text and tables."""

import itertools
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from infra.cost.metering import Charge, Estimate
from infra.cost.prices import UNVERIFIED, Figure, Price, PriceTable, Purpose
from infra.cost.usage import HOURS
from infra.offline.markdown import table

_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Saving:
    """What another setting would save in a month, and what the stack would lose."""

    setting: str
    loses: str
    usd: float


def component_of(estimate: Estimate, charge: Charge) -> str:
    return estimate.usage.recording.component_of(charge.resource)


def by_component(estimate: Estimate) -> Mapping[str, float]:
    """USD of each component, the most expensive first."""
    totals: dict[str, float] = defaultdict(float)
    for charge in estimate.charges:
        totals[component_of(estimate, charge)] += charge.usd
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def lines(estimate: Estimate) -> str:
    """A table of all meters by component, with one row for the charges of a meter."""
    rows = []
    for component, usd in by_component(estimate).items():
        own = [each for each in estimate.charges if component_of(estimate, each) == component]
        own.sort(key=lambda each: each.price.key)
        for _, group in itertools.groupby(own, key=lambda each: each.price.key):
            same = list(group)
            price = same[0].price
            names = same[0].resource.name if len(same) == 1 else f"{len(same)} resources"
            quantity = f"{sum(each.quantity for each in same):,.6g}"
            mark = "" if price.source.verified else " *"
            cost = f"{sum(each.usd for each in same):,.2f}"
            source = f"{price.source.name}, {price.source.date}"
            rows.append((component, names, price.key + mark, quantity, price.unit, cost, source))
        rows.append((component, "", "together", "", "", f"{usd:,.2f}", ""))
    heads = ("component", "resource", "price", "quantity", "unit", "USD", "source, date")
    return table(heads, rows, right=frozenset({3, 5}))


def assumptions(estimate: Estimate) -> str:
    """Every figure of the load, and the average instances and units that follow from them."""
    usage = estimate.usage
    figures = "\n".join(_described(figure) for figure in usage.load.figures.values())
    plan = textwrap.fill(_instances(estimate), _WIDTH)
    lines = [plan, f"Web PubSub: {usage.units:.2f} units on average."]
    if not usage.is_flex:
        size = usage.recording.settings.compute.plan_size
        lines.append(
            f"Memory of an instance with production and staging: about {usage.idle_mb:,.0f} of "
            f"{size.memory_gb * 1000:,.0f} MB at rest, {usage.instance_mb:,.0f} while a model is trained."
        )
    return f"{figures}\n\n" + "\n".join(lines)


def _instances(estimate: Estimate) -> str:
    usage = estimate.usage
    if usage.is_flex:
        return "Flex Consumption: charged for while an instance is active."
    scaling = usage.recording.settings.compute.scaling
    return (
        f"Instances: {usage.instances:.2f} on average. That is the minimum ({scaling.minimum}, and "
        f"{scaling.open_minimum} in the hour of the New York open), and one instance for each 1,000 bots "
        "while they are connected. The estimate assumes that the rule on the processor adds none. With the "
        f"maximum ({scaling.maximum}) all month, the plan alone would cost "
        f"{_plan_at(estimate, scaling.maximum)}."
    )


def _described(figure: Figure) -> str:
    kind = "measured" if figure.measured else "assumed"
    text = f"{figure.name}: {figure.value:,g} {figure.unit}, {kind}: {figure.how}"
    return textwrap.fill(text, _WIDTH, initial_indent="- ", subsequent_indent="  ")


def _plan_at(estimate: Estimate, instances: int) -> str:
    plan = next(each for each in estimate.charges if each.price.key.startswith("plan."))
    return f"{plan.usd / estimate.usage.instances * instances:,.0f} USD"


def remarks(estimate: Estimate, purpose: Purpose) -> Iterator[str]:
    """Notes on the total: a stack that is too small, sources of prices, budget, the customer's figure."""
    for warning in estimate.usage.warnings():
        yield f"TOO SMALL: {warning}"
    for remark in estimate.usage.crowded():
        yield f"FULL: {remark}."
    totals: dict[str, float] = defaultdict(float)
    for charge in estimate.charges:
        totals[charge.price.source.name] += charge.usd
    largest = sorted(((usd, name) for name, usd in totals.items() if usd >= 0.5), reverse=True)
    listed = ", ".join(f"{name} {usd:,.0f}" for usd, name in largest)
    yield f"USD by source of the price: {listed}"
    unverified = [each for each in estimate.charges if not each.price.source.verified]
    if unverified:
        usd = sum(each.usd for each in unverified)
        yield f"* {UNVERIFIED}: {usd:,.2f} of {estimate.usd:,.2f} USD"
    budget = estimate.usage.recording.settings.monitoring.budget_usd
    if estimate.usd > 0.8 * budget:
        share = estimate.usd / budget
        yield f"The estimate is {share:.0%} of the stack's budget_usd ({budget:,}), which alerts at 80%."
    if purpose.run_hours:
        yield run(estimate, purpose.run_hours)
    if purpose.customer_usd is None:
        return
    over = estimate.usd - purpose.customer_usd
    word = "above" if over > 0 else "below"
    expected = f"{purpose.customer_usd:,} USD"
    yield f"The customer expects {expected}: the estimate is {abs(over):,.0f} USD {word} that."


def comparison(estimates: Mapping[str, Estimate], purposes: Mapping[str, Purpose]) -> str:
    """A table of the stacks and the customer's figures."""
    rows = []
    for stack, each in estimates.items():
        customer = purposes[stack].customer_usd
        largest = ", ".join(f"{name} {usd:,.0f}" for name, usd in list(by_component(each).items())[:4])
        expected, difference = "", ""
        if customer is not None:
            expected, difference = f"{customer:,}", f"{each.usd - customer:+,.0f}"
        rows.append((stack, f"{each.usage.users:,}", f"{each.usd:,.0f}", expected, difference, largest))
    heads = ("stack", "bots", "USD a month", "customer's", "difference", "largest parts")
    return table(heads, rows, right=frozenset({1, 2, 3, 4}))


def run(estimate: Estimate, hours: int) -> str:
    """What a stack costs that exists for some hours, if each charge grows by the hour."""
    stack = estimate.usage.recording.settings.stack
    usd = estimate.usd * hours / HOURS
    return f"A run of `{stack}` for {hours} hours costs about {usd:,.2f} USD."


def runs(estimates: Mapping[str, Estimate], purposes: Mapping[str, Purpose]) -> str:
    """A line for each stack that is made and destroyed again; empty if there is none."""
    hours = {stack: purposes[stack].run_hours for stack in estimates}
    return "\n".join(run(each, hours[stack]) for stack, each in estimates.items() if hours[stack])


def too_small(estimates: Mapping[str, Estimate]) -> str:
    """A line for each limit of a stack that its bots exceed or nearly reach; empty if there is none."""
    lines = []
    for stack, each in estimates.items():
        bots = f"{each.usage.users:,} bots"
        lines += [f"`{stack}` is too small for {bots}: {warning}." for warning in each.usage.warnings()]
        lines += [f"`{stack}` is full: {remark}." for remark in each.usage.crowded()]
    return "\n".join(lines)


def savings_table(savings: Sequence[Saving]) -> str:
    rows = [(f"`{each.setting}`", f"{each.usd:,.0f}", each.loses) for each in savings]
    return table(("setting", "USD less", "what is lost"), rows, right=frozenset({1}))


def price_list(prices: PriceTable) -> str:
    """A table of every price with its unit, and every source with its date."""
    rows = [
        (
            price.key,
            f"{price.usd:g}",
            price.unit if price.per == 1 else f"{price.per:,} times: {price.unit}",
            f"{price.free:,g}" if price.free else "",
            price.source.name,
            price.note,
        )
        for price in prices.prices.values()
    ]
    heads = ("price", "USD", "for", "free a month", "source", "")
    return f"{table(heads, rows, right=frozenset({1, 3}))}\n\n{sources(prices.prices.values())}"


def sources(prices: Iterable[Price]) -> str:
    """A line for each source of these prices, with its date."""
    named = {price.source.name: price.source for price in prices}
    return "\n".join(
        textwrap.fill(
            f"{name}, {source.date}: {source.says}", _WIDTH, initial_indent="- ", subsequent_indent="  "
        )
        for name, source in sorted(named.items())
    )
