"""Sends logs and metrics of each service to the workspace.

Logs say what happened and who did it. Logs with a line for every request or message are left out: Front
Door's access log alone would reach the daily cap within minutes of an opening bell, and a workspace at its
cap takes no data for any alert. The app counts its requests, and traces a share of them. Azure Monitor keeps
metrics for 93 days, and alerts and the workbook read them there; only services without logs send their
metrics to the workspace too.
"""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import monitor

# Categories of resource logs, by kind of resource.
LOGS: dict[str, tuple[str, ...]] = {
    "app": ("FunctionAppLogs",),
    "staging-slot": ("FunctionAppLogs",),
    "postgres": ("PostgreSQLLogs", "PostgreSQLFlexPGBouncer"),
    "redis-database": ("ConnectionEvents",),
    # Who changes licenses and keys. Not StorageRead: the app reads a key whenever Redis has evicted it.
    "tables": ("StorageWrite", "StorageDelete"),
    # Who deletes packages. Not StorageWrite: the function host writes at every run of a timer.
    "host-blobs": ("StorageDelete",),
    # Who queries the workspace.
    "workspace": ("Audit",),
    "vault": ("AuditEvent",),
    # Not MessagingLogs and HttpRequestLogs, which have a line for every message and every publishing call.
    "webpubsub": ("ConnectivityLogs",),
    "front-door": ("FrontDoorWebApplicationFirewallLog", "FrontDoorHealthProbeLog"),
    # Who opened a tunnel, to which machine.
    "bastion": ("BastionAuditLogs",),
    "network-rules": ("NetworkSecurityGroupEvent",),
    # A few lines for each alert that is sent, without its text.
    "slack": ("WorkflowRuntime",),
    "pager": ("WorkflowRuntime",),
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
    """A resource with logs or metrics: `kind` is a key of LOGS or METRICS, `part` distinguishes several."""

    kind: str
    resource_id: pulumi.Input[str]
    part: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.kind, self.part)))


def send_diagnostics(
    what: Diagnosed, workspace_id: pulumi.Input[str], parent: pulumi.Resource
) -> monitor.DiagnosticSetting:
    """Sends the categories that the tables above name for one resource."""
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
