"""Sends to Slack, Telegram, mail, SMS and PagerDuty by apprise, and learns what the vendor answered.

Apprise says only whether a message was sent. Its plugins call `requests.post` and `smtplib.SMTP` of their
modules, so we give these modules our own two: they send as they are told, without redirects, proxies or
endless answers, and note the answer for the call that they are part of. See docs/decisions/0034.
"""

import asyncio
import smtplib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import cache
from typing import Any

from shared.adapters.notifications.answers import judged
from shared.adapters.notifications.outgoing import CONNECT_S, MAX_ANSWER_BYTES, TOTAL_S
from shared.domain.notifications.attempts import SENT, Outcome
from shared.domain.notifications.messages import Message

# The addresses that a stand-in takes the place of, by our names of the vendors.
BASES = {
    "slack": "https://hooks.slack.com",
    "telegram": "https://api.telegram.org",
    "twilio": "https://api.twilio.com",
    "pagerduty": "https://events.pagerduty.com",
}
_HTTP_PLUGINS = ("slack", "telegram", "twilio", "pagerduty")
# The last part of a thread's time is for what apprise does besides.
_THREAD_S = TOTAL_S + 5
# More than a run of the sending service has under way.
MAX_THREADS = 20
# Apprise sends in threads of its own, which inherit the context.
_noted: "ContextVar[_Noted | None]" = ContextVar("noted", default=None)


class _Noted:
    """The outcome of one call, and the stand-ins that it goes to."""

    def __init__(self, stand_ins: Mapping[str, str]) -> None:
        self.stand_ins = {BASES[name]: base.rstrip("/") for name, base in stand_ins.items() if name in BASES}
        self.outcome: Outcome | None = None

    def address(self, url: str) -> str:
        for base, stand_in in self.stand_ins.items():
            if url.startswith(f"{base}/"):
                return f"{stand_in}{url.removeprefix(base)}"
        return url


def _present() -> _Noted:
    noted = _noted.get()
    assert noted is not None
    return noted


class AppriseSender:
    """`stand_ins` maps vendors to the addresses of stand-ins; empty in a deployment."""

    def __init__(self, stand_ins: Mapping[str, str]) -> None:
        self._stand_ins = dict(stand_ins)
        # Not the loop's own threads, which are fewer than the messages under way: time would pass in a queue.
        self._threads = ThreadPoolExecutor(MAX_THREADS, "notifications")

    async def send(self, address: str, message: Message, *, to: str | None = None) -> Outcome:
        """Sends to an apprise URL, in a thread; `to` is the receiver of a mail."""
        context = copy_context()
        loop = asyncio.get_running_loop()
        sending = loop.run_in_executor(
            self._threads, context.run, _send, address, message, to, self._stand_ins
        )
        try:
            return await asyncio.wait_for(sending, _THREAD_S)
        except TimeoutError:
            return Outcome("lost", f"The answer was lost: none in {_THREAD_S:g} s.")


def fault_of(address: str) -> str | None:
    """What is wrong with an apprise URL, without the URL; None if apprise takes it."""
    return None if _plugin(address) is not None else "apprise does not take this address"


def _send(address: str, message: Message, to: str | None, stand_ins: Mapping[str, str]) -> Outcome:
    apprise, plugin = _library(), _plugin(address)
    if plugin is None:
        return Outcome("gone", "The address is none that apprise takes.")
    if to is not None:
        plugin.targets = [(False, to)]
    # Only this converts plain text into what each vendor takes, so that no mark of it has a meaning.
    sender = apprise.Apprise(plugin, asset=plugin.asset)
    noted = _Noted(stand_ins)
    _noted.set(noted)  # in the context of this thread alone
    is_sent = sender.notify(
        title=message.title if message.text else "",
        body=message.text or message.title,
        body_format=apprise.NotifyFormat.TEXT,
    )
    if noted.outcome is not None:
        return noted.outcome
    return SENT if is_sent else Outcome("refused", "The server cannot be reached, or refuses the login.")


