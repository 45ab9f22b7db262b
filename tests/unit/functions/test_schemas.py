"""Schemas say what requests may have and what answers have, also of times and amounts."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest

from functions.openapi import document
from functions.schemas import schemas_of
from tests.support.requests import ADMITTING
from tests.support.strategies import STRATEGIES


class Inner(msgspec.Struct):
    amount: Decimal
    at: datetime


class Sent(msgspec.Struct):
    inner: Inner
    amounts: dict[str, Decimal]
    many: list[Inner]
    at: datetime | None
    amount: Annotated[Decimal, msgspec.Meta(description="in USD")] | None = None
    name: str = ""
    again: "Sent | None" = None


class Answered(msgspec.Struct):
    amount: Decimal
    times: tuple[datetime, ...]
    page: list[Annotated[datetime, msgspec.Meta(description="UTC")]]


TIME = {"type": "string", "format": "date-time"}
PLAIN = {"type": "string", "format": "decimal", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
AMOUNT = PLAIN | {"type": ["number", "string"]}


def test_requests_have_times_and_numbers_or_plain_decimals() -> None:
    schemas, components = schemas_of([Sent], [Sent])
    assert schemas == {Sent: {"$ref": "#/components/schemas/Sent"}}
    assert components["Inner"]["properties"] == {"amount": AMOUNT, "at": TIME}
    sent = components["Sent"]["properties"]
    assert sent["amounts"]["additionalProperties"] == AMOUNT
    assert sent["at"] == {"anyOf": [TIME, {"type": "null"}]}
    assert sent["amount"]["anyOf"] == [AMOUNT | {"description": "in USD"}, {"type": "null"}]
    assert sent["name"]["type"] == "string"
    assert "format" not in sent["name"]


def test_answers_have_amounts_as_plain_decimals() -> None:
    _, components = schemas_of([Answered, Sent], [Sent])
    answered = components["Answered"]["properties"]
    assert answered["amount"] == PLAIN
    assert answered["times"]["items"] == TIME
    assert answered["page"]["items"] == TIME | {"description": "UTC"}
    assert components["Inner"]["properties"]["amount"] == AMOUNT


@pytest.mark.parametrize("amount", [1, 1.5, "1", "-1.50", 0])
def test_what_the_decoder_accepts_as_an_amount_follows_the_schema(amount: Any) -> None:
    msgspec.convert({"amount": amount, "at": "2026-03-02T14:30:00Z"}, Inner)
    jsonschema.validate(amount, AMOUNT)


@pytest.mark.parametrize("route", [route for route, (_, given) in ADMITTING.items() if "body" in given])
def test_accepted_bodies_follow_the_document(route: tuple[str, str]) -> None:
    method, path = route
    described: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(STRATEGIES)))
    content = described["paths"][f"/{path}"][method.lower()]["requestBody"]["content"]
    schema = content["application/json"]["schema"] | {"components": described["components"]}
    jsonschema.validate(ADMITTING[route][1]["body"], schema, cls=jsonschema.Draft202012Validator)
