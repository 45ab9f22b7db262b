"""Reads the settings of the plan, its scaling and the app, and of the network."""

import ipaddress
import re
from decimal import Decimal
from typing import cast

from infra.settings.model import (
    PLAN_SIZES,
    ComputeSettings,
    FlexSettings,
    NetworkSettings,
    PlanKind,
    ScalingSettings,
)
from infra.settings.reader import SettingsReader
from infra.timers import timers

# Azure sells these memory sizes for Flex Consumption instances, and no others.
FLEX_MEMORY_MB = ("512", "2048", "4096")
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(?P<scheme>https?)://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
_USUAL_PORTS = {("http", "80"), ("https", "443")}


def read_network(reader: SettingsReader) -> NetworkSettings:
    network = NetworkSettings(
        private=reader.boolean("private_network"),
        address_space=reader.text("address_space", "10.40.0.0/22"),
        deployers=reader.listed(
            "deployer_addresses",
            lambda part: "/" in part and _ipv4_range(part),
            "IPv4 ranges such as 203.0.113.7/32",
            default="",
        ),
    )
    space = _ipv4_range(network.address_space)
    if space is None or not space.is_private or space.prefixlen > 22:
        reader.must_be(
            "address_space",
            "a private IPv4 range of /22 or larger, such as 10.40.0.0/22",
            network.address_space,
        )
    return network


def _ipv4_range(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        return None


def read_compute(reader: SettingsReader) -> ComputeSettings:
    return ComputeSettings(
        plan=cast("PlanKind", reader.choice("plan", ("dedicated", "flex"), default="dedicated")),
        plan_size=PLAN_SIZES[reader.choice("plan_sku", tuple(PLAN_SIZES), default="P0v3")],
        zone_redundant=reader.boolean("zone_redundant", default=False),
        scaling=ScalingSettings(
            minimum=reader.integer("autoscale_minimum", 1, 30, default=1),
            maximum=reader.integer("autoscale_maximum", 1, 30, default=10),
            default=reader.integer("autoscale_default", 1, 30, default=2),
            open_minimum=reader.integer("autoscale_open_minimum", 1, 30, default=4),
        ),
        flex=FlexSettings(
            memory_mb=int(reader.choice("flex_memory_mb", FLEX_MEMORY_MB, default="2048")),
            always_ready=reader.integer("flex_always_ready", 0, 1000, default=0),
            maximum_instances=reader.integer("flex_maximum_instances", 1, 1000, default=40),
            http_concurrency=reader.integer("flex_http_concurrency", 1, 1000, default=100),
        ),
        database_pool_size=reader.integer("database_pool_size", 1, 100, default=8),
        log_level=reader.choice("log_level", ("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO"),
        telemetry_sample_ratio=reader.share("telemetry_sample_ratio", default=Decimal("0.05")),
        cors_origins=reader.listed(
            "cors_origins",
            _is_origin,
            "origins as browsers send them, such as https://app.example.com: in lower case, no path, no *",
            default="",
        ),
        schedules={
            timer.setting: reader.schedule(timer.setting.lower(), default=timer.schedule)
            for timer in timers()
        },
    )


def _is_origin(text: str) -> bool:
    """As shared/settings_reader.py has it, which refuses other origins when the app starts."""
    found = _ORIGIN.fullmatch(text)
    if found is None or len(text) > 255:
        return False
    port = found["port"]
    return port is None or (int(port) <= 65_535 and (found["scheme"], port) not in _USUAL_PORTS)
