"""Scales the instances of a dedicated plan and the units of Web PubSub.

Azure scales out if one rule asks for it, and scales in only if every rule for scaling in agrees. Only the
processor has a rule for scaling in. A rule on memory would never agree, because an idle process keeps its
memory, and the system would never scale in again. Memory and connections still keep instances: before Azure
scales in, it estimates every metric for fewer instances, and does not scale in if a rule would scale out
again at once. Connections are divided by instances, so that more instances lower the metric.
"""

import json
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import monitor

from infra.components.placement import Placement, under
from infra.settings.model import PlanSize, ScalingSettings, WebPubSubSettings

OPEN_PROFILE = "New York open"
# Windows' name of New York time; it includes daylight saving time.
NEW_YORK = "Eastern Standard Time"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
OPEN_FROM = (9, 15)
OPEN_UNTIL = (10, 15)
# Azure recognises by this name the default profile that follows a recurring profile.
DEFAULT_NAME = "Auto created default scale condition"

CPU_OUT_PERCENT, CPU_IN_PERCENT = 70, 30
# High, because Azure estimates memory for fewer instances before it scales in: with a threshold of 85, idle
# processes that hold 45% would keep a second instance for ever.
MEMORY_OUT_PERCENT = 90
# On an instance of 4 GB, production and staging hold about half without any load (`python -m infra.cost`),
# so Azure would expect over 90% of one instance, and never scale in from two. Only a plan of this size or
# larger, or one with two instances at least, has the rule on memory.
MEMORY_RULE_GB = 8
# Each connection is a bot, which also sends requests. A unit of Web PubSub carries the same number.
CONNECTIONS_OUT_PER_INSTANCE = 1000
UNITS_OUT_PERCENT, UNITS_IN_PERCENT = 70, 30

PLAN_NAMESPACE = "Microsoft.Web/serverfarms"
WEBPUBSUB_NAMESPACE = "Microsoft.SignalRService/WebPubSub"


@dataclass(frozen=True, slots=True)
class PlanAutoscaleArgs:
    placement: Placement
    settings: ScalingSettings
    plan_size: PlanSize
    plan_id: pulumi.Output[str]
    webpubsub_id: pulumi.Output[str]


class PlanAutoscale(pulumi.ComponentResource):
    """Scales the instances of the dedicated plan."""

    def __init__(self, name: str, args: PlanAutoscaleArgs) -> None:
        super().__init__("signal-cloud:infra:PlanAutoscale", name)
        place, settings = args.placement, args.settings
        by_memory = settings.minimum > 1 or args.plan_size.memory_gb >= MEMORY_RULE_GB
        rules = plan_rules(args.plan_id, args.webpubsub_id, by_memory=by_memory)
        usual = _capacity(settings.minimum, settings.default, settings.maximum)
        at_the_open = _capacity(
            settings.open_minimum, max(settings.default, settings.open_minimum), settings.maximum
        )
        setting = monitor.AutoscaleSetting(
            "plan-autoscale",
            monitor.AutoscaleSettingArgs(
                autoscale_setting_name=place.names.local("as", "plan"),
                resource_group_name=place.resource_group_name,
                location=place.location,
                enabled=True,
                target_resource_uri=args.plan_id,
                profiles=[
                    monitor.AutoscaleProfileArgs(
                        name=OPEN_PROFILE, capacity=at_the_open, rules=rules, recurrence=_weekdays(OPEN_FROM)
                    ),
                    monitor.AutoscaleProfileArgs(
                        name=closing_name(OPEN_PROFILE),
                        capacity=usual,
                        rules=rules,
                        recurrence=_weekdays(OPEN_UNTIL),
                    ),
                ],
                tags=place.tags,
            ),
            opts=under(self),
        )
        self.setting_id = setting.id
        self.register_outputs({"id": self.setting_id})


@dataclass(frozen=True, slots=True)
class UnitAutoscaleArgs:
    placement: Placement
    settings: WebPubSubSettings
    webpubsub_id: pulumi.Output[str]


class UnitAutoscale(pulumi.ComponentResource):
    """Scales the units of Web PubSub, which only the Premium tier allows."""

    def __init__(self, name: str, args: UnitAutoscaleArgs) -> None:
        super().__init__("signal-cloud:infra:UnitAutoscale", name)
        place, settings = args.placement, args.settings
        setting = monitor.AutoscaleSetting(
            "webpubsub-autoscale",
            monitor.AutoscaleSettingArgs(
                autoscale_setting_name=place.names.local("as", "webpubsub"),
                resource_group_name=place.resource_group_name,
                location=place.location,
                enabled=True,
                target_resource_uri=args.webpubsub_id,
                profiles=[
                    monitor.AutoscaleProfileArgs(
                        name="default",
                        capacity=_capacity(settings.units, settings.units, settings.maximum_units),
                        rules=unit_rules(args.webpubsub_id),
                    )
                ],
                tags=place.tags,
            ),
            opts=under(self),
        )
        self.setting_id = setting.id
        self.register_outputs({"id": self.setting_id})


