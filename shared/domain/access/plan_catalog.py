"""Holds the plans of this deployment, and gives each license its terms."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from shared.domain.access.licenses import ApiKey, Grant, License
from shared.domain.access.plans import STANDARD, Overrides, Plan, check_values, with_overrides
from shared.domain.access.test_licenses import TEST_SYMBOLS, is_test
from shared.domain.problems import Problems
from shared.errors import ConfigurationError


class _Table(Overrides, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of the file."""

    title: str | None = None


class PlanCatalog(Mapping[str, Plan]):
    """The plans by name, in the order of the file."""

    def __init__(self, plans: Iterable[Plan], missing: Callable[[str], None] = lambda name: None) -> None:
        """`missing` is called with the name of a plan that a license has and this catalog has not.

        Raises ConfigurationError if there is no standard plan, or two plans have one name.
        """
        ordered = list(plans)
        self._by_name = {plan.name: plan for plan in ordered}
        self._missing = missing
        if len(self._by_name) < len(ordered):
            raise ConfigurationError("Two plans have the same name.")
        if STANDARD not in self._by_name:
            raise ConfigurationError(f"There must be a plan {STANDARD}.")

    def terms_of(self, license_: License) -> Plan:
        """The values of the license: its overrides, else its plan's.

        A license whose plan is gone gets the values of the standard plan, because it was paid for.
        """
        plan = self._by_name.get(license_.plan)
        if plan is None:
            self._missing(license_.plan)
            plan = self._by_name[STANDARD]
        terms = with_overrides(plan, license_.overrides)
        # Whatever a file of plans, an override or a restored row says.
        return msgspec.structs.replace(terms, symbols=TEST_SYMBOLS) if is_test(license_) else terms

    def grant(self, license_: License, key: ApiKey) -> Grant:
        return Grant(license=license_, key=key, terms=self.terms_of(license_))

    def __getitem__(self, name: str) -> Plan:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)


def parse_plans(text: str) -> list[Plan]:
    """The plans in a TOML text; a value that a plan does not name is that of the standard plan.

    Raises ConfigurationError, which says what is wrong.
    """
    try:
        tables = {name: msgspec.convert(table, _Table) for name, table in tomllib.loads(text).items()}
        plans = [_plan(name, table, tables[STANDARD]) for name, table in tables.items()]
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"The file of plans is wrong: {error}") from error
    except KeyError as error:
        raise ConfigurationError(f"The file of plans has no table [{STANDARD}].") from error
    for plan in plans:
        problems = Problems()
        check_values(plan, problems)
        for bad in problems:
            raise ConfigurationError(f"The plan {plan.name} is wrong: {bad.field}: {bad.message}")
    return plans


def _plan(name: str, table: _Table, standard: _Table) -> Plan:
    values: dict[str, Any] = {"title": name} | standard.given() | table.given() | {"name": name}
    return msgspec.convert(values, Plan)
