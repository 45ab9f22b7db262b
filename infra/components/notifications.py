"""Makes the action groups that send alerts, and the workflows that format them for Slack and PagerDuty.

Mail, text messages and webhooks go out directly from Azure Monitor. Nothing here depends on the app.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import logic, monitor

from infra.alerts.kinds import Level, Watched
from infra.components.placement import Placement, under
from infra.notices import TRIGGER, Definition, pagerduty_workflow, parameter_of, slack_workflow
from infra.settings.model import NotificationSettings

# A text message begins with it, and a reply such as `DISABLE <name>` uses it; Azure allows 12 characters.
_SHORT_NAME_CHARACTERS = 12


@dataclass(frozen=True, slots=True)
class NotificationsArgs:
    placement: Placement
    settings: NotificationSettings


@dataclass(frozen=True, slots=True)
class _Workflow:
    id: pulumi.Output[str]
    address: pulumi.Output[str]


class Notifications(pulumi.ComponentResource):
    """An action group for each level of urgency, in `group_ids`, and a workflow for each kind of message."""

    def __init__(self, name: str, args: NotificationsArgs) -> None:
        super().__init__("signal-cloud:infra:Notifications", name)
        self._place = place = args.placement
        self._settings = settings = args.settings
        stack = place.names.stack
        self._slack = self._pager = None
        if settings.slack_urls:
            slack = slack_workflow(stack, len(settings.slack_urls))
            self._slack = self._workflow("slack", slack, settings.slack_urls)
        if settings.pagerduty_keys:
            pager = pagerduty_workflow(stack, len(settings.pagerduty_keys), settings.pagerduty_region)
            self._pager = self._workflow("pager", pager, settings.pagerduty_keys)
        self.group_ids: Mapping[Level, pulumi.Output[str]] = {
            "wake": self._group("wake", mail=True, wakes=True).id,
            "day": self._group("day", mail=True).id,
            # Without a chat, nobody would see these alerts.
            "note": self._group("note", mail=not settings.slack_urls and not settings.webhook_urls).id,
        }
        self.register_outputs({})

    @property
    def workflow_ids(self) -> dict[Watched, pulumi.Output[str]]:
        made: dict[Watched, _Workflow | None] = {"slack": self._slack, "pager": self._pager}
        return {kind: workflow.id for kind, workflow in made.items() if workflow}

    def _workflow(self, kind: str, definition: Definition, secrets: tuple[str, ...]) -> _Workflow:
        place = self._place
        workflow = logic.Workflow(
            f"{kind}-messages",
            workflow_name=place.names.local("logic", kind),
            resource_group_name=place.resource_group_name,
            location=place.location,
            state=logic.WorkflowState.ENABLED,
            definition=definition,
            parameters={
                parameter_of(position): logic.WorkflowParameterArgs(
                    type=logic.ParameterType.SECURE_STRING, value=pulumi.Output.secret(secret)
                )
                for position, secret in enumerate(secrets, 1)
            },
            tags=place.tags,
            opts=under(self),
        )
        callback = logic.list_workflow_trigger_callback_url_output(
            resource_group_name=place.resource_group_name,
            workflow_name=workflow.name,
            trigger_name=TRIGGER,
        )
        # Its signature is what opens the trigger.
        return _Workflow(workflow.id, pulumi.Output.secret(callback.apply(lambda answer: answer.value or "")))

    def _group(self, level: Level, *, mail: bool = False, wakes: bool = False) -> monitor.ActionGroup:
        place, settings = self._place, self._settings
        workflows = {"slack": self._slack, "pager": self._pager if wakes else None}
        return monitor.ActionGroup(
            f"notify-{level}",
            action_group_name=place.names.local("ag", level),
            group_short_name=f"{level}-{place.names.stack}"[:_SHORT_NAME_CHARACTERS],
            resource_group_name=place.resource_group_name,
            location="Global",
            enabled=True,
            email_receivers=[
                monitor.MicrosoftCommonEmailReceiverArgs(
                    name=f"mail-{position}", email_address=address, use_common_alert_schema=True
                )
                for position, address in enumerate(settings.emails if mail else (), 1)
            ],
            sms_receivers=[
                _text_message(f"sms-{position}", number)
                for position, number in enumerate(settings.sms if wakes else (), 1)
            ],
            logic_app_receivers=[
                monitor.LogicAppReceiverArgs(
                    name=kind,
                    resource_id=workflow.id,
                    callback_url=workflow.address,
                    use_common_alert_schema=True,
                )
                for kind, workflow in workflows.items()
                if workflow
            ],
            webhook_receivers=[
                monitor.WebhookReceiverArgs(
                    name=f"webhook-{position}",
                    # A secret, because anyone with such an address can post to it.
                    service_uri=pulumi.Output.secret(url),
                    use_common_alert_schema=True,
                )
                for position, url in enumerate(settings.webhook_urls, 1)
            ],
            tags=place.tags,
            opts=under(self),
        )


def _text_message(name: str, number: str) -> monitor.MicrosoftCommonSmsReceiverArgs:
    country, _, rest = number.removeprefix("+").partition(" ")
    return monitor.MicrosoftCommonSmsReceiverArgs(name=name, country_code=country, phone_number=rest)
