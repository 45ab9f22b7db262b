"""Stands in for Telegram, Slack, Twilio and PagerDuty: checks each request's shape as they do."""

import base64
import binascii
import json
import re
import time
import uuid
from typing import Any

from aiohttp import web

from local.vendors.received import Received

MAX_TELEGRAM_TEXT = 4_096
MAX_SMS_TEXT = 1_600
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_SEVERITIES = ("critical", "error", "warning", "info")


def refuse_telegram(status: int, retry_after_s: float = 0.0) -> web.Response:
    """An error as Telegram shapes it."""
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": "planned fault"}
    if status == 429:
        seconds = max(1, round(retry_after_s))
        body["description"] = f"Too Many Requests: retry after {seconds}"
        body["parameters"] = {"retry_after": seconds}
    return web.json_response(body, status=status)


def refuse_slack(status: int, retry_after_s: float = 0.0) -> web.Response:
    """An error as Slack shapes it: a word of plain text."""
    headers = {"Retry-After": str(max(1, round(retry_after_s)))} if status == 429 else {}
    return web.Response(
        status=status, text="rate_limited" if status == 429 else "server_error", headers=headers
    )


def refuse_twilio(status: int, retry_after_s: float = 0.0) -> web.Response:
    """An error as Twilio shapes it."""
    del retry_after_s
    code = 20429 if status == 429 else 20500
    return _twilio_error(status, code, "planned fault")


def refuse_pagerduty(status: int, retry_after_s: float = 0.0) -> web.Response:
    """An error as PagerDuty shapes it."""
    headers = {"Retry-After": f"{retry_after_s:g}"} if status == 429 else {}
    body = {"status": "throttle exceeded" if status == 429 else "error", "message": "planned fault"}
    return web.json_response(body, status=status, headers=headers)


class Telegram:
    """The Bot API's sendMessage and getMe."""

    def __init__(self, received: Received) -> None:
        self._received = received

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/telegram/bot{token}/sendMessage", self.send),
            web.get("/telegram/bot{token}/getMe", self.me),
            web.post("/telegram/bot{token}/getMe", self.me),
        ]

    async def me(self, request: web.Request) -> web.Response:
        """The bot itself."""
        if not _is_bot_token(request.match_info["token"]):
            return _telegram_error(401, "Unauthorized")
        return web.json_response(
            {"ok": True, "result": {"id": 1, "is_bot": True, "username": "stand_in_bot"}}
        )

    async def send(self, request: web.Request) -> web.Response:
        """Takes a message to a chat."""
        if not _is_bot_token(request.match_info["token"]):
            return _telegram_error(401, "Unauthorized")
        body = await _fields(request)
        chat, text = body.get("chat_id"), body.get("text")
        if chat in (None, ""):
            return _telegram_error(400, "Bad Request: chat_id is empty")
        if not re.fullmatch(r"-?[0-9]+|@\w{5,}", str(chat)):
            return _telegram_error(400, "Bad Request: chat not found")
        if not isinstance(text, str) or not text.strip():
            return _telegram_error(400, "Bad Request: message text is empty")
        if len(text) > MAX_TELEGRAM_TEXT:
            return _telegram_error(400, "Bad Request: message is too long")
        entry = await self._received.add("telegram", chat=str(chat), body=body)
        result = {"message_id": entry["number"], "chat": {"id": chat}, "date": int(time.time()), "text": text}
        return web.json_response({"ok": True, "result": result})


class Slack:
    """An incoming webhook."""

    def __init__(self, received: Received) -> None:
        self._received = received

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/slack/services/{team}/{bot}/{token}", self.send)]

    async def send(self, request: web.Request) -> web.Response:
        """Takes a message."""
        if not request.match_info["team"].startswith("T") or not request.match_info["bot"].startswith("B"):
            return web.Response(status=404, text="no_service")
        body = await _fields(request)
        if not body:
            return web.Response(status=400, text="invalid_payload")
        if not (body.get("text") or body.get("blocks") or body.get("attachments")):
            return web.Response(status=400, text="no_text")
        await self._received.add("slack", body=body, path=request.path)
        return web.Response(text="ok")


