"""Posts to webhooks of Discord, and gives and takes roles there.

Not by apprise, which sends again at once after a 429, sleeps until Discord's reset, and cannot forbid
mentions; see docs/decisions/0034.
"""

import re

import msgspec

from shared.adapters.notifications.answers import outcome_of
from shared.adapters.notifications.outgoing import Outgoing
from shared.domain.notifications.attempts import Outcome
from shared.domain.notifications.destinations import DISCORD_WEBHOOK, DISCORD_WEBHOOKS
from shared.domain.notifications.messages import Message

BASE = "https://discord.com"
_API = "/api/v10"
_WEBHOOK = re.compile(f"(?:discord://|{DISCORD_WEBHOOKS}){DISCORD_WEBHOOK}")


def webhook_of(address: str) -> tuple[str, str] | None:
    """The id and the token of a webhook, by Discord's address or as discord://id/token; None for another."""
    found = _WEBHOOK.fullmatch(address)
    return (found[1], found[2]) if found else None


class Discord:
    """`base` is Discord's address, or that of a stand-in; `bot_token` is needed for roles alone."""

    def __init__(
        self, outgoing: Outgoing, *, base: str = BASE, bot_token: str = "", guild_id: str = ""
    ) -> None:
        self._outgoing = outgoing
        self._base = base.rstrip("/")
        self._bot_token = bot_token
        self._guild_id = guild_id

    async def post(self, address: str, message: Message) -> Outcome:
        """Sends a message to a webhook; nothing in it mentions anybody."""
        webhook = webhook_of(address)
        if webhook is None:
            return Outcome("gone", "The address is no webhook of Discord.")
        title = f"**{message.title}**\n" if message.text else message.title
        body = {"content": f"{title}{message.text}"[:2_000], "allowed_mentions": {"parse": []}}
        url = f"{self._base}/api/webhooks/{webhook[0]}/{webhook[1]}"
        headers = {"content-type": "application/json"}
        return await outcome_of(self._outgoing.send("POST", url, msgspec.json.encode(body), headers))

    async def set_role(self, user_id: str, role_id: str, *, has: bool) -> Outcome:
        """Gives the member the role, or takes it; both may be repeated."""
        url = f"{self._base}{_API}/guilds/{self._guild_id}/members/{user_id}/roles/{role_id}"
        headers = {
            "authorization": f"Bot {self._bot_token}",
            "x-audit-log-reason": "license",
            "content-length": "0",
        }
        return await outcome_of(self._outgoing.send("PUT" if has else "DELETE", url, b"", headers))
