"""Turns the rows of the table of alerts into Azure's rules, each with the action group of its level."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import monitor

from infra.alerts.kinds import NAMESPACES, HealthAlert, Level, LogAlert, MetricAlert, RuleAlert
from infra.components.placement import Placement

type Criteria = (
    monitor.MetricAlertSingleResourceMultipleMetricCriteriaArgs
    | monitor.WebtestLocationAvailabilityCriteriaArgs
)


@dataclass(frozen=True, slots=True)
class RuleMaker:
    """Makes the arguments of rules in one place; `group_ids` are the action groups of each level.

    `enabled` is False until the first smoke test passed. The rules are off then, not the action groups:
    Azure sends a message only if a rule's state changes, so that an alert that fired while its group was
    off would never be sent.
    """

    placement: Placement
    group_ids: Mapping[Level, pulumi.Output[str]]
    enabled: bool

    def log_rule(self, alert: LogAlert, workspace_id: pulumi.Output[str]) -> monitor.ScheduledQueryRuleArgs:
        return monitor.ScheduledQueryRuleArgs(
            rule_name=alert.name,
            display_name=alert.name,
            description=alert.description,
            resource_group_name=self.placement.resource_group_name,
            location=self.placement.location,
            kind="LogAlert",
            severity=alert.severity,
            enabled=self.enabled,
            scopes=[workspace_id],
            window_size=alert.window,
            evaluation_frequency=alert.frequency,
            auto_mitigate=True,
            # Validation would fail the first deployment, because no table exists before its first row.
            skip_query_validation=True,
            criteria=monitor.ScheduledQueryRuleCriteriaArgs(
                all_of=[
                    monitor.ConditionArgs(
                        criterion_type="StaticThresholdCriterion",
                        query=alert.query,
                        time_aggregation="Count",
                        operator="GreaterThan",
                        threshold=0,
                        failing_periods=monitor.ConditionFailingPeriodsArgs(
                            number_of_evaluation_periods=1, min_failing_periods_to_alert=1
                        ),
                    )
                ]
            ),
            actions=monitor.ActionsArgs(
                action_groups=[self.group_ids[alert.level]], custom_properties=alert.properties
            ),
            tags=self.placement.tags,
        )

    def rule(
        self, alert: RuleAlert, scopes: list[pulumi.Output[str]], criteria: Criteria
    ) -> monitor.MetricAlertArgs:
        """A rule on metrics, or on the results of the availability test."""
        return monitor.MetricAlertArgs(
            rule_name=alert.name,
            description=alert.description,
            resource_group_name=self.placement.resource_group_name,
            location="Global",
            severity=alert.severity,
            enabled=self.enabled,
            auto_mitigate=True,
            scopes=scopes,
            window_size=alert.window,
            evaluation_frequency=alert.frequency,
            criteria=criteria,
            actions=[
                monitor.MetricAlertActionArgs(
                    action_group_id=self.group_ids[alert.level], web_hook_properties=alert.properties
                )
            ],
            tags=self.placement.tags,
        )

    def health_rule(
        self, alert: HealthAlert, resource_id: pulumi.Output[str]
    ) -> monitor.ActivityLogAlertArgs:
        one_of_states = monitor.AlertRuleAnyOfOrLeafConditionArgs(
            any_of=[
                monitor.AlertRuleLeafConditionArgs(field="properties.currentHealthStatus", equals=state)
                for state in alert.states
            ]
        )
        return monitor.ActivityLogAlertArgs(
            activity_log_alert_name=alert.name,
            description=alert.description,
            resource_group_name=self.placement.resource_group_name,
            location="Global",
            enabled=self.enabled,
            scopes=[resource_id],
            condition=monitor.AlertRuleAllOfConditionArgs(
                all_of=[
                    monitor.AlertRuleAnyOfOrLeafConditionArgs(field="category", equals="ResourceHealth"),
                    one_of_states,
                ]
            ),
            actions=monitor.ActionListArgs(
                action_groups=[
                    monitor.ActionGroupArgs(
                        action_group_id=self.group_ids[alert.level], webhook_properties=alert.properties
                    )
                ]
            ),
            tags=self.placement.tags,
        )


def threshold(alert: MetricAlert) -> monitor.MetricAlertSingleResourceMultipleMetricCriteriaArgs:
    return monitor.MetricAlertSingleResourceMultipleMetricCriteriaArgs(
        odata_type="Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
        all_of=[
            monitor.MetricCriteriaArgs(
                criterion_type="StaticThresholdCriterion",
                name=alert.metric,
                metric_namespace=NAMESPACES[alert.watches],
                metric_name=alert.metric,
                time_aggregation=alert.aggregation,
                operator=alert.operator,
                threshold=alert.threshold,
                # Azure knows some metrics only after their first value.
                skip_metric_validation=True,
            )
        ],
    )
