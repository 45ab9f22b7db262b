"""Reads the plans that ship with the code, from shared/plans.toml."""

import logging
from functools import cache
from pathlib import Path

from shared.domain.access.plan_catalog import PlanCatalog, parse_plans
from shared.domain.access.plans import STANDARD
from shared.errors import ConfigurationError

FILE = Path(__file__).resolve().parent.parent / "plans.toml"

log = logging.getLogger(__name__)


@cache
def shipped_plans() -> PlanCatalog:
    """The plans of this deployment, read once per process; raises ConfigurationError."""
    try:
        text = FILE.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The file of plans cannot be read: {error}.") from error
    return PlanCatalog(parse_plans(text), _log_missing)


@cache
def _log_missing(name: str) -> None:
    """Logs once per process and plan, because each use of such a license comes here."""
    log.error("no plan is called %s: its licenses have the values of the plan %s", name, STANDARD)
