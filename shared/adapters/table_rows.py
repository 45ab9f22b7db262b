"""Describes how licenses, keys and endings are stored as rows of Azure Table Storage."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from shared.domain.access.endings import Ending
from shared.domain.access.keys import shard_of_public_id
from shared.domain.access.licenses import ApiKey, License, shard_of_license_id
from shared.errors import KeyStoreUnavailable, NotFound, Unavailable

LICENSES = "licenses"
API_KEYS = "apikeys"
ENDINGS = "endings"
TABLES = (LICENSES, API_KEYS, ENDINGS)
# The one partition of the table of endings, so that one query in order of time finds those that are due.
ENDINGS_SHARD = "endings"


def unavailable(internal: str) -> Unavailable:
    """Returns the error that callers get if the store cannot answer; `internal` is for the log."""
    return KeyStoreUnavailable(
        "The store of licenses and keys cannot be reached.",
        internal=internal,
        retry_after_s=1,
    )


class Kind[T](NamedTuple):
    """How a struct is stored in its table; the field `composite` is no scalar and becomes JSON text."""

    name: str
    table: str
    struct: type[T]
    composite: str
    shard: Callable[[str], str]


LICENSE = Kind("license", LICENSES, License, "overrides", shard_of_license_id)
KEY = Kind("API key", API_KEYS, ApiKey, "scopes", shard_of_public_id)


def missing[T](kind: Kind[T], row: str) -> NotFound:
    return NotFound(f"There is no {kind.name} {row[:64]}.")


def entity_of[T](kind: Kind[T], row: str, struct: T) -> dict[str, Any]:
    values = {name: getattr(struct, name) for name in kind.struct.__annotations__}
    values[kind.composite] = msgspec.json.encode(values[kind.composite]).decode()
    # An absent property means None, because Table Storage has no null.
    present = {name: value for name, value in values.items() if value is not None}
    return {"PartitionKey": kind.shard(row), "RowKey": row, **present}


def row_of[T](kind: Kind[T], entity: Mapping[str, Any]) -> T:
    values: dict[str, Any] = dict(entity)
    for name, value in values.items():
        if isinstance(value, datetime):
            # Converts the SDK's own subclass to a plain datetime.
            values[name] = datetime.combine(value.date(), value.timetz()).astimezone(UTC)
    try:
        values[kind.composite] = msgspec.json.decode(str(values.get(kind.composite)))
        return msgspec.convert(values, kind.struct)
    except msgspec.MsgspecError as error:
        raise unavailable(f"a row of {kind.table} is damaged: {error}") from error


def moment_of(at: datetime) -> str:
    """`at` as the beginning of an ending's row name: the order of names is the order of time."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%f}"


def ending_row(ending: Ending) -> dict[str, Any]:
    name = f"{moment_of(ending.at)}_{ending.subject}"
    return {"PartitionKey": ENDINGS_SHARD, "RowKey": name, "closes": ending.closes}


def ending_of(entity: Mapping[str, Any]) -> Ending:
    """The ending that a row describes; raises KeyStoreUnavailable if its name is none of ours."""
    moment, _, subject = str(entity["RowKey"]).partition("_")
    try:
        at = datetime.strptime(moment, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
    except ValueError as error:
        raise unavailable(f"a row of {ENDINGS} is damaged: {error}") from error
    return Ending(at, subject, closes=bool(entity.get("closes")))
