"""Monitoring as recorded: who gets which alert, by which threshold, and that every resource is watched."""

from pathlib import Path
from typing import Any

import pytest

from infra.alerts import (
    AVAILABILITY,
    HEALTH_ALERTS,
    NEED_TIMERS,
    metric_alerts,
    usable_connections,
)
from infra.alerts.kinds import NAMESPACES
from infra.components.monitoring import FAILED_LOCATIONS
from infra.offline.recording import Recording, Resource
from infra.policies.tables import NOT_DIAGNOSED
from tests.infra.alerts.azure_metrics import DOCUMENTED
from tests.infra.alerts.kusto_queries import queries
from tests.infra.alerts.stack_alerts import SEVERITIES, alerts_of
from tests.infra.recording import VARIANTS, recorded, recorded_with

ROOT = Path(__file__).resolve().parents[3]
LOG_RULE = "Microsoft.Insights/scheduledQueryRules"
METRIC_RULE = "Microsoft.Insights/metricAlerts"
HEALTH_RULE = "Microsoft.Insights/activityLogAlerts"
GROUP = "Microsoft.Insights/actionGroups"
DIAGNOSTICS = "Microsoft.Insights/diagnosticSettings"
SITE = "Microsoft.Web/sites"
WORKSPACE = "Microsoft.OperationalInsights/workspaces"
INSIGHTS = "Microsoft.Insights/components"

# The alerts that the customer asked for.
ASKED_FOR = {
    "5xx share": {"requests-failing"},
    "p95": {"requests-slow"},
    "Redis memory and evictions": {"redis-memory", "redis-evictions"},
    "Postgres storage, connections, replication, CPU": {
        "postgres-storage",
        "postgres-connections",
        "postgres-health",
        "postgres-cpu",
    },
    "Web PubSub quota": {"webpubsub-quota"},
    "outbox age": {"outbox-age"},
    "signals not flowing in market hours": {"signals-not-flowing"},
    "model retired": {"model-retired"},
    "license store errors": {"license-store-errors"},
}
# What Azure accepts, in minutes.
MINUTES = {
    **{"PT1M": 1, "PT5M": 5, "PT10M": 10, "PT15M": 15, "PT30M": 30, "PT45M": 45, "PT1H": 60},
    **{f"PT{hours}H": hours * 60 for hours in (2, 3, 4, 5, 6, 12)},
    **{"P1D": 24 * 60, "P2D": 48 * 60},
}
WINDOWS = {
    LOG_RULE: set(MINUTES) - {"PT1M", "PT12H"},
    METRIC_RULE: {"PT1M", "PT5M", "PT15M", "PT30M", "PT1H", "PT6H", "PT12H", "P1D"},
}
FREQUENCIES = {
    LOG_RULE: set(MINUTES) - {"PT12H", "P2D"},
    METRIC_RULE: {"PT1M", "PT5M", "PT15M", "PT30M", "PT1H"},
}


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


# The action group that gets alerts of each severity.
REACHES = {"critical": "wake", "error": "wake", "warning": "day", "informational": "note"}


def groups_of(stack: Recording) -> dict[str, str]:
    """The id of each action group, by the level at the end of its name."""
    return {group.own_name.rsplit("-", 1)[-1]: group.id for group in stack.of_type(GROUP)}


def rules(stack: Recording) -> tuple[Resource, ...]:
    return (*stack.of_type(LOG_RULE), *stack.of_type(METRIC_RULE))


def names(stack: Recording) -> set[str]:
    timed = {rule.inputs["ruleName"] for rule in rules(stack)}
    return timed | {rule.inputs["activityLogAlertName"] for rule in stack.of_type(HEALTH_RULE)}


def test_every_alert_of_the_table_is_made_and_none_besides(stack: Recording) -> None:
    assert names(stack) == {alert.name for alert in alerts_of(stack.settings)}
    assert len(rules(stack)) + len(HEALTH_ALERTS) == len(names(stack))


