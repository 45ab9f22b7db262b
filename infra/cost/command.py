"""Estimates what a month costs: `python -m infra.cost --stack prod --users 1000`.

The estimate uses the resources that the stack's program would make, recorded without Azure, the load of a
bot from load.toml, and prices.toml. Without --stack, it compares the stacks with the customer's figures.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.cost import report
from infra.cost.metering import Estimate, estimate
from infra.cost.prices import CannotEstimate, Load, PriceTable, read_load, read_prices
from infra.cost.report import Saving
from infra.offline.recording import Recording, record, record_stack
from infra.settings.keys import read_settings
from infra.settings.reader import ConfigurationError, StackConfig
from infra.settings.stacks import STACKS, stack_from_files

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- cost: written by `python -m infra.cost --write-readme` -->", "<!-- cost: end -->"
MAX_USERS = 100_000
# Requests that a license allows a bot by default.
LIMIT_A_MINUTE = 100

# Settings that cost less, and what the stack loses by them.
CHEAPER: tuple[tuple[dict[str, str], str], ...] = (
    (
        {
            "zones": "one",
            "zone_redundant": "false",
            "autoscale_minimum": "1",
            "postgres_high_availability": "false",
            "webpubsub_sku": "Standard_S1",
        },
        "the loss of a zone, or of the only Postgres server, stops the system until it is back or restored",
    ),
    (
        {"private_network": "false", "operations_machine": "false"},
        "services have public addresses that only Entra ID protects",
    ),
    ({"operations_machine": "false"}, "a runner of your own must be in the network"),
    ({"edge": "none"}, "no firewall and no rate limit in front of the app"),
    ({"edge": "standard"}, "no managed firewall rules"),
    (
        {"zones": "some", "redis_high_availability": "false"},
        "no cache of confidences and no rate limit while Redis is patched or lost",
    ),
    (
        {"autoscale_open_minimum": "2"},
        "two instances serve the open until autoscale adds more after 5 minutes",
    ),
    ({"webpubsub_units": "1"}, "no more than 1,000 bots can connect"),
    ({"availability_test": "false"}, "only Front Door's probe notices that the app is unreachable"),
    ({"log_alert_minutes": "15"}, "what logs show is noticed up to 15 minutes later"),
)


def estimated(stack: str, users: int, load: Load, prices: PriceTable) -> Estimate:
    """The estimate of a stack as its file configures it; raises CannotEstimate."""
    return estimate(record_stack(stack), users, load, prices)


def with_settings(stack: str, changed: Mapping[str, str]) -> Recording | None:
    """The stack with some settings changed, None if it has them already or cannot have them."""
    config = stack_from_files(stack)
    if changed.items() <= config.values.items():
        return None
    try:
        settings = read_settings(StackConfig(stack, {**config.values, **changed}, config.secret_keys))
    except ConfigurationError:
        return None
    return record(settings)


def savings(stack: str, now: Estimate, load: Load, prices: PriceTable) -> list[Saving]:
    """What each of CHEAPER saves, the largest first, without those that change or save nothing."""
    found = []
    for changed, loses in CHEAPER:
        other = with_settings(stack, changed)
        if other is None:
            continue
        usd = now.usd - estimate(other, now.usage.users, load, prices).usd
        if usd >= 0.5:
            setting = ", ".join(f"{key}: {value}" for key, value in changed.items())
            found.append(Saving(setting, loses, usd))
    return sorted(found, key=lambda saving: -saving.usd)


def readme_section(load: Load, prices: PriceTable) -> str:
    """The text of README.md between BEGIN and END."""
    each = {stack: estimated(stack, load.purposes[stack].users, load, prices) for stack in STACKS}
    prod = each["prod"]
    minutes = load["connected_hours_per_session"] * 60
    busy = load.changed(confidences_per_session=LIMIT_A_MINUTE * minutes / load["symbols_per_bot"])
    at_the_limit = estimate(prod.usage.recording, prod.usage.users, busy, prices).usd - prod.usd
    parts = [
        report.comparison(each, load.purposes),
        report.runs(each, load.purposes),
        report.too_small(each),
        f"Settings that would make `prod` with {prod.usage.users:,} bots cheaper, each alone:",
        report.savings_table(savings("prod", prod, load, prices)),
        f"If each of these bots asked for {LIMIT_A_MINUTE} confidences in every minute of every session, "
        f"`prod` would cost {at_the_limit:,.0f} USD more, without the additional instances that this needs.",
    ]
    return "\n\n".join(part for part in parts if part)


def write_readme(section: str) -> None:
    head, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    README.write_text(f"{head}{BEGIN}\n\n{section}\n\n{END}{tail}", encoding="utf-8")


def one_stack(stack: str, users: int, load: Load, prices: PriceTable, *, cheaper: bool) -> Iterator[str]:
    """The estimate of one stack, part by part."""
    found = estimated(stack, users, load, prices)
    yield f"{stack}, {users:,} bots: {found.usd:,.0f} USD a month"
    yield report.lines(found)
    yield "\n".join(report.remarks(found, load.purposes[stack]))
    kinds = sorted({resource.type for resource in found.free})
    yield f"Free: {len(found.free)} resources of {len(kinds)} types, for reasons in infra/cost/metering.py."
    yield report.assumptions(found)
    yield report.sources(charge.price for charge in found.charges)
    if cheaper:
        yield "Settings that would make it cheaper, each alone:"
        yield report.savings_table(savings(stack, found, load, prices))


def all_stacks(each: Mapping[str, Estimate], load: Load) -> Iterator[str]:
    """The comparison, then every line of each stack with its source, and the sources."""
    yield report.comparison(each, load.purposes)
    for stack, found in each.items():
        yield f"{stack}, {found.usage.users:,} bots: {found.usd:,.0f} USD a month"
        yield report.lines(found)
        yield "\n".join(report.remarks(found, load.purposes[stack]))
    yield "Sources of the prices, with the date of the request to Azure or on which they were read:"
    yield report.sources(charge.price for found in each.values() for charge in found.charges)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_USERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_USERS:,}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stack", choices=(*STACKS, "all"), default="all", help="default: all, in comparison"
    )
    parser.add_argument(
        "--users", type=_whole, help="number of bots; default: the number that each stack is for"
    )
    parser.add_argument("--symbols", type=_whole, help="symbols that a bot subscribes to")
    parser.add_argument(
        "--confidences", type=_whole, help="confidences that a bot requests per symbol and session"
    )
    parser.add_argument(
        "--savings", action="store_true", help="with --stack: show what other settings would save"
    )
    parser.add_argument("--prices", action="store_true", help="list the prices with their sources, and exit")
    parser.add_argument(
        "--write-readme", action="store_true", help="write the comparison into infra/README.md"
    )
    return parser


def main(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.savings and options.stack == "all":
        parser.error("--savings needs --stack with one stack")
    try:
        prices, load = read_prices(), read_load()
        if options.prices:
            print(report.price_list(prices))
            return 0
        if options.write_readme:
            write_readme(readme_section(load, prices))
            return 0
        changed = {"symbols_per_bot": options.symbols, "confidences_per_session": options.confidences}
        load = load.changed(**{name: value for name, value in changed.items() if value is not None})
        if options.stack != "all":
            users = options.users or load.purposes[options.stack].users
            print("\n\n".join(one_stack(options.stack, users, load, prices, cheaper=options.savings)))
            return 0
        each = {
            stack: estimated(stack, options.users or load.purposes[stack].users, load, prices)
            for stack in STACKS
        }
    except CannotEstimate as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print("\n\n".join(all_stacks(each, load)))
    return 0
