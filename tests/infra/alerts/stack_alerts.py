"""Lists the alerts of a stack, and the names of their severities."""

from infra.alerts import AVAILABILITY, HEALTH_ALERTS, LOG_ALERTS, Alert, metric_alerts
from infra.settings.model import Settings

# Names of Azure's severities.
SEVERITIES = {0: "critical", 1: "error", 2: "warning", 3: "informational"}


def alerts_of(settings: Settings) -> tuple[Alert, ...]:
    """Every alert of a stack, except the budget's."""
    tested = (AVAILABILITY,) if settings.primary is None else ()
    return (*tested, *LOG_ALERTS, *metric_alerts(settings), *HEALTH_ALERTS)
