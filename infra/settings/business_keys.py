"""Reads what a stack sells and whom the app notifies: plans for sale, and the secrets of vendors."""

from infra.settings.model import BusinessSettings
from infra.settings.reader import SettingsReader

# Each is a secret of the vault, and the app's setting of its name in capitals.
VENDOR_SECRETS = (
    "stripe_webhook_secret",
    "whop_webhook_secret",
    "discord_bot_token",
    "notify_community",
    "notify_ops",
    "notify_oncall",
    "notify_telegram",
    "notify_sms",
    "notify_mail",
)
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# As the app reads them, see shared/payment_settings.py and shared/notification_settings.py.
_PLAN = r"[a-z][a-z0-9_-]{0,63}"
_SALE = rf"(stripe|whop):[A-Za-z0-9_.-]{{1,120}}={_PLAN}"


def read_business(reader: SettingsReader) -> BusinessSettings:
    return BusinessSettings(
        secrets={name: value for name in VENDOR_SECRETS if (value := reader.secret(name, ""))},
        payment_plans=reader.matching(
            "payment_plans",
            rf"{_SALE}(,{_SALE})*",
            "products of Stripe or Whop and our plans, such as stripe:price_1=pro,whop:plan_2=starter",
            default="",
        ),
        payment_mode=reader.choice("payment_mode", ("live", "test"), default="live"),
        discord_guild_id=reader.matching(
            "discord_guild_id", r"[0-9]{15,20}", "the id of a Discord server", default=""
        ),
        discord_roles=reader.matching(
            "discord_roles",
            rf"{_PLAN}:[0-9]{{15,20}}(,{_PLAN}:[0-9]{{15,20}})*",
            "our plans and ids of Discord's roles, such as pro:123456789012345678",
            default="",
        ),
        public_url=reader.matching(
            "public_url",
            rf"https://({_LABEL}\.)+[a-z]{{2,63}}",
            "an address such as https://api.example.com, without a path",
            default="",
        ),
    )
