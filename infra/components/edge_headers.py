"""Lists the headers that Front Door adds to every answer for the browsers that may show it."""

import pulumi
from pulumi_azure_native import cdn

from infra.components.placement import Placement, under

# Not those that the app sends by itself, on every path to it: functions/web/answers.py. A request that the
# firewall blocks gets none of them.
SECURITY_HEADERS = {
    # A browser that has been here once uses no plain HTTP for a year.
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    # Addresses may hold a license's id.
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def security_headers(
    placement: Placement, profile: cdn.Profile, parent: pulumi.Resource
) -> tuple[cdn.RuleSet, cdn.Rule]:
    """Makes the rule set of the route, and its rule, without which the set does nothing."""
    rules = cdn.RuleSet(
        "front-door-rules",
        cdn.RuleSetArgs(
            # Names of rules and of their sets allow only letters and digits.
            rule_set_name="headers",
            profile_name=profile.name,
            resource_group_name=placement.resource_group_name,
        ),
        opts=under(parent),
    )
    rule = cdn.Rule(
        "front-door-headers",
        cdn.RuleArgs(
            rule_name="security",
            rule_set_name=rules.name,
            profile_name=profile.name,
            resource_group_name=placement.resource_group_name,
            order=1,
            match_processing_behavior=cdn.MatchProcessingBehavior.CONTINUE_,
            actions=[
                cdn.DeliveryRuleResponseHeaderActionArgs(
                    name="ModifyResponseHeader",
                    parameters=cdn.HeaderActionParametersArgs(
                        type_name="DeliveryRuleHeaderActionParameters",
                        header_action=cdn.HeaderAction.OVERWRITE,
                        header_name=name,
                        value=value,
                    ),
                )
                for name, value in SECURITY_HEADERS.items()
            ],
        ),
        opts=under(parent),
    )
    return rules, rule
