"""Makes the workspace of telemetry and logs, the alerts, the budget and the workbook."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import pulumi
from pulumi_azure_native import applicationinsights, consumption, monitor, operationalinsights

from infra.alerts import (
    AVAILABILITY,
    BUDGET_ALERTS,
    HEALTH_ALERTS,
    NEED_TIMERS,
    log_alerts,
    metric_alerts,
)
from infra.alerts.kinds import BUDGET_LEVEL, Level, Watched
from infra.components.alert_rules import RuleMaker, threshold
from infra.components.diagnostics import Diagnosed, send_diagnostics
from infra.components.placement import Placement, under
from infra.settings.model import MonitoringSettings, NotificationSettings, Settings
from infra.workbook import workbook

# Azure's names of test locations: Virginia, California, Texas, Ireland, Singapore.
TEST_LOCATIONS = ("us-va-ash-azr", "us-ca-sjc-azr", "us-tx-sn1-azr", "emea-gb-db3-azr", "apac-sg-sin-azr")
# One failed location alone may have a network problem of its own.
FAILED_LOCATIONS = 2
TEST_PATH = "/api/health/ready"
TEST_INTERVAL_S = 300
TEST_TIMEOUT_S = 30
CERTIFICATE_DAYS = 7
_WORKBOOKS = uuid.UUID("7c7f4f2e-6a0f-4c0e-9d53-0a2f6d1f7d43")


@dataclass(frozen=True, slots=True)
class MonitoringArgs:
    placement: Placement
    settings: MonitoringSettings


@dataclass(frozen=True, slots=True)
class Targets:
    """Resources to watch. `url` is the address that bots use; `diagnosed` have logs or metrics.

    `group_ids` are the action groups that get the alerts of each level.
    """

    url: pulumi.Input[str]
    resource_group_id: pulumi.Input[str]
    watched: Mapping[Watched, pulumi.Output[str]]
    group_ids: Mapping[Level, pulumi.Output[str]]
    diagnosed: tuple[Diagnosed, ...] = field(default=())


class Monitoring(pulumi.ComponentResource):
    """A workspace, and Application Insights on top of it, which accept only Entra ID.

    The program makes it first, because other resources send to it, and calls `watch` last.
    """

    def __init__(self, name: str, args: MonitoringArgs) -> None:
        super().__init__("signal-cloud:infra:Monitoring", name)
        self._place = place = args.placement
        self._settings = settings = args.settings
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
            opts=place.kept(self),
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

    def watch(self, targets: Targets, settings: Settings, today: date) -> None:
        """Makes diagnostic settings, alerts, the availability test, the budget and the workbook."""
        rules = RuleMaker(self._place, targets.group_ids, enabled=not settings.notifications.quiet)
        for what in targets.diagnosed:
            send_diagnostics(what, self.workspace_id, self)
        for log_alert in log_alerts(settings):
            rule = rules.log_rule(log_alert, self.workspace_id)
            if settings.role == "passive" and log_alert.name in NEED_TIMERS:
                rule.enabled = False
            monitor.ScheduledQueryRule(f"alert-{log_alert.name}", rule, opts=under(self))
        for metric_alert in metric_alerts(settings):
            scope = targets.watched[metric_alert.watches]
            monitor.MetricAlert(
                f"alert-{metric_alert.name}",
                rules.rule(metric_alert, [scope], threshold(metric_alert)),
                opts=under(self),
            )
        for health_alert in HEALTH_ALERTS:
            monitor.ActivityLogAlert(
                f"alert-{health_alert.name}",
                rules.health_rule(health_alert, targets.watched[health_alert.watches]),
                opts=under(self),
            )
        if self._settings.availability_test:
            self._availability_test(targets.url, rules)
        self._budget(targets, settings.notifications, today)
        self._workbook(targets.watched)

    def _availability_test(self, url: pulumi.Input[str], rules: RuleMaker) -> None:
        place = self._place
        test = applicationinsights.WebTest(
            "availability",
            applicationinsights.WebTestArgs(
                web_test_name=place.names.local("webtest", "ready"),
                synthetic_monitor_id=place.names.local("webtest", "ready"),
                resource_group_name=place.resource_group_name,
                location=place.location,
                kind=applicationinsights.WebTestKind.STANDARD,
                web_test_kind=applicationinsights.WebTestKind.STANDARD,
                enabled=True,
                frequency=TEST_INTERVAL_S,
                timeout=TEST_TIMEOUT_S,
                retry_enabled=True,
                locations=[applicationinsights.WebTestGeolocationArgs(location=at) for at in TEST_LOCATIONS],
                request=applicationinsights.WebTestPropertiesRequestArgs(
                    request_url=pulumi.Output.concat(url, TEST_PATH),
                    http_verb="GET",
                    parse_dependent_requests=False,
                    follow_redirects=False,
                ),
                validation_rules=applicationinsights.WebTestPropertiesValidationRulesArgs(
                    expected_http_status_code=200,
                    s_sl_check=True,
                    s_sl_cert_remaining_lifetime_check=CERTIFICATE_DAYS,
                ),
                # Azure finds the tests of an Application Insights resource by this tag.
                tags=self.application_insights_id.apply(
                    lambda insights_id: {**place.tags, f"hidden-link:{insights_id}": "Resource"}
                ),
            ),
            opts=under(self),
        )
        criteria = monitor.WebtestLocationAvailabilityCriteriaArgs(
            odata_type="Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria",
            web_test_id=test.id,
            component_id=self.application_insights_id,
            failed_location_count=FAILED_LOCATIONS,
        )
        monitor.MetricAlert(
            f"alert-{AVAILABILITY.name}",
            rules.rule(AVAILABILITY, [test.id, self.application_insights_id], criteria),
            opts=under(self),
        )

    def _budget(self, targets: Targets, notifications: NotificationSettings, today: date) -> None:
        settings = self._settings
        consumption.Budget(
            "budget",
            consumption.BudgetArgs(
                budget_name=self._place.names.local("budget"),
                scope=targets.resource_group_id,
                category="Cost",
                amount=settings.budget_usd,
                time_grain="Monthly",
                time_period=consumption.BudgetTimePeriodArgs(
                    start_date=first_month(settings.budget_start, today)
                ),
                notifications={
                    alert.name: consumption.NotificationArgs(
                        enabled=not notifications.quiet,
                        operator="GreaterThanOrEqualTo",
                        threshold=alert.percent,
                        threshold_type=alert.kind,
                        contact_emails=list(notifications.emails),
                        contact_groups=[targets.group_ids[BUDGET_LEVEL]],
                    )
                    for alert in BUDGET_ALERTS
                },
            ),
            # Azure refuses another start of a budget that exists.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["timePeriod.startDate"]),
        )

    def _workbook(self, watched: Mapping[Watched, pulumi.Output[str]]) -> None:
        place = self._place
        keys: tuple[Watched, ...] = tuple(watched)
        document = pulumi.Output.all(self.workspace_id, *watched.values()).apply(
            lambda ids: workbook(ids[0], dict(zip(keys, ids[1:], strict=True)))
        )
        applicationinsights.Workbook(
            "workbook",
            # Azure requires a UUID; this one is the same on every run.
            resource_name_=str(uuid.uuid5(_WORKBOOKS, place.names.local("workbook"))),
            display_name=f"Signal Cloud {place.names.stack}: operations",
            resource_group_name=place.resource_group_name,
            location=place.location,
            kind="shared",
            category="workbook",
            source_id=self.workspace_id,
            serialized_data=document,
            version="Notebook/1.0",
            tags=place.tags,
            opts=under(self),
        )


def first_month(wanted: str, today: date) -> str:
    """Start of a new budget: the first day of the `wanted` month, at the earliest of this month.

    Azure refuses a month that is over, and a stack's file may be older than its budget.
    """
    this_month = today.replace(day=1)
    start = max(date.fromisoformat(wanted), this_month) if wanted else this_month
    return f"{start}T00:00:00Z"
