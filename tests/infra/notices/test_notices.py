"""Messages to Slack and PagerDuty, made from each kind of alert, against the forms that both publish."""

import json
from typing import Any

import jsonschema
import pytest

from infra.notices import (
    PAGERDUTY_HOSTS,
    TRIGGER,
    Definition,
    pagerduty_workflow,
    slack_workflow,
)
from tests.infra.notices.expressions import ExpressionError, evaluate
from tests.infra.notices.payloads import ALERT_ID, FIRED_AT, KINDS, RESOLVED_AT, Payload, budget, log, metric

SECRETS = {
    "target1": "https://hooks.slack.com/services/one",
    "target2": "https://hooks.slack.com/services/two",
}
SLACK = slack_workflow("prod", 2)
PAGER = pagerduty_workflow("prod", 2, "us")
WORKFLOWS = {"slack": SLACK, "pager": PAGER}


def _text(kind: str, most: int) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "text"],
        "additionalProperties": False,
        "properties": {
            "type": {"const": kind},
            "text": {"type": "string", "minLength": 1, "maxLength": most},
        },
    }


# Limits of Slack's reference of Block Kit.
SLACK_MESSAGE = {
    "type": "object",
    "required": ["text", "blocks"],
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 4_000},
        "blocks": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "oneOf": [
                    {
                        "properties": {"type": {"const": "header"}, "text": _text("plain_text", 150)},
                        "required": ["type", "text"],
                        "additionalProperties": False,
                    },
                    {
                        "properties": {"type": {"const": "section"}, "text": _text("mrkdwn", 3_000)},
                        "required": ["type", "text"],
                        "additionalProperties": False,
                    },
                    {
                        "properties": {
                            "type": {"const": "context"},
                            "elements": {"type": "array", "maxItems": 10, "items": _text("mrkdwn", 3_000)},
                        },
                        "required": ["type", "elements"],
                        "additionalProperties": False,
                    },
                ]
            },
        },
    },
}
_WORD = {"type": "string", "minLength": 1}
# The event of PagerDuty's Events API v2.
PAGER_EVENT = {
    "type": "object",
    "required": ["routing_key", "event_action", "dedup_key", "payload"],
    "additionalProperties": False,
    "properties": {
        "routing_key": _WORD,
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
        "client": _WORD,
        "client_url": {"type": "string", "pattern": "^https://"},
        "payload": {
            "type": "object",
            "required": ["summary", "source", "severity"],
            "additionalProperties": False,
            "properties": {
                "summary": {"type": "string", "minLength": 1, "maxLength": 1_024},
                "source": _WORD,
                "severity": {"enum": ["critical", "error", "warning", "info"]},
                "timestamp": {"type": "string", "pattern": "^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$"},
                "component": _WORD,
                "group": _WORD,
            },
        },
    },
}
FORMS = {"slack": SLACK_MESSAGE, "pager": PAGER_EVENT}


def sent(workflow: Definition, payload: Payload, target: int = 1) -> tuple[str, dict[str, Any]]:
    """The address and the body of one call that the workflow would make."""
    accepted = workflow["triggers"][TRIGGER]["inputs"]["schema"]
    jsonschema.validate(payload, accepted)
    inputs = workflow["actions"][f"send-target{target}"]["inputs"]
    uri, body = evaluate([inputs["uri"], inputs["body"]], payload, SECRETS)
    return uri, json.loads(json.dumps(body))