class Twilio:
    """The Messages resource, which sends an SMS."""

    def __init__(self, received: Received) -> None:
        self._received = received

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/twilio/2010-04-01/Accounts/{sid}/Messages.json", self.send)]

    async def send(self, request: web.Request) -> web.Response:
        """Takes a text message."""
        sid = request.match_info["sid"]
        if not sid.startswith("AC") or not _is_basic_login(request, sid):
            return _twilio_error(401, 20003, "Authenticate")
        form = await _fields(request)
        if (problem := _sms_problem(form)) is not None:
            return problem
        await self._received.add("twilio", body=form)
        answer = {"sid": f"SM{uuid.uuid4().hex}", "status": "queued", "to": form["To"], "body": form["Body"]}
        return web.json_response({**answer, "error_code": None, "error_message": None}, status=201)


class PagerDuty:
    """The Events API, version 2."""

    def __init__(self, received: Received) -> None:
        self._received = received

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/pagerduty/v2/enqueue", self.send)]

    async def send(self, request: web.Request) -> web.Response:
        """Takes an event that triggers, acknowledges or resolves an incident."""
        body = await _fields(request)
        if errors := _pagerduty_errors(body):
            answer = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return web.json_response(answer, status=400)
        await self._received.add("pagerduty", body=body)
        key = body.get("dedup_key") or uuid.uuid4().hex
        return web.json_response(
            {"status": "success", "message": "Event processed", "dedup_key": key}, status=202
        )


async def _fields(request: web.Request) -> dict[str, Any]:
    """The fields of a JSON or form body; empty if it has none."""
    text = await request.text()
    if request.content_type == "application/x-www-form-urlencoded" and not text.lstrip().startswith("{"):
        return dict(await request.post())
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_bot_token(token: str) -> bool:
    return re.fullmatch(r"[0-9]{6,12}:[A-Za-z0-9_-]{30,50}", token) is not None


def _telegram_error(status: int, text: str) -> web.Response:
    return web.json_response({"ok": False, "error_code": status, "description": text}, status=status)


def _is_basic_login(request: web.Request, sid: str) -> bool:
    kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    # An API key (SK...) opens the account, too.
    return kind == "Basic" and (user == sid or user.startswith("SK")) and bool(password)


def _sms_problem(form: dict[str, Any]) -> web.Response | None:
    to, text = str(form.get("To", "")), str(form.get("Body", ""))
    if not to:
        return _twilio_error(400, 21604, "A 'To' phone number is required.")
    if not _NUMBER.fullmatch(to):
        return _twilio_error(400, 21211, f"Invalid 'To' Phone Number: {to}")
    if not form.get("From") and not form.get("MessagingServiceSid"):
        return _twilio_error(400, 21603, "A 'From' phone number is required.")
    if not text:
        return _twilio_error(400, 21602, "Message body is required.")
    if len(text) > MAX_SMS_TEXT:
        return _twilio_error(400, 21617, "The message body exceeds the 1600 character limit.")
    return None


def _twilio_error(status: int, code: int, text: str) -> web.Response:
    link = f"https://www.twilio.com/docs/errors/{code}"
    return web.json_response(
        {"code": code, "message": text, "more_info": link, "status": status}, status=status
    )


def _pagerduty_errors(body: dict[str, Any]) -> list[str]:
    errors = []
    if not re.fullmatch(r"[A-Za-z0-9]{32}", str(body.get("routing_key", ""))):
        errors.append("'routing_key' is missing or blank")
    action = body.get("event_action")
    if action not in ("trigger", "acknowledge", "resolve"):
        errors.append("'event_action' is missing or invalid")
    if action in ("acknowledge", "resolve") and not body.get("dedup_key"):
        errors.append("'dedup_key' is missing or blank")
    if action == "trigger":
        payload = body.get("payload")
        payload = payload if isinstance(payload, dict) else {}
        errors += [
            f"'payload.{name}' is missing or blank" for name in ("summary", "source") if not payload.get(name)
        ]
        if payload.get("severity") not in _SEVERITIES:
            errors.append("'payload.severity' is invalid (must be one of: critical, warning, error or info)")
        if len(str(payload.get("summary", ""))) > 1024:
            errors.append("'payload.summary' is too long")
    return errors