@pytest.mark.parametrize(("asked", "answer"), ASKED_FOR.items())
@pytest.mark.parametrize("variant", ["prod", "premium"])
def test_what_was_asked_for_is_there(variant: str, asked: str, answer: set[str]) -> None:
    assert answer <= names(recorded(variant)), asked


def test_every_alert_reaches_who_is_on_call_and_says_what_to_do(stack: Recording) -> None:
    groups = groups_of(stack)
    by_name = {alert.name: alert for alert in alerts_of(stack.settings)}
    for rule in rules(stack):
        inputs, alert = rule.inputs, by_name[rule.inputs["ruleName"]]
        group = groups[REACHES[SEVERITIES[alert.severity]]]
        waits = stack.settings.role == "passive" and alert.name in NEED_TIMERS
        assert inputs["enabled"] is not (waits or stack.settings.notifications.quiet)
        assert inputs["autoMitigate"] is True
        assert inputs["severity"] == alert.severity
        assert inputs["severity"] in SEVERITIES
        assert alert.runbook == f"docs/operations.md#{alert.name}"
        assert alert.runbook in inputs["description"]
        if rule.type == LOG_RULE:
            assert inputs["actions"] == {
                "actionGroups": [group],
                "customProperties": {"runbook": alert.runbook},
            }
        else:
            assert inputs["actions"] == [
                {"actionGroupId": group, "webHookProperties": {"runbook": alert.runbook}}
            ]


def test_a_quiet_stack_has_every_alert_and_none_of_them_is_on() -> None:
    """Azure notifies when a rule's state changes, so a rule that is on would use up its only message."""
    quiet, usual = recorded_with("prod", alerts_quiet="true"), recorded("prod")
    assert {each.urn for each in quiet.resources} == {each.urn for each in usual.resources}
    for stack, on in ((quiet, False), (usual, True)):
        assert {rule.inputs["enabled"] for rule in (*rules(stack), *stack.of_type(HEALTH_RULE))} == {on}
        notifications = stack.only("Microsoft.Consumption/budgets").inputs["notifications"].values()
        assert {each["enabled"] for each in notifications} == {on}
        assert {group.inputs["enabled"] for group in stack.of_type(GROUP)} == {True}


def test_azures_judgement_of_postgres_and_its_standby_reaches_who_is_on_call(stack: Recording) -> None:
    rule = stack.only(HEALTH_RULE).inputs
    (alert,) = HEALTH_ALERTS
    assert rule["enabled"] is not stack.settings.notifications.quiet
    assert rule["scopes"] == [stack.only("Microsoft.DBforPostgreSQL/flexibleServers").id]
    category, states = rule["condition"]["allOf"]
    assert category == {"field": "category", "equals": "ResourceHealth"}
    assert {(each["field"], each["equals"]) for each in states["anyOf"]} == {
        ("properties.currentHealthStatus", "Degraded"),
        ("properties.currentHealthStatus", "Unavailable"),
    }
    assert rule["actions"]["actionGroups"] == [
        {"actionGroupId": groups_of(stack)["day"], "webhookProperties": {"runbook": alert.runbook}}
    ]
    assert alert.runbook in rule["description"]


def test_windows_are_azures_and_no_longer_than_looked_at(stack: Recording) -> None:
    for rule in rules(stack):
        window, frequency = rule.inputs["windowSize"], rule.inputs["evaluationFrequency"]
        assert window in WINDOWS[rule.type], rule.name
        assert frequency in FREQUENCIES[rule.type], rule.name
        assert MINUTES[frequency] <= MINUTES[window], rule.name


def test_log_alerts_ask_the_workspace_and_fire_on_any_row(stack: Recording) -> None:
    workspace = stack.only(WORKSPACE).id
    for rule in stack.of_type(LOG_RULE):
        assert rule.inputs["scopes"] == [workspace]
        (condition,) = rule.inputs["criteria"]["allOf"]
        assert condition["query"] == queries()[f"alerts/{rule.inputs['ruleName']}"]
        assert (condition["timeAggregation"], condition["operator"], condition["threshold"]) == (
            "Count",
            "GreaterThan",
            0,
        )


