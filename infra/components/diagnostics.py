"""What of each service goes to the workspace.

Logs that tell what happened and who did it; not those with a line for every request or message. Front
Door's access log alone would fill a day's cap within minutes of an opening bell, and a workspace at its cap
is blind to everything: requests are counted by the app, and a share of them traced. Metrics are kept by
Azure Monitor for 93 days as it is, where alerts and the workbook read them; those of services that log
nothing go to the workspace too.
"""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import monitor

# Categories of resource logs, by what they are of.
LOGS: dict[str, tuple[str, ...]] = {
    "app": ("FunctionAppLogs",),
    "staging-slot": ("FunctionAppLogs",),
    "postgres": ("PostgreSQLLogs", "PostgreSQLFlexPGBouncer"),
    "redis-database": ("ConnectionEvents",),
    # Who changes licenses and keys. Not StorageRead: each key is read again once Redis has let go of it.
    "tables": ("StorageWrite", "StorageDelete"),
    # Who deletes packages. Not StorageWrite: the host notes every run of a timer there.
    "host-blobs": ("StorageDelete",),
    # Who asks the workspace what.
    "workspace": ("Audit",),
    "vault": ("AuditEvent",),
    # Not MessagingLogs and HttpRequestLogs: a line for every message, and for every call that publishes one.
    "webpubsub": ("ConnectivityLogs",),
    "front-door": ("FrontDoorWebApplicationFirewallLog", "FrontDoorHealthProbeLog"),
    "network-rules": ("NetworkSecurityGroupEvent",),
    "plan-autoscale": ("AutoscaleScaleActions",),
    "webpubsub-autoscale": ("AutoscaleScaleActions",),
}
METRICS: dict[str, tuple[str, ...]] = {
    "plan": ("AllMetrics",),
    "redis": ("AllMetrics",),
    "data-storage": ("Transaction",),
    "host-storage": ("Transaction",),
    "data-blobs": ("Transaction",),
    "host-queues": ("Transaction",),
    "host-tables": ("Transaction",),
    "network": ("AllMetrics",),
}


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A resource that tells of itself: a key of LOGS or METRICS, and what sets several of a kind apart."""

    kind: str
    resource_id: pulumi.Input[str]
    part: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.kind, self.part)))


def send_diagnostics(
    what: Diagnosed, workspace_id: pulumi.Input[str], parent: pulumi.Resource
) -> monitor.DiagnosticSetting:
    """Sends what the tables above name of one resource to the workspace."""
    return monitor.DiagnosticSetting(
        f"diagnostics-{what.name}",
        monitor.DiagnosticSettingArgs(
            name="workspace",
            resource_uri=what.resource_id,
            workspace_id=workspace_id,
            logs=[
                monitor.DiagnosticsLogSettingsArgs(category=category, enabled=True)
                for category in LOGS.get(what.kind, ())
            ],
            metrics=[
                monitor.DiagnosticsMetricSettingsArgs(category=category, enabled=True)
                for category in METRICS.get(what.kind, ())
            ],
        ),
        opts=pulumi.ResourceOptions(parent=parent),
    )
