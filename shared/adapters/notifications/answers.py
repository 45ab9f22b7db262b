"""Reads what a vendor's answer means: delivered, or when to try again."""

from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec

from shared.adapters.notifications.outgoing import Answered, AnswerLost, NotDelivered
from shared.domain.notifications.attempts import SENT, Outcome


class _Parameters(msgspec.Struct):
    retry_after: float | None = None


class _Refusal(msgspec.Struct):
    """The fields of a refusal by Discord (`retry_after`, `global`) and by Telegram (`parameters`)."""

    retry_after: float | None = None
    parameters: _Parameters | None = None
    is_global: bool = msgspec.field(name="global", default=False)


async def outcome_of(sending: Awaitable[Answered]) -> Outcome:
    """The outcome of a request under way."""
    try:
        answer = await sending
    except NotDelivered as error:
        return Outcome("refused", str(error))
    except AnswerLost as error:
        return Outcome("lost", str(error))
    return judged(answer.status, answer.headers, answer.body)


def judged(status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
    """The outcome of an answer; `headers` are in lower case."""
    if 200 <= status < 300:
        return SENT
    error = f"The receiver answered {status}{_phrase(status)}."
    if status == HTTPStatus.GONE:
        return Outcome("gone", error)
    retry_after_s, everywhere = _asked_wait(headers, body)
    return Outcome("refused", error, retry_after_s, everywhere)


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _asked_wait(headers: Mapping[str, str], body: bytes) -> tuple[float | None, bool]:
    """The seconds until we may send again, None if the answer does not tell; and whether that is for all."""
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = _Refusal()
    inner = refusal.parameters.retry_after if refusal.parameters else None
    told = refusal.retry_after if refusal.retry_after is not None else inner
    # Discord's body has fractions of a second, its header whole ones.
    wait_s = told if told is not None else _header_wait_s(headers.get("retry-after", ""))
    return wait_s, refusal.is_global or headers.get("x-ratelimit-global") == "true"


def _header_wait_s(value: str) -> float | None:
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)
