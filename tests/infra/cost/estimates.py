"""Estimates the recorded stacks, with the prices and the load of the files."""

import re

from infra.cost.metering import Estimate, estimate
from infra.cost.prices import read_load, read_prices
from tests.infra.recording import recorded

PRICES, LOAD = read_prices(), read_load()


def reckoned(variant: str, users: int = 1000) -> Estimate:
    return estimate(recorded(variant), users, LOAD, PRICES)


def usd(found: Estimate, key: str) -> float:
    return sum(each.usd for each in found.charges if each.price.key == key)


def rows(table: str) -> list[list[str]]:
    """Cells of a Markdown table's rows, without its head."""
    _, _, *lines = table.splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
