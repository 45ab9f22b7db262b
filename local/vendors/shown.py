"""Writes what the stand-ins answer as lines for people."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

type Json = dict[str, Any]

# Mails have the same text as HTML, too.
_LEFT_OUT = ("number", "vendor", "at", "html")


def shown(found: Json) -> str:
    """What came in, what a customer did, or a fault that is planned, as lines."""
    if "received" in found:
        lines = [line for entry in found["received"] for line in _entry(entry)]
        return "\n".join(lines or ["nothing has come in"])
    if "deliveries" in found:
        return "\n".join(_order(found))
    if not found["count"]:
        return f"{found['vendor']} works"
    requests = "request" if found["count"] == 1 else f"{found['count']} requests"
    return f"{found['vendor']} fails its next {requests} ({found['kind']})"


def _entry(entry: Json) -> Iterator[str]:
    at = datetime.fromtimestamp(entry["at"], UTC)
    yield f"{entry['number']}  {entry['vendor']}  {at:%Y-%m-%dT%H:%M:%SZ}"
    for name, value in entry.items():
        if name in _LEFT_OUT or value in ("", None):
            continue
        first, *rest = _text(value).strip().splitlines() or [""]
        if rest:
            yield f"    {name}:"
            yield from (f"        {line}".rstrip() for line in (first, *rest))
        else:
            yield f"    {name}: {first}"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _order(found: Json) -> Iterator[str]:
    yield f"{found['subscription']} of {found['email']} ({found['customer']})"
    for delivery in found["deliveries"]:
        told = ", ".join(str(status) if status else "no answer" for status in delivery["statuses"])
        state = "taken" if delivery["is_taken"] else "not taken"
        yield f"    {delivery['kind']:<40} {state}: {told or 'not sent yet'}"