def test_metric_alerts_watch_the_right_resource_by_documented_metrics(stack: Recording) -> None:
    by_name = {alert.name: alert for alert in metric_alerts(stack.settings)}
    for rule in stack.of_type(METRIC_RULE):
        if rule.inputs["ruleName"] == AVAILABILITY.name:
            continue
        alert = by_name[rule.inputs["ruleName"]]
        (scope,) = rule.inputs["scopes"]
        namespace = NAMESPACES[alert.watches]
        assert stack.by_id(scope).type.lower() == namespace.lower()
        (criterion,) = rule.inputs["criteria"]["allOf"]
        assert criterion["metricNamespace"] == namespace
        assert alert.aggregation in DOCUMENTED[namespace][criterion["metricName"]]
        assert criterion["timeAggregation"] == alert.aggregation
        assert (criterion["operator"], criterion["threshold"]) == (alert.operator, alert.threshold)


def test_what_stops_bots_is_looked_at_every_five_minutes_unless_the_stack_is_for_developers(
    stack: Recording,
) -> None:
    slowest = stack.settings.monitoring.log_alert_minutes
    assert slowest == (15 if stack.settings.stack == "dev" else 5)
    for rule in rules(stack):
        if rule.inputs["severity"] in (0, 1):
            assert MINUTES[rule.inputs["evaluationFrequency"]] <= slowest, rule.name
            # An alert of a service level has a short window beside its long one.
            assert MINUTES[rule.inputs["windowSize"]] <= 15 or rule.inputs["ruleName"].startswith("slo-")


def test_alerts_fit_what_a_stack_has() -> None:
    dev, prod = names(recorded("dev")), names(recorded("prod"))
    assert not dev & {"edge-errors", "plan-cpu", "app-unhealthy", "postgres-waiting"}
    assert {"edge-errors", "plan-cpu", "app-unhealthy", "postgres-waiting", "postgres-health"} <= prod
    assert "plan-cpu" not in names(recorded("prod-flex"))


@pytest.mark.parametrize(
    ("sku", "usable"),
    [
        ("Standard_B1ms", 35),
        ("Standard_B2s", 414),
        ("Standard_B2ms", 844),
        ("Standard_D2ds_v5", 844),
        ("Standard_D4ds_v5", 1703),
        ("Standard_E2ds_v5", 1703),
        ("Standard_D8ds_v5", 3422),
        ("Standard_E96ds_v5", 4985),
    ],
)
def test_connections_are_judged_by_the_servers_size(sku: str, usable: int) -> None:
    assert usable_connections(sku) == usable


@pytest.mark.parametrize("minutes", [5, 10, 15])
def test_slower_log_alerts_overlook_no_row(minutes: int) -> None:
    slowed = recorded_with("prod", log_alert_minutes=str(minutes))
    usual = {rule.urn: rule.inputs for rule in recorded("prod").of_type(LOG_RULE)}
    for rule in slowed.of_type(LOG_RULE):
        before, now = usual[rule.urn], rule.inputs
        frequency = MINUTES[now["evaluationFrequency"]]
        assert frequency == max(minutes, MINUTES[before["evaluationFrequency"]]), rule.name
        assert MINUTES[now["windowSize"]] == max(minutes, MINUTES[before["windowSize"]]), rule.name


def test_without_the_test_from_outside_its_alert_is_absent_too() -> None:
    without, usual = recorded_with("prod", availability_test="false"), recorded("prod")
    gone = {each.name for each in usual.resources} - {each.name for each in without.resources}
    assert gone == {"availability", f"alert-{AVAILABILITY.name}"}


