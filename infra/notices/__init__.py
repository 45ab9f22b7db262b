"""Builds the workflows that turn Azure's alerts into messages of Slack and PagerDuty.

Slack refuses Azure's common alert schema, and PagerDuty needs a severity and a key of the incident. A
workflow is data: Azure Logic Apps runs it, so that it works while the app does not. Tests evaluate its
expressions on Microsoft's sample payloads.
"""

from collections.abc import Callable
from typing import Any

# The name of the trigger, by which Azure gives its address.
TRIGGER = "alert"
_SCHEMA = (
    "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/"
    "workflowdefinition.json#"
)
_COMMON_SCHEMA = "azureMonitorCommonAlertSchema"
# Slack takes up to 150 characters in a header and 3,000 in a section. Escaping makes a text up to five
# times as long, so a description is cut long before.
HEADER_CHARACTERS = 150
DESCRIPTION_CHARACTERS = 500
# PagerDuty's limits.
SUMMARY_CHARACTERS = 1_024
KEY_CHARACTERS = 255
PAGERDUTY_HOSTS = {"us": "events.pagerduty.com", "eu": "events.eu.pagerduty.com"}
# Logic Apps repeats a call that failed with 408, 429 or 5xx, or without an answer, up to four times.
CALL_TIMEOUT = "PT30S"
RETRIES = {"type": "exponential", "count": 4, "interval": "PT10S"}

_WORDS = {"Sev0": "Critical", "Sev1": "Error", "Sev2": "Warning", "Sev3": "Informational"}
_URGENCIES = {"Sev0": "critical", "Sev1": "error", "Sev3": "info"}
_PORTAL = "https://portal.azure.com/#blade/Microsoft_Azure_Monitoring/AlertDetailsTemplateBlade/alertId/"

type Definition = dict[str, Any]


def parameter_of(target: int) -> str:
    """The workflow's parameter that holds the secret of a target, counted from 1."""
    return f"target{target}"


def slack_workflow(stack: str, targets: int) -> Definition:
    """Posts each alert to `targets` incoming webhooks; the parameters are their addresses."""
    headline = _cut(f"concat({_state()}, ': ', {_rule()}, ' ({stack})')", HEADER_CHARACTERS)
    text = _escaped(_cut(_description(), DESCRIPTION_CHARACTERS))
    body = {
        "text": f"@concat({_escaped(headline)}, ': ', {text})",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": f"@{headline}"}},
            {"type": "section", "text": {"type": "mrkdwn", "text": f"@{text}"}},
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": f"@concat({_changed_at()}, '  <', {_link()}, '|Open the alert in Azure>')",
                    }
                ],
            },
        ],
    }
    return _workflow(targets, lambda secret: (f"@{secret}", body))


def pagerduty_workflow(stack: str, targets: int, region: str) -> Definition:
    """Sends each alert to `targets` services of PagerDuty; the parameters are their integration keys.

    An alert opens an incident, and the same alert closes it when Azure reports it as resolved.
    """
    alert_id = f"coalesce({_essential('alertId')}, {_rule()})"
    event = {
        "event_action": f"@if({_is_resolved()}, 'resolve', 'trigger')",
        "dedup_key": f"@{_cut(alert_id, KEY_CHARACTERS)}",
        "client": f"Signal Cloud {stack}",
        "client_url": f"@{_link()}",
        "payload": {
            "summary": f"@{_cut(f"concat({_rule()}, ': ', {_description()})", SUMMARY_CHARACTERS)}",
            "severity": f"@{_by_severity(_URGENCIES, 'warning')}",
            "source": f"@coalesce({_essential('configurationItems')}?[0], 'Azure Monitor')",
            "timestamp": f"@{_essential('firedDateTime')}",
            "component": f"@{_rule()}",
            "group": f"signal-cloud-{stack}",
        },
    }
    url = f"https://{PAGERDUTY_HOSTS[region]}/v2/enqueue"
    return _workflow(targets, lambda secret: (url, {"routing_key": f"@{secret}", **event}))


def _workflow(targets: int, call: Callable[[str], tuple[str, dict[str, Any]]]) -> Definition:
    """One call for each target, none of which waits for another one or needs its success.

    `call` returns address and body, from the expression of the target's secret.
    """
    names = [parameter_of(target) for target in range(1, targets + 1)]
    actions: dict[str, Any] = {}
    for name in names:
        uri, body = call(f"parameters('{name}')")
        actions[f"send-{name}"] = {
            "type": "Http",
            "runAfter": {},
            "inputs": {
                "method": "POST",
                "uri": uri,
                "headers": {"Content-Type": "application/json"},
                "body": body,
                "retryPolicy": RETRIES,
            },
            "limit": {"timeout": CALL_TIMEOUT},
            # PagerDuty answers 202, which Logic Apps would take for the beginning of a long operation.
            "operationOptions": "DisableAsyncPattern",
            # The address or the body holds the secret, and the history of runs would show it.
            "runtimeConfiguration": {"secureData": {"properties": ["inputs", "outputs"]}},
        }
    return {
        "$schema": _SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {name: {"type": "SecureString"} for name in names},
        "triggers": {
            TRIGGER: {
                "type": "Request",
                "kind": "Http",
                "inputs": {"schema": _accepted()},
                "operationOptions": "EnableSchemaValidation",
            }
        },
        "actions": actions,
    }


def _accepted() -> dict[str, Any]:
    """The body that the trigger accepts. It demands no more than the expressions need.

    A message that it refuses would be lost, and Azure adds fields to its schema.
    """
    return {
        "type": "object",
        "required": ["schemaId", "data"],
        "properties": {
            "schemaId": {"type": "string", "enum": [_COMMON_SCHEMA]},
            "data": {
                "type": "object",
                "required": ["essentials"],
                "properties": {"essentials": {"type": "object"}},
            },
        },
    }


def _essential(field: str) -> str:
    return f"triggerBody()?['data']?['essentials']?['{field}']"


def _is_resolved() -> str:
    return f"equals({_essential('monitorCondition')}, 'Resolved')"


def _rule() -> str:
    """The rule's name; a budget's alert has none, but the budget has."""
    budget = "triggerBody()?['data']?['alertContext']?['AlertData']?['BudgetName']"
    return f"coalesce({_essential('alertRule')}, {budget}, 'alert without a name')"


def _description() -> str:
    """The rule's description; Slack refuses an empty text."""
    given = f"coalesce({_essential('description')}, '')"
    return f"if(equals({given}, ''), 'No description.', {given})"


def _state() -> str:
    return f"if({_is_resolved()}, 'Resolved', {_by_severity(_WORDS, 'Notice')})"


def _changed_at() -> str:
    """When Azure reported the alert; not every resolved alert has a time of its own."""
    return f"coalesce({_essential('resolvedDateTime')}, {_essential('firedDateTime')}, '')"


def _link() -> str:
    return f"concat('{_PORTAL}', encodeUriComponent(coalesce({_essential('alertId')}, '')))"


def _by_severity(words: dict[str, str], otherwise: str) -> str:
    """Alerts of the activity log and of budgets have no severity that we set."""
    expression = f"'{otherwise}'"
    for severity, word in reversed(words.items()):
        expression = f"if(equals({_essential('severity')}, '{severity}'), '{word}', {expression})"
    return expression


def _cut(text: str, characters: int) -> str:
    return f"substring({text}, 0, min(length({text}), {characters}))"


def _escaped(text: str) -> str:
    """Slack reads these three characters as markup."""
    return f"replace(replace(replace({text}, '&', '&amp;'), '<', '&lt;'), '>', '&gt;')"
