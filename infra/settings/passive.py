"""Makes a passive stack small: what it needs to wait, in place of what it needs to serve."""

import dataclasses

from infra.settings.model import ComputeSettings, FlexSettings, ScalingSettings, Settings, WebPubSubSettings


def in_role(settings: Settings) -> Settings:
    """The settings themselves for an active stack; with one instance and one unit for a passive one.

    Never the database: a change of the server while it is promoted could fail, or undo the promotion. Nor
    anything that Azure would have to make again.
    """
    if settings.role == "active":
        return settings
    compute = dataclasses.replace(
        settings.compute,
        scaling=_waiting_instances(settings.compute),
        flex=_waiting_flex(settings.compute.flex),
    )
    return dataclasses.replace(settings, compute=compute, webpubsub=_waiting_units(settings.webpubsub))


def _waiting_instances(compute: ComputeSettings) -> ScalingSettings:
    """As few as the plan may have, also at the open; autoscale may still add some."""
    few = 2 if compute.zone_redundant else 1
    return dataclasses.replace(compute.scaling, minimum=few, default=few, open_minimum=few)


def _waiting_flex(flex: FlexSettings) -> FlexSettings:
    return dataclasses.replace(flex, always_ready=0)


def _waiting_units(webpubsub: WebPubSubSettings) -> WebPubSubSettings:
    """One unit. A service that scales by itself still does, so that its autoscale setting stays."""
    scales = webpubsub.maximum_units > webpubsub.units
    return dataclasses.replace(webpubsub, units=1, maximum_units=webpubsub.maximum_units if scales else 1)
