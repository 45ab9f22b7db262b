"""Builds messages of Azure in the forms of Microsoft's samples, one for each kind of alert that we use.

Forms: "Sample alert payloads" of Azure Monitor's documentation, of 2026-07-08.
"""

from typing import Any

SUBSCRIPTION = "/subscriptions/11111111-1111-1111-1111-111111111111"
ALERT_ID = f"{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/12345678-1234-1234-1234-1234567890ab"
FIRED_AT = "2026-11-30T14:31:02.4728231Z"
RESOLVED_AT = "2026-11-30T14:36:02.2246313Z"

type Payload = dict[str, Any]


def alert(context: dict[str, Any], **essentials: Any) -> Payload:
    """A message of the common alert schema; `essentials` replace or add fields."""
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": ALERT_ID,
                "alertRule": "postgres-down",
                "severity": "Sev0",
                "signalType": "Metric",
                "monitorCondition": "Fired",
                "monitoringService": "Platform",
                "alertTargetIDs": [f"{SUBSCRIPTION}/resourcegroups/rg-signal-cloud-prod/providers/x/y/psql"],
                "configurationItems": ["psql-signal-cloud-prod"],
                "originAlertId": "11111111_rg_microsoft.insights_metricAlerts_postgres-down_-117781227",
                "firedDateTime": FIRED_AT,
                "description": "Postgres does not answer. Runbook: docs/operations.md#postgres-down",
                "essentialsVersion": "1.0",
                "alertContextVersion": "1.0",
                **essentials,
            },
            "alertContext": context,
            "customProperties": {"runbook": "docs/operations.md#postgres-down"},
        },
    }


def metric(**essentials: Any) -> Payload:
    criterion: dict[str, Any] = {
        "metricName": "is_db_alive",
        "metricNamespace": "Microsoft.DBforPostgreSQL/flexibleServers",
        "operator": "LessThan",
        "threshold": "1",
        "timeAggregation": "Maximum",
        "dimensions": [],
        "metricValue": 0.0,
    }
    return alert(_condition("SingleResourceMultipleMetricCriteria", criterion), **essentials)


def availability(**essentials: Any) -> Payload:
    criterion: dict[str, Any] = {
        "metricName": "Failed Location",
        "metricNamespace": None,
        "operator": "GreaterThan",
        "threshold": "2",
        "timeAggregation": "Sum",
        "dimensions": [],
        "metricValue": 5,
        "webTestName": "webtest-signal-cloud-prod-ready",
    }
    given = {"alertRule": "unavailable", **essentials}
    return alert(_condition("WebtestLocationAvailabilityCriteria", criterion), **given)


def log(**essentials: Any) -> Payload:
    criterion: dict[str, Any] = {
        "searchQuery": 'AppMetrics | where Name == "signal_cloud.outbox.age"',
        "metricMeasureColumn": None,
        "targetResourceTypes": "['Microsoft.OperationalInsights/workspaces']",
        "operator": "GreaterThan",
        "threshold": "0",
        "timeAggregation": "Count",
        "dimensions": [],
        "metricValue": 1.0,
        "failingPeriods": {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1},
        "linkToSearchResultsUI": "https://portal.azure.com#@tenant/blade/Microsoft_Azure_Monitoring_Logs",
    }
    given = {
        "alertRule": "outbox-age",
        "severity": "Sev1",
        "signalType": "Log",
        "monitoringService": "Log Alerts V2",
        **essentials,
    }
    return alert(_condition("LogQueryCriteria", criterion), **given)


def health(**essentials: Any) -> Payload:
    """Of the activity log: its severity is always the lowest, and a server has several states."""
    context = {
        "channels": "Admin, Operation",
        "eventSource": "ResourceHealth",
        "level": "Informational",
        "operationName": "Microsoft.Resourcehealth/healthevent/Activated/action",
        "properties": {"currentHealthStatus": "Degraded", "previousHealthStatus": "Available"},
        "status": "Active",
    }
    given = {
        "alertRule": "postgres-health",
        "severity": "Sev4",
        "signalType": "Activity Log",
        "monitoringService": "Resource Health",
        **essentials,
    }
    return alert(context, **given)


def budget(**essentials: Any) -> Payload:
    """Of a budget: most fields are null."""
    context = {
        "AlertCategory": "budgets",
        "AlertData": {
            "Scope": f"{SUBSCRIPTION}/resourceGroups/rg-signal-cloud-prod/",
            "ThresholdType": "Actual",
            "BudgetType": "Cost",
            "BudgetThreshold": "$950.00",
            "NotificationThresholdAmount": "$760.00",
            "BudgetName": "budget-signal-cloud-prod",
            "BudgetStartDate": "2026-11-01",
            "Unit": "USD",
            "SpentAmount": "$771.20",
        },
    }
    empty = ("alertRule", "severity", "signalType", "monitorCondition", "alertTargetIDs", "originAlertId")
    given = {
        **dict.fromkeys(empty),
        "monitoringService": "CostAlerts",
        "alertId": f"{SUBSCRIPTION}/providers/Microsoft.CostManagement/alerts/one",
        "configurationItems": ["budgets"],
        "description": "Your spend for budget budget-signal-cloud-prod is now $771.20.",
        **essentials,
    }
    return alert(context, **given)


def _condition(kind: str, criterion: dict[str, Any]) -> dict[str, Any]:
    return {
        "properties": None,
        "conditionType": kind,
        "condition": {
            "windowSize": "PT5M",
            "allOf": [criterion],
            "windowStartTime": "2026-11-30T14:26:02Z",
            "windowEndTime": "2026-11-30T14:31:02Z",
        },
    }


KINDS = {"metric": metric, "availability": availability, "log": log, "health": health, "budget": budget}
