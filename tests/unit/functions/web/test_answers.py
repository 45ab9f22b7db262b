"""What every answer carries: its id, its type, and the quota that is left."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from functions.web.answers import Answer, rate_fields, response_of
from shared.domain.access.rate_limit import RateState, whole_seconds


def test_the_headers_follow_the_draft() -> None:
    fields = rate_fields(RateState(limit=100, remaining=37, reset_s=12.01))
    assert fields == ('"default";r=37;t=13', '"default";q=100;w=60')


def test_quota_comes_back_within_the_window() -> None:
    """The first request of a window: take_requests.lua says 60.000001 s."""
    limit, _ = rate_fields(RateState(limit=100, remaining=99, reset_s=60.000001))
    assert limit == '"default";r=99;t=60'


@given(st.integers(1, 100_000), st.floats(0, 60))
def test_who_waits_as_told_has_waited_long_enough(limit: int, reset_s: float) -> None:
    state = RateState(limit=limit, remaining=0, reset_s=reset_s)
    told = re.fullmatch(r'"default";r=0;t=(\d+)', rate_fields(state)[0])
    assert told is not None
    assert reset_s <= int(told[1]) <= reset_s + 1
    assert max(1, int(told[1])) == whole_seconds(reset_s)


def test_a_value_is_encoded_and_bytes_are_sent_as_they_are() -> None:
    assert json.loads(response_of(Answer({"a": 1}), "id-1", None).get_body()) == {"a": 1}
    assert response_of(Answer(b"ready"), "id-1", None).get_body() == b"ready"


def test_an_answer_carries_its_id_its_type_and_what_it_adds() -> None:
    response = response_of(
        Answer({}, 201, "text/x", {"allow": "GET", "cache-control": "public"}), "id-1", None
    )
    assert (response.status_code, response.mimetype) == (201, "text/x")
    assert dict(response.headers) == {
        "x-request-id": "id-1",
        "content-type": "text/x",
        "x-content-type-options": "nosniff",
        "cache-control": "public",
        "allow": "GET",
    }


def test_an_answer_may_not_be_stored_and_is_json_unless_it_says_otherwise() -> None:
    response = response_of(Answer({}), "id-1", RateState(100, 37, 12.01))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["ratelimit"] == '"default";r=37;t=13'
    assert response.headers["ratelimit-policy"] == '"default";q=100;w=60'
