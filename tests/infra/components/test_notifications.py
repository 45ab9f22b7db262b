"""Notifications as recorded: who gets which level of alerts, and where the secrets are."""

import json

import pytest

from infra.notices import PAGERDUTY_HOSTS
from infra.offline.recording import Recording, Resource
from tests.infra.recording import VARIANTS, recorded, recorded_with

GROUP = "Microsoft.Insights/actionGroups"
WORKFLOW = "Microsoft.Logic/workflows"
NONE = {"alert_sms": "", "alert_slack_urls": "", "alert_pagerduty_keys": "", "alert_webhook_urls": ""}


@pytest.fixture(params=VARIANTS)
def stack(request: pytest.FixtureRequest) -> Recording:
    return recorded(request.param)


def groups(stack: Recording) -> dict[str, Resource]:
    return {group.own_name.rsplit("-", 1)[-1]: group for group in stack.of_type(GROUP)}


def ways(group: Resource) -> set[str]:
    """The ways on which a group sends: mail, sms, webhook, and the names of workflows."""
    kinds = {"emailReceivers": "mail", "smsReceivers": "sms", "webhookReceivers": "webhook"}
    direct = {way for key, way in kinds.items() if group.inputs.get(key)}
    return direct | {each["name"] for each in group.inputs.get("logicAppReceivers", ())}


def test_only_what_stops_bots_wakes_somebody(stack: Recording) -> None:
    assert {level: ways(group) for level, group in groups(stack).items()} == {
        "wake": {"mail", "sms", "pager", "slack", "webhook"},
        "day": {"mail", "slack", "webhook"},
        "note": {"slack", "webhook"},
    }


def test_the_way_to_a_person_at_night_needs_no_workflow(stack: Recording) -> None:
    wake = groups(stack)["wake"].inputs
    told = stack.settings.notifications
    assert [each["emailAddress"] for each in wake["emailReceivers"]] == [*told.emails]
    assert wake["smsReceivers"] == [{"name": "sms-1", "countryCode": "1", "phoneNumber": "3125550100"}]
    assert [each["serviceUri"] for each in wake["webhookReceivers"]] == [*told.webhook_urls]


def test_without_anything_but_mail_every_level_has_mail() -> None:
    stack = recorded_with("prod", **NONE)
    assert {level: ways(group) for level, group in groups(stack).items()} == {
        "wake": {"mail"},
        "day": {"mail"},
        "note": {"mail"},
    }
    assert not stack.of_type(WORKFLOW)
    assert not {"slack-failing", "pager-failing"} & {each.own_name for each in stack.resources}


def test_each_receiver_gets_the_common_schema_under_a_name_of_its_own(stack: Recording) -> None:
    for group in groups(stack).values():
        assert len(group.inputs["groupShortName"]) <= 12
        names = [
            receiver["name"]
            for key in ("emailReceivers", "smsReceivers", "webhookReceivers", "logicAppReceivers")
            for receiver in group.inputs.get(key, ())
        ]
        assert len(set(names)) == len(names)
        for key in ("emailReceivers", "webhookReceivers", "logicAppReceivers"):
            assert all(each["useCommonAlertSchema"] for each in group.inputs.get(key, ()))


def test_short_names_differ_so_that_an_answer_by_text_message_stops_one_group() -> None:
    stack = recorded("premium")
    assert len({group.inputs["groupShortName"] for group in groups(stack).values()}) == 3


def test_groups_call_the_stack_s_own_workflows(stack: Recording) -> None:
    workflows = {each.own_name.rsplit("-", 1)[-1]: each.id for each in stack.of_type(WORKFLOW)}
    assert set(workflows) == {"slack", "pager"}
    for group in groups(stack).values():
        for receiver in group.inputs["logicAppReceivers"]:
            assert receiver["resourceId"] == workflows[receiver["name"]]
            assert "/triggers/alert/" in receiver["callbackUrl"]


def test_secrets_are_secrets_and_in_no_definition(stack: Recording) -> None:
    told = stack.settings.notifications
    for resource in stack.resources:
        visible = json.dumps(without_secrets(resource))
        for secret in (*told.slack_urls, *told.pagerduty_keys, *told.webhook_urls):
            assert secret not in visible, resource.name
    for workflow in stack.of_type(WORKFLOW):
        assert workflow.secrets == {"parameters.target1.value"}
        assert workflow.inputs["parameters"]["target1"]["type"] == "SecureString"


def without_secrets(resource: Resource) -> object:
    """The inputs, with every value that Pulumi keeps as a secret left out."""
    inputs = json.loads(json.dumps(resource.inputs))
    for path in resource.secrets:
        *way, last = path.replace("[", ".").replace("]", "").split(".")
        value = inputs
        for step in way:
            value = value[int(step)] if step.isdigit() else value[step]
        value[int(last) if last.isdigit() else last] = None
    return inputs


def test_each_of_several_targets_has_a_call_and_a_secret_of_its_own() -> None:
    urls = [f"https://hooks.slack.com/services/T0/B0/{name}" for name in ("one", "two", "three")]
    stack = recorded_with("prod", alert_slack_urls=", ".join(urls), alert_pagerduty_region="eu")
    by_kind = {each.own_name.rsplit("-", 1)[-1]: each.inputs for each in stack.of_type(WORKFLOW)}
    slack = by_kind["slack"]
    assert sorted(each["value"] for each in slack["parameters"].values()) == sorted(urls)
    assert set(slack["definition"]["parameters"]) == set(slack["parameters"])
    called = {each["inputs"]["uri"] for each in slack["definition"]["actions"].values()}
    assert called == {f"@parameters('{name}')" for name in slack["parameters"]}
    (action,) = by_kind["pager"]["definition"]["actions"].values()
    assert action["inputs"]["uri"] == f"https://{PAGERDUTY_HOSTS['eu']}/v2/enqueue"


def test_a_message_that_does_not_arrive_is_told_on_other_ways(stack: Recording) -> None:
    """The alert on failed runs reaches a group that also sends mail, which needs no workflow."""
    levels = {group.id: level for level, group in groups(stack).items()}
    found = {}
    for rule in stack.of_type("Microsoft.Insights/metricAlerts"):
        if rule.own_name in ("slack-failing", "pager-failing"):
            (scope,) = rule.inputs["scopes"]
            (action,) = rule.inputs["actions"]
            found[stack.by_id(scope).name] = levels[action["actionGroupId"]]
    assert found == {"slack-messages": "day", "pager-messages": "wake"}
