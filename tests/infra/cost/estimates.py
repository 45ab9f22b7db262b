"""Estimates of the recorded stacks, with the files' prices and load."""

from infra.cost.metering import Estimate, estimate
from infra.cost.prices import read_load, read_prices
from tests.infra.recording import recorded

PRICES, LOAD = read_prices(), read_load()


def reckoned(variant: str, users: int = 1000) -> Estimate:
    return estimate(recorded(variant), users, LOAD, PRICES)


def usd(found: Estimate, key: str) -> float:
    return sum(each.usd for each in found.charges if each.price.key == key)
