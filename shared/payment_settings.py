"""Reads the settings of payment vendors: whose events count, and what they sell."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shared.settings_reader import SettingsReader

MAX_SECRETS = 2
MIN_SECRET = 16
MAX_PRODUCTS = 200
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_PAIR = re.compile(r"(?P<product>(?:stripe|whop):[A-Za-z0-9_.-]{1,120})=(?P<plan>[a-z][a-z0-9_-]{0,63})")


@dataclass(frozen=True, slots=True)
class PaymentSettings:
    """The secrets of each vendor's webhook, none if its events are refused; two while one is rotated.

    `plans` has the plan of each product, such as `stripe:price_1`. `mode` is the mode of Stripe whose events
    count.
    """

    stripe_secrets: tuple[str, ...] = field(default=(), repr=False)
    whop_secrets: tuple[str, ...] = field(default=(), repr=False)
    plans: Mapping[str, str] = field(default_factory=dict)
    mode: Literal["live", "test"] = "live"


def read_payment_settings(reader: SettingsReader) -> PaymentSettings:
    """The settings; problems go to the reader."""
    return PaymentSettings(
        stripe_secrets=_secrets(reader, "STRIPE_WEBHOOK_SECRET"),
        whop_secrets=_secrets(reader, "WHOP_WEBHOOK_SECRET", standard=True),
        plans=_plans(reader),
        mode=reader.choice("PAYMENT_MODE", "live", ("live", "test")),
    )


def _secrets(reader: SettingsReader, name: str, *, standard: bool = False) -> tuple[str, ...]:
    """The secrets in a setting; if they are `standard`, one that begins with whsec_ has a key in base64."""
    secrets = tuple(part.strip() for part in reader.text(name, "").split(",") if part.strip())
    bad = [each for each in secrets if len(each) < MIN_SECRET or (standard and not _is_standard(each))]
    if len(secrets) > MAX_SECRETS or bad:
        reader.report(
            f"{name} must be the secret of the webhook, of at least {MIN_SECRET} characters, or two with a "
            "comma between them while you rotate it"
        )
    return secrets


def _is_standard(secret: str) -> bool:
    encoded = secret.removeprefix("whsec_")
    if encoded == secret:
        return True
    return _BASE64.fullmatch(encoded) is not None and len(encoded.rstrip("=")) % 4 != 1


def _plans(reader: SettingsReader) -> Mapping[str, str]:
    pairs = [part.strip() for part in reader.optional("PAYMENT_PLANS").split(",") if part.strip()]
    found = [_PAIR.fullmatch(pair) for pair in pairs]
    plans = {each["product"]: each["plan"] for each in found if each is not None}
    if len(plans) < len(pairs) or len(pairs) > MAX_PRODUCTS:
        reader.report(
            f"PAYMENT_PLANS must be at most {MAX_PRODUCTS} pairs with commas between them, each product "
            "once, such as stripe:price_1=pro,whop:plan_2=starter"
        )
    return plans
