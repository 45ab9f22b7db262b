"""The tables of prices and of the load: complete, and without an entry that nothing uses."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from infra.cost.prices import LOAD_FILE, PRICES_FILE, CannotEstimate, read_prices
from infra.settings.stacks import STACKS
from tests.infra.cost.estimates import LOAD, PRICES, reckoned
from tests.infra.recording import VARIANTS


def test_every_price_has_a_unit_a_source_and_a_date() -> None:
    for price in PRICES.prices.values():
        assert price.unit
        assert price.source.says
        assert price.source.date.year >= 2026
    unverified = {each.source.says for each in PRICES.prices.values() if not each.source.verified}
    assert unverified == {"unverified, from general knowledge, check before you rely on it"}


def test_every_price_is_of_something_that_a_stack_can_have() -> None:
    """No price is unused; prices of other sizes are for other settings."""
    used = {each.price.key for variant in VARIANTS for each in reckoned(variant).charges}
    others = {
        "plan.": {"P1mv3", "S1", "S2"},
        "postgres.": {"Standard_B2s", "Standard_D2ds_v5", "Standard_D4ds_v5"},
        "redis.": {"Balanced_B5"},
        "table.": {"Standard_ZRS", "Standard_GRS"},
        "blob.": {"Standard_GRS"},
        "blob_writes.": {"Standard_GRS"},
        "alert.log.": {"PT1M", "PT10M"},
        "webpubsub.": set(),
        "flex.": {"always_ready"},
    }
    settable = {prefix + size for prefix, sizes in others.items() for size in sizes}
    assert PRICES.prices.keys() == used | settable


def test_every_figure_says_how_it_was_measured_or_why_it_is_assumed() -> None:
    document: dict[str, Any] = tomllib.loads(LOAD_FILE.read_text())
    for figure in LOAD.figures.values():
        assert figure.unit
        assert figure.how
    measured = "\n".join(entry["how"] for entry in document["measured"].values())
    assert "`make run EXIT=1 SPEED=6000`" in measured
    assert "`python -m loadtests.bench.bot_traffic`" in measured
    assert "`python -m loadtests.bench.memory`" in measured
    assert LOAD.purposes.keys() == set(STACKS)
    customers = {each: LOAD.purposes[each].customer_usd for each in STACKS}
    theirs = {"dev": 42, "lean": 365, "prod": 365, "premium": 843}
    assert customers == {**theirs, "rehearse": None, "standby": None}


def test_a_broken_price_table_tells_every_broken_entry(tmp_path: Path) -> None:
    text = PRICES_FILE.read_text().replace("usd = 0.017", 'usd = "cheap"').replace('unit = "GB-second"', "")
    path = tmp_path / "prices.toml"
    path.write_text(text.replace('source = "module"', 'source = "hearsay"', 1))
    with pytest.raises(CannotEstimate) as told:
        read_prices(path)
    problems = str(told.value).splitlines()
    assert [each.split(":")[1].split()[0] for each in problems] == [
        "flex.execution_time",
        "postgres.Standard_B1ms",
        "redis.Balanced_B0",
    ]