def _plugin(address: str) -> Any:
    apprise = _library()
    asset = apprise.AppriseAsset(app_id="Signal Cloud", async_mode=False, http_redirects=False)
    plugin = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if plugin is not None:
        plugin.request_rate_per_sec = 0  # our own pace counts over all processes
        # For mails, the first of them bounds each step; requests get limits of their own below.
        plugin.socket_connect_timeout = plugin.socket_read_timeout = TOTAL_S
        for name in ("include_image", "include_footer"):
            if hasattr(plugin, name):
                setattr(plugin, name, False)
    return plugin


@cache
def _library() -> Any:
    """Apprise, whose plugins send by our modules from now on."""
    import importlib

    import apprise

    for name in _HTTP_PLUGINS:
        plugin: Any = importlib.import_module(f"apprise.plugins.{name}")
        plugin.requests = _Requests(plugin.requests)
    mail: Any = importlib.import_module("apprise.plugins.email.smtp")
    mail.smtplib = _Smtplib()
    return apprise


class _Requests:
    """The module `requests`, as far as the plugins use it."""

    def __init__(self, requests: Any) -> None:
        self._requests = requests

    def __getattr__(self, name: str) -> Any:
        if name in ("get", "put", "delete", "Session"):
            raise AttributeError(f"a plugin calls requests.{name}, which is not bounded here")
        return getattr(self._requests, name)

    def post(self, url: str, **options: Any) -> Any:
        return self.request("POST", url, **options)

    def request(self, method: str, url: str, **options: Any) -> Any:
        noted = _present()
        options |= {"allow_redirects": False, "stream": True, "timeout": (CONNECT_S, TOTAL_S - CONNECT_S)}
        errors = self._requests.exceptions
        with self._requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.request(method, noted.address(url), **options)
            except (errors.ConnectTimeout, errors.SSLError, errors.InvalidURL) as error:
                noted.outcome = Outcome("refused", f"The vendor cannot be reached: {type(error).__name__}.")
                raise
            except errors.RequestException as error:
                noted.outcome = _unanswered(error)
                raise
            # The plugins read the answer as a whole; more than this is none of theirs.
            answer._content = answer.raw.read(MAX_ANSWER_BYTES, decode_content=False) or b""
            answer._content_consumed = True
        headers = {name.lower(): value for name, value in answer.headers.items()}
        noted.outcome = judged(answer.status_code, headers, answer._content)
        return answer


def _unanswered(error: Exception) -> Outcome:
    """A connection that was never made delivers nothing; any other error may have lost the answer alone."""
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    reason = error.args[0] if error.args else None
    inner = reason.reason if isinstance(reason, MaxRetryError) else reason
    if isinstance(inner, NewConnectionError):
        return Outcome("refused", "The vendor cannot be reached.")
    return Outcome("lost", f"The answer was lost: {type(error).__name__}.")


class _Smtplib:
    """The module `smtplib`, whose connections note the outcome of a mail."""

    def __init__(self) -> None:
        self.SMTP = _noting(smtplib.SMTP)
        self.SMTP_SSL = _noting(smtplib.SMTP_SSL)

    def __getattr__(self, name: str) -> Any:
        return getattr(smtplib, name)


def _noting(base: type[smtplib.SMTP]) -> type[smtplib.SMTP]:
    class Noting(base):  # type: ignore[valid-type, misc]  # one of two classes
        def sendmail(self, *given: Any, **options: Any) -> dict[str, tuple[int, bytes]]:
            noted = _present()
            try:
                refused: dict[str, tuple[int, bytes]] = super().sendmail(*given, **options)
            except (smtplib.SMTPServerDisconnected, TimeoutError, ConnectionError):
                noted.outcome = Outcome("lost", "The answer was lost: the mail server disconnected.")
                raise
            except smtplib.SMTPException as error:
                noted.outcome = Outcome("refused", f"The mail server refused: {_code_of(error)}.")
                raise
            noted.outcome = Outcome("refused", "The mail server refused the receiver.") if refused else SENT
            return refused

    return Noting


def _code_of(error: smtplib.SMTPException) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return " ".join(str(code) for code, _ in error.recipients.values())
    return str(getattr(error, "smtp_code", type(error).__name__))