@pytest.mark.parametrize("state", ["Fired", "Resolved"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_kind_of_alert_becomes_what_the_receiver_accepts(name: str, kind: str, state: str) -> None:
    _, body = sent(WORKFLOWS[name], KINDS[kind](monitorCondition=state))
    jsonschema.validate(body, FORMS[name])


HARD = {
    "long": metric(description="x" * 5_000, alertRule="y" * 300),
    "markup": metric(description="&<>" * 1_000, alertRule="<!channel> & co"),
    "empty": metric(description=""),
    "without a description": metric(description=None),
    "quotes": metric(description="it's \"so\" @{parameters('target1')} \\ \n"),
    "without fields": {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {"essentials": {"firedDateTime": FIRED_AT}},
    },
    "without a resource": log(configurationItems=[]),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_text_makes_a_message_that_the_receiver_refuses(name: str, case: str) -> None:
    _, body = sent(WORKFLOWS[name], HARD[case])
    jsonschema.validate(body, FORMS[name])
    assert "services/" not in json.dumps({**body, "routing_key": ""}), "no text reads a secret"


def test_slack_shows_what_happened_when_and_where_to_look() -> None:
    uri, body = sent(SLACK, metric(), target=2)
    assert uri == SECRETS["target2"]
    header, section, context = body["blocks"]
    assert header["text"]["text"] == "Critical: postgres-down (prod)"
    assert section["text"]["text"] == "Postgres does not answer. Runbook: docs/operations.md#postgres-down"
    (line,) = context["elements"]
    assert line["text"].startswith(f"{FIRED_AT}  <https://portal.azure.com/")
    assert line["text"].endswith("1234567890ab|Open the alert in Azure>")
    assert body["text"] == f"{header['text']['text']}: {section['text']['text']}"


def test_slack_says_when_an_alert_is_over() -> None:
    _, body = sent(SLACK, metric(monitorCondition="Resolved", resolvedDateTime=RESOLVED_AT))
    assert body["blocks"][0]["text"]["text"] == "Resolved: postgres-down (prod)"
    assert body["blocks"][2]["elements"][0]["text"].startswith(RESOLVED_AT)


def test_slack_reads_no_text_of_an_alert_as_markup() -> None:
    _, body = sent(SLACK, metric(description="<!channel> a & b"))
    assert body["blocks"][1]["text"]["text"] == "&lt;!channel&gt; a &amp; b"


def test_a_budget_has_the_name_of_the_budget() -> None:
    _, body = sent(SLACK, budget())
    assert body["blocks"][0]["text"]["text"] == "Notice: budget-signal-cloud-prod (prod)"


def test_the_alert_that_opened_an_incident_closes_it() -> None:
    _, fired = sent(PAGER, log())
    _, resolved = sent(PAGER, log(monitorCondition="Resolved"))
    assert (fired["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert fired["dedup_key"] == resolved["dedup_key"] == ALERT_ID
    _, other = sent(PAGER, log(alertId=ALERT_ID[:-1] + "c"))
    assert other["dedup_key"] != fired["dedup_key"]


@pytest.mark.parametrize(
    ("severity", "urgency"),
    [
        ("Sev0", "critical"),
        ("Sev1", "error"),
        ("Sev2", "warning"),
        ("Sev3", "info"),
        ("Sev4", "warning"),
        (None, "warning"),
    ],
)
def test_pagerduty_gets_its_own_words_for_severities(severity: str | None, urgency: str) -> None:
    _, body = sent(PAGER, metric(severity=severity))
    assert body["payload"]["severity"] == urgency


def test_each_service_of_pagerduty_gets_its_key() -> None:
    addresses = {sent(PAGER, metric(), target)[0] for target in (1, 2)}
    assert addresses == {"https://events.pagerduty.com/v2/enqueue"}
    keys = [sent(PAGER, metric(), target)[1]["routing_key"] for target in (1, 2)]
    assert keys == list(SECRETS.values())
    assert sent(pagerduty_workflow("prod", 1, "eu"), metric())[0].startswith(
        f"https://{PAGERDUTY_HOSTS['eu']}/"
    )


@pytest.mark.parametrize("name", WORKFLOWS)
def test_targets_do_not_wait_for_each_other_and_calls_end(name: str) -> None:
    actions = WORKFLOWS[name]["actions"].values()
    assert len(actions) == 2
    for action in actions:
        assert action["runAfter"] == {}
        assert action["limit"]["timeout"] == "PT30S"
        assert action["inputs"]["retryPolicy"]["count"] == 4


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_history_of_runs_shows_no_secret(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert {each["type"] for each in workflow["parameters"].values()} == {"SecureString"}
    for action in workflow["actions"].values():
        assert action["runtimeConfiguration"] == {"secureData": {"properties": ["inputs", "outputs"]}}


@pytest.mark.parametrize(
    "body", [{}, {"schemaId": "AIP Budget Notification", "data": {}}, {"text": "hello"}, [], None]
)
def test_a_body_that_is_no_alert_is_refused(body: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, SLACK["triggers"][TRIGGER]["inputs"]["schema"])


@pytest.mark.parametrize(
    "wrong",
    [
        "@upper('x')",
        "@substring('abc', 0, 9)",
        "@length(triggerBody()?['nothing'])",
        "@triggerBody()['nothing']",
        "@concat('a'",
        "@concat('a') b",
        "text with @{triggerBody()}",
        "@concat('" + "x" * 8_192 + "')",
    ],
)
def test_the_evaluator_refuses_what_azure_would(wrong: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(wrong, {}, {})