@pytest.mark.parametrize("variant", ["prod", "premium"])
def test_the_service_is_asked_from_several_places_where_bots_go(variant: str) -> None:
    stack = recorded(variant)
    test = stack.only("Microsoft.Insights/webtests")
    assert test.inputs["request"]["requestUrl"] == f"{stack.outputs['url']}/api/health/ready"
    assert test.inputs["validationRules"]["expectedHttpStatusCode"] == 200
    places = {each["location"] for each in test.inputs["locations"]}
    assert len(places) == 5
    insights = stack.only(INSIGHTS).id
    assert test.inputs["tags"][f"hidden-link:{insights}"] == "Resource"
    (rule,) = (each for each in rules(stack) if each.inputs["ruleName"] == AVAILABILITY.name)
    criteria = rule.inputs["criteria"]
    assert (criteria["webTestId"], criteria["componentId"]) == (test.id, insights)
    assert criteria["failedLocationCount"] == FAILED_LOCATIONS
    assert set(rule.inputs["scopes"]) == {test.id, insights}


def test_everything_that_can_tell_of_itself_does(stack: Recording) -> None:
    workspace = stack.only(WORKSPACE).id
    told: dict[str, Any] = {}
    for setting in stack.of_type(DIAGNOSTICS):
        assert setting.inputs["workspaceId"] == workspace
        sent = [*setting.inputs.get("logs", ()), *setting.inputs.get("metrics", ())]
        assert sent
        assert all(each["enabled"] for each in sent)
        told[setting.inputs["resourceUri"]] = sent
    able = {
        resource.id
        for resource in stack.resources
        if resource.token.removeprefix("azure-native:") not in NOT_DIAGNOSED
    }
    assert able <= set(told), able - set(told)
    # Services of storage accounts, which Azure makes with the account.
    data, host = stack.outputs["data_storage_account"], stack.outputs["host_storage_account"]
    own_data = {f"{data}/tableServices/default"} if stack.settings.primary is None else set()
    assert {uri.split("/storageAccounts/")[1] for uri in told if uri not in able} == {
        *own_data,
        f"{host}/tableServices/default",
        f"{host}/queueServices/default",
    }


def test_nothing_logs_a_line_for_every_request_or_message(stack: Recording) -> None:
    categories = {
        each["category"] for setting in stack.of_type(DIAGNOSTICS) for each in setting.inputs.get("logs", ())
    }
    assert not categories & {
        "FrontDoorAccessLog",
        "MessagingLogs",
        "HttpRequestLogs",
        "AppServiceHTTPLogs",
        "StorageRead",
    }
    of_licenses = {"StorageWrite"} if stack.settings.primary is None else set()
    assert {"Audit", "AuditEvent", "StorageDelete"} | of_licenses <= categories


def test_the_budget_speaks_at_four_fifths_and_at_all_of_it(stack: Recording) -> None:
    budget = stack.only("Microsoft.Consumption/budgets")
    group = stack.only("Microsoft.Resources/resourceGroups")
    assert budget.inputs["scope"] == group.id
    assert budget.inputs["amount"] == stack.settings.monitoring.budget_usd
    assert budget.inputs["timeGrain"] == "Monthly"
    told = {
        name: (each["threshold"], each["thresholdType"])
        for name, each in budget.inputs["notifications"].items()
    }
    assert told == {
        "budget-80": (80, "Actual"),
        "budget-100": (100, "Actual"),
        "budget-forecast": (100, "Forecasted"),
    }
    for each in budget.inputs["notifications"].values():
        assert each["contactGroups"] == [groups_of(stack)["day"]]
        assert each["contactEmails"] == list(stack.settings.notifications.emails)


def test_telemetry_is_taken_from_identities_alone(stack: Recording) -> None:
    assert stack.only(INSIGHTS).inputs["disableLocalAuth"] is True
    assert stack.only(INSIGHTS).inputs["workspaceResourceId"] == stack.only(WORKSPACE).id
    assert stack.only(WORKSPACE).inputs["features"]["disableLocalAuth"] is True
