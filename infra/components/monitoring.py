"""Where telemetry and logs go."""

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import applicationinsights, operationalinsights

from infra.components.placement import Placement, kept, under
from infra.settings import MonitoringSettings


@dataclass(frozen=True, slots=True)
class MonitoringArgs:
    placement: Placement
    settings: MonitoringSettings


class Monitoring(pulumi.ComponentResource):
    """A workspace that holds everything, and Application Insights upon it, opened by Entra ID alone."""

    def __init__(self, name: str, args: MonitoringArgs) -> None:
        super().__init__("signal-cloud:infra:Monitoring", name)
        place, settings = args.placement, args.settings
        workspace = operationalinsights.Workspace(
            "workspace",
            operationalinsights.WorkspaceArgs(
                workspace_name=place.names.local("log"),
                resource_group_name=place.resource_group_name,
                location=place.location,
                sku=operationalinsights.WorkspaceSkuArgs(name="PerGB2018"),
                retention_in_days=settings.log_retention_days,
                workspace_capping=operationalinsights.WorkspaceCappingArgs(
                    daily_quota_gb=settings.log_daily_cap_gb
                ),
                features=operationalinsights.WorkspaceFeaturesArgs(disable_local_auth=True),
                tags=place.tags,
            ),
            opts=kept(self),
        )
        insights = applicationinsights.Component(
            "application-insights",
            resource_name_=place.names.local("appi"),
            resource_group_name=place.resource_group_name,
            location=place.location,
            kind="web",
            application_type="web",
            ingestion_mode="LogAnalytics",
            workspace_resource_id=workspace.id,
            disable_local_auth=True,
            tags=place.tags,
            opts=under(self),
        )
        self.workspace_id = workspace.id
        self.application_insights_id = insights.id
        self.connection_string = insights.connection_string
        self.register_outputs({"workspace_id": self.workspace_id})
