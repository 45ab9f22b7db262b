"""Stands in for Discord: executes webhooks, and gives and takes roles of a guild's members."""

import json
import re
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

from local.vendors.received import Received

MAX_CONTENT = 2_000
MAX_EMBEDS = 10
# As measured by many: a webhook may send five messages within two seconds.
WEBHOOK_LIMIT = 5
WEBHOOK_WINDOW_S = 2.0
_SNOWFLAKE = re.compile(r"[0-9]{5,20}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{30,100}")


def refuse(status: int, retry_after_s: float = 0.0) -> web.Response:
    """An error as Discord shapes it."""
    if status == 429:
        return web.json_response(
            {"message": "You are being rate limited.", "retry_after": retry_after_s, "global": False},
            status=429,
            headers={"Retry-After": f"{retry_after_s:g}", "X-RateLimit-Scope": "user"},
        )
    return web.json_response({"message": f"{status}: planned fault", "code": 0}, status=status)


def _error(status: int, code: int, message: str, **more: object) -> web.Response:
    return web.json_response({"message": message, "code": code, **more}, status=status)


class Discord:
    """One guild of which every user is a member, and any number of webhooks."""

    def __init__(
        self, received: Received, bot_token: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`bot_token` is what callers must send; empty accepts any."""
        self._received = received
        self._bot_token = bot_token
        self._clock = clock
        self._deleted: set[str] = set()
        self._sent: dict[str, deque[float]] = defaultdict(deque)
        self._roles: dict[str, set[str]] = defaultdict(set)

    def routes(self) -> list[web.RouteDef]:
        member = "/discord/api/{version}/guilds/{guild}/members/{user}"
        hooks = ("/discord/api/webhooks/{hook}/{token}", "/discord/api/{version}/webhooks/{hook}/{token}")
        return [
            *(web.post(path, self.execute) for path in hooks),
            *(web.delete(path, self.delete) for path in hooks),
            web.get(member, self.member),
            web.put(member + "/roles/{role}", self.give),
            web.delete(member + "/roles/{role}", self.take),
        ]

    async def execute(self, request: web.Request) -> web.Response:
        """Takes a message, or refuses it as Discord would."""
        hook, token = request.match_info["hook"], request.match_info["token"]
        if not _SNOWFLAKE.fullmatch(hook) or hook in self._deleted:
            return _error(404, 10015, "Unknown Webhook")
        if not _TOKEN.fullmatch(token):
            return _error(401, 50027, "Invalid Webhook Token")
        headers, wait_s = self._limit(hook)
        if wait_s > 0:
            answer = refuse(429, round(wait_s, 3))
            answer.headers.update(headers)
            return answer
        body = await _message(request)
        if (problem := _problem(body)) is not None:
            return problem
        await self._received.add("discord", hook=hook, body=body, path=request.path)
        if request.query.get("wait") == "true":
            message = {"id": str(time.time_ns()), "type": 0, "content": body.get("content", "")}
            return web.json_response({**message, "webhook_id": hook}, headers=headers)
        return web.Response(status=204, headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        """Deletes a webhook, which is unknown from then on."""
        self._deleted.add(request.match_info["hook"])
        return web.Response(status=204)

    async def member(self, request: web.Request) -> web.Response:
        """A member with its roles."""
        if (problem := self._refused(request)) is not None:
            return problem
        user = request.match_info["user"]
        return web.json_response({"user": {"id": user}, "roles": sorted(self._roles[user])})

    async def give(self, request: web.Request) -> web.Response:
        """Gives a role; giving it twice changes nothing."""
        return await self._change(request, "give")

    async def take(self, request: web.Request) -> web.Response:
        """Takes a role; taking it twice changes nothing."""
        return await self._change(request, "take")

    async def _change(self, request: web.Request, change: str) -> web.Response:
        if (problem := self._refused(request)) is not None:
            return problem
        user, role = request.match_info["user"], request.match_info["role"]
        if not _SNOWFLAKE.fullmatch(role):
            return _error(404, 10011, "Unknown Role")
        if change == "give":
            self._roles[user].add(role)
        else:
            self._roles[user].discard(role)
        await self._received.add(
            "discord",
            role=change,
            user=user,
            role_id=role,
            guild=request.match_info["guild"],
            reason=request.headers.get("X-Audit-Log-Reason", ""),
        )
        return web.Response(status=204)

    def _refused(self, request: web.Request) -> web.Response | None:
        sent = request.headers.get("Authorization", "")
        known = sent == f"Bot {self._bot_token}" if self._bot_token else sent.startswith("Bot ")
        if not known:
            return _error(401, 0, "401: Unauthorized")
        if not _SNOWFLAKE.fullmatch(request.match_info["guild"]):
            return _error(404, 10004, "Unknown Guild")
        if not _SNOWFLAKE.fullmatch(request.match_info["user"]):
            return _error(404, 10007, "Unknown Member")
        return None

    def _limit(self, hook: str) -> tuple[dict[str, str], float]:
        """The headers of the rate limit, and the seconds to wait if it is used up."""
        now, sent = self._clock(), self._sent[hook]
        while sent and now - sent[0] >= WEBHOOK_WINDOW_S:
            sent.popleft()
        wait_s = WEBHOOK_WINDOW_S - (now - sent[0]) if len(sent) >= WEBHOOK_LIMIT else 0.0
        if wait_s <= 0:
            sent.append(now)
        reset_s = WEBHOOK_WINDOW_S - (now - sent[0])
        return {
            "X-RateLimit-Limit": str(WEBHOOK_LIMIT),
            "X-RateLimit-Remaining": str(WEBHOOK_LIMIT - len(sent)),
            "X-RateLimit-Reset": f"{time.time() + reset_s:.3f}",
            "X-RateLimit-Reset-After": f"{reset_s:.3f}",
            "X-RateLimit-Bucket": f"webhook-{hook}",
        }, wait_s


async def _message(request: web.Request) -> dict[str, Any]:
    """The message of a JSON or a multipart body; empty if there is none."""
    if request.content_type == "multipart/form-data":
        part = (await request.post()).get("payload_json")
        return _parsed(part) if isinstance(part, str) else {}
    return _parsed(await request.text())


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _problem(body: dict[str, Any]) -> web.Response | None:
    content, embeds = body.get("content") or "", body.get("embeds") or []
    if not isinstance(content, str) or not isinstance(embeds, list):
        return _error(400, 50035, "Invalid Form Body")
    if not content and not embeds and not body.get("attachments"):
        return _error(400, 50006, "Cannot send an empty message")
    if len(content) > MAX_CONTENT:
        problem = {
            "_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer in length."}]
        }
        return _error(400, 50035, "Invalid Form Body", errors={"content": problem})
    if len(embeds) > MAX_EMBEDS:
        return _error(400, 50035, "Invalid Form Body", errors={"embeds": {"_errors": []}})
    return None
