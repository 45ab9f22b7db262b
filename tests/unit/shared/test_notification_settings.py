"""The settings of notifications, their channels and the secrets of a deployment name the same things."""

from infra.settings.business_keys import VENDOR_SECRETS
from shared.adapters.notifications.files import shipped_channels
from shared.domain.notifications.channels import MAIL_SETTING, SETTING_PREFIX
from shared.notification_settings import MAIL, PREFIX, SHIPPED, NotificationSettings


def test_each_shipped_channel_has_its_setting_and_no_setting_is_left_over() -> None:
    """If this fails for your new channel: add its setting to SHIPPED, and its secret to VENDOR_SECRETS."""
    assert (MAIL, PREFIX) == (MAIL_SETTING, SETTING_PREFIX)
    assert sorted(SHIPPED) == sorted([*(each.setting for each in shipped_channels()), MAIL])


def test_each_secret_setting_is_a_secret_of_a_deployment() -> None:
    payments = ("STRIPE_WEBHOOK_SECRET", "WHOP_WEBHOOK_SECRET")
    assert sorted(name.upper() for name in VENDOR_SECRETS) == sorted(
        (*SHIPPED, *payments, "DISCORD_BOT_TOKEN")
    )


def test_the_secrets_of_channels_are_in_no_representation() -> None:
    settings = NotificationSettings(addresses={MAIL: "mailtos://secret"}, discord_bot_token="secret")
    assert "secret" not in repr(settings)
