"""Describes the stand-ins of the vendors as a service of the stack, and the settings that lead to them."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.places import ROOT
from local.stack.ports import HOST, free_ports
from local.stack.services import answers_http
from local.stack.state import StateDirectory
from local.supervisor import Command, Service
from shared.adapters.plans import shipped_plans
from shared.notification_settings import VENDORS

GUILD_ID = "81384788765712384"
ROLES = {"starter": "417719834231439361", "pro": "417719834231439360"}


@dataclass(frozen=True)
class VendorStandIns:
    """The service, the app's settings, and what stack.json says of it."""

    service: Service
    settings: Mapping[str, str]
    document: Mapping[str, Any]


def vendor_stand_ins(
    state: StateDirectory, settings: Mapping[str, str], app_url: str
) -> VendorStandIns | None:
    """None if settings name addresses of vendors already; settings of a person go before ours."""
    if settings.get("VENDOR_ADDRESSES"):
        return None
    port, smtp_port = free_ports(2)
    url = f"http://{HOST}:{port}"
    control_token = state.secret("vendors_control_token")
    wanted = {
        "VENDOR_ADDRESSES": json.dumps({vendor: f"{url}/{vendor}" for vendor in VENDORS}),
        "PUBLIC_URL": app_url,
        "PAYMENT_PLANS": payment_plans(),
        "PAYMENT_MODE": "test",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{state.secret('stripe_webhook_secret')}",
        "WHOP_WEBHOOK_SECRET": f"ws_{state.secret('whop_webhook_secret')}",
        "DISCORD_BOT_TOKEN": state.secret("discord_bot_token"),
        "DISCORD_GUILD_ID": GUILD_ID,
        "DISCORD_ROLES": ",".join(f"{plan}:{role}" for plan, role in ROLES.items()),
        # Addresses of Apprise; VENDOR_ADDRESSES leads all but the mail to the stand-ins.
        "NOTIFY_COMMUNITY": f"discord://417429632418316298/{'c' * 68}",
        "NOTIFY_OPS": f"slack://T1234567890/B1234567890/{'o' * 24}",
        "NOTIFY_ONCALL": f"pagerduty://{'p' * 32}@signal-cloud",
        "NOTIFY_TELEGRAM": f"tgram://110201543:{'t' * 35}/-1001234567890",
        "NOTIFY_SMS": f"twilio://AC{'a' * 32}:{'s' * 32}@15017122661/15558675310",
        "NOTIFY_MAIL": f"mailto://mailer:local@{HOST}:{smtp_port}?from=licenses@example.com&smtp={HOST}",
    }
    found = wanted | {name: settings[name] for name in wanted if settings.get(name)}
    argv = (
        *(sys.executable, "-m", "local.vendors", "serve", "--host", HOST, "--app-url", app_url),
        *("--port", str(port), "--smtp-port", str(smtp_port)),
    )
    environment = {**os.environ, **found, "VENDORS_CONTROL_TOKEN": control_token}
    command = Command(argv, environment, state.logs / "vendors.log", ROOT)
    return VendorStandIns(
        Service("vendors", command, answers_http(port, "/health", b"200"), port),
        found,
        {"url": url, "smtp_port": smtp_port, "control_token": control_token, "settings": found},
    )


def payment_plans() -> str:
    """The setting PAYMENT_PLANS by which both vendors sell every plan that has a price."""
    catalog = shipped_plans()
    sold = [name for name in catalog if catalog[name].price > 0]
    return ",".join(f"stripe:price_{name}={name},whop:plan_{name}={name}" for name in sold)
