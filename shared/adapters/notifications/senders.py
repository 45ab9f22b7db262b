"""Holds the ways to send notifications, each with the stand-in of its vendor if there is one."""

from collections.abc import Mapping

from shared.adapters.notifications.apprise_senders import AppriseSender
from shared.adapters.notifications.discord import BASE, Discord
from shared.adapters.notifications.outgoing import Outgoing
from shared.adapters.notifications.webhooks import WebhookSender


class Senders:
    """`stand_ins` maps vendors to addresses on this machine; empty in a deployment."""

    def __init__(self, stand_ins: Mapping[str, str], *, bot_token: str, guild_id: str) -> None:
        outgoing = Outgoing([*stand_ins.values()])
        base = stand_ins.get("discord", BASE)
        self.any = AppriseSender(stand_ins)
        self.discord = Discord(outgoing, base=base, bot_token=bot_token, guild_id=guild_id)
        self.webhooks = WebhookSender(outgoing)
