"""Describes Front Door's firewall: a limit of requests for each client, and Microsoft's rules in Premium."""

from pulumi_azure_native import frontdoor

from infra.components.placement import Placement
from infra.settings.model import EdgeSettings


def firewall_args(place: Placement, settings: EdgeSettings, sku: str) -> frontdoor.PolicyArgs:
    # A policy's name allows only letters and digits.
    policy_name = place.names.local("waf").replace("-", "")
    managed = _managed_rules() if settings.tier == "premium" else None
    return frontdoor.PolicyArgs(
        policy_name=policy_name,
        resource_group_name=place.resource_group_name,
        location="Global",
        sku=frontdoor.SkuArgs(name=sku),
        policy_settings=frontdoor.PolicySettingsArgs(
            enabled_state="Enabled", mode="Prevention", request_body_check="Enabled"
        ),
        custom_rules=frontdoor.CustomRuleListArgs(rules=[_rate_limit(settings.requests_per_minute)]),
        managed_rules=managed,
        tags=place.tags,
    )


def _rate_limit(requests_per_minute: int) -> frontdoor.CustomRuleArgs:
    """Blocks floods of one client address; the app enforces the exact limit of each license."""
    return frontdoor.CustomRuleArgs(
        name="RateLimitPerClient",
        priority=100,
        rule_type="RateLimitRule",
        rate_limit_duration_in_minutes=1,
        rate_limit_threshold=requests_per_minute,
        group_by=[frontdoor.GroupByVariableArgs(variable_name="SocketAddr")],
        match_conditions=[
            # Matches every request, because a rule must have a condition.
            frontdoor.MatchConditionArgs(match_variable="RequestUri", operator="Contains", match_value=["/"])
        ],
        action="Block",
        enabled_state="Enabled",
    )


def _managed_rules() -> frontdoor.ManagedRuleSetListArgs:
    """Microsoft's rules. The bot rules block known bad bots, and only log ours, whose user agent is httpx."""
    return frontdoor.ManagedRuleSetListArgs(
        managed_rule_sets=[
            frontdoor.ManagedRuleSetArgs(
                rule_set_type="Microsoft_DefaultRuleSet", rule_set_version="2.1", rule_set_action="Block"
            ),
            frontdoor.ManagedRuleSetArgs(rule_set_type="Microsoft_BotManagerRuleSet", rule_set_version="1.1"),
        ]
    )