def plan_rules(
    plan_id: pulumi.Input[str], webpubsub_id: pulumi.Input[str], *, by_memory: bool
) -> list[monitor.ScaleRuleArgs]:
    rules = [
        monitor.ScaleRuleArgs(
            metric_trigger=_trigger(
                "CpuPercentage", PLAN_NAMESPACE, plan_id, ">", CPU_OUT_PERCENT, minutes=5
            ),
            scale_action=_action("Increase", 2, cooldown_minutes=5),
        ),
        monitor.ScaleRuleArgs(
            metric_trigger=_trigger(
                "CpuPercentage", PLAN_NAMESPACE, plan_id, "<", CPU_IN_PERCENT, minutes=10
            ),
            scale_action=_action("Decrease", 1, cooldown_minutes=10),
        ),
        monitor.ScaleRuleArgs(
            metric_trigger=_trigger(
                "TotalConnectionCount",
                WEBPUBSUB_NAMESPACE,
                webpubsub_id,
                ">",
                CONNECTIONS_OUT_PER_INSTANCE,
                minutes=5,
                per_instance=True,
            ),
            scale_action=_action("Increase", 1, cooldown_minutes=5),
        ),
    ]
    if by_memory:
        memory = _trigger("MemoryPercentage", PLAN_NAMESPACE, plan_id, ">", MEMORY_OUT_PERCENT, minutes=5)
        rules.append(
            monitor.ScaleRuleArgs(
                metric_trigger=memory, scale_action=_action("Increase", 1, cooldown_minutes=5)
            )
        )
    return rules


def unit_rules(webpubsub_id: pulumi.Input[str]) -> list[monitor.ScaleRuleArgs]:
    """Scales in slowly, because each change of units moves connections, and a moved bot must reconnect."""
    quota = "ConnectionQuotaUtilization"
    return [
        monitor.ScaleRuleArgs(
            metric_trigger=_trigger(
                quota, WEBPUBSUB_NAMESPACE, webpubsub_id, ">", UNITS_OUT_PERCENT, minutes=5
            ),
            scale_action=_action("Increase", 1, cooldown_minutes=5),
        ),
        monitor.ScaleRuleArgs(
            metric_trigger=_trigger(
                quota, WEBPUBSUB_NAMESPACE, webpubsub_id, "<", UNITS_IN_PERCENT, minutes=30
            ),
            scale_action=_action("Decrease", 1, cooldown_minutes=30),
        ),
    ]


def closing_name(profile: str) -> str:
    """Name of the default profile that applies when `profile` ends, in the form that Azure requires."""
    return json.dumps({"name": DEFAULT_NAME, "for": profile}, separators=(",", ":"))


def _trigger(
    metric: str,
    namespace: str,
    resource_id: pulumi.Input[str],
    operator: str,
    threshold: int,
    *,
    minutes: int,
    per_instance: bool = False,
) -> monitor.MetricTriggerArgs:
    """Compares the average of `metric` over the last `minutes` with the threshold."""
    return monitor.MetricTriggerArgs(
        metric_name=metric,
        metric_namespace=namespace,
        metric_resource_uri=resource_id,
        operator=monitor.ComparisonOperationType.GREATER_THAN
        if operator == ">"
        else monitor.ComparisonOperationType.LESS_THAN,
        threshold=threshold,
        statistic=monitor.MetricStatisticType.AVERAGE,
        time_aggregation=monitor.TimeAggregationType.AVERAGE,
        time_grain="PT1M",
        time_window=f"PT{minutes}M",
        divide_per_instance=per_instance,
    )


def _action(direction: str, by: int, *, cooldown_minutes: int) -> monitor.ScaleActionArgs:
    return monitor.ScaleActionArgs(
        direction=monitor.ScaleDirection(direction),
        type=monitor.ScaleType.CHANGE_COUNT,
        value=str(by),
        cooldown=f"PT{cooldown_minutes}M",
    )


def _capacity(minimum: int, default: int, maximum: int) -> monitor.ScaleCapacityArgs:
    return monitor.ScaleCapacityArgs(minimum=str(minimum), default=str(default), maximum=str(maximum))


def _weekdays(at: tuple[int, int]) -> monitor.RecurrenceArgs:
    hour, minute = at
    return monitor.RecurrenceArgs(
        frequency=monitor.RecurrenceFrequency.WEEK,
        schedule=monitor.RecurrentScheduleArgs(
            time_zone=NEW_YORK, days=list(WEEKDAYS), hours=[hour], minutes=[minute]
        ),
    )
