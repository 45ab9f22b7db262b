"""Lists the alerts of a stack, and the names of their severities."""

from infra.alerts import AVAILABILITY, HEALTH_ALERTS, log_alerts, metric_alerts
from infra.alerts.kinds import Alert
from infra.settings.model import Settings

# Names of Azure's severities.
SEVERITIES = {0: "critical", 1: "error", 2: "warning", 3: "informational"}


def alerts_of(settings: Settings) -> tuple[Alert, ...]:
    """Every alert of a stack, except the budget's."""
    monitoring = settings.monitoring
    return (
        *((AVAILABILITY,) if monitoring.availability_test else ()),
        *log_alerts(settings),
        *metric_alerts(settings),
        *HEALTH_ALERTS,
    )
