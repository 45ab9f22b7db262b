"""What every answer carries: its id, its type, and the quota that is left."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from functions.web.answers import Answer, add_rate_fields, response_of, without_body
from shared.domain.access.rate_limit import LimitState, RateState, whole_seconds


def fields_of(rate: RateState) -> dict[str, str]:
    headers: dict[str, str] = {}
    add_rate_fields(headers, rate)
    return headers


def test_the_headers_follow_the_draft_and_the_older_names_say_the_same() -> None:
    assert fields_of(RateState(limit=100, remaining=37, reset_s=12.01)) == {
        "ratelimit": '"default";r=37;t=13',
        "ratelimit-policy": '"default";q=100;w=60',
        "x-ratelimit-limit": "100",
        "x-ratelimit-remaining": "37",
        "x-ratelimit-reset": "13",
    }


def test_quota_comes_back_within_the_window() -> None:
    """The first request of a window: take_requests.lua says 60.000001 s."""
    fields = fields_of(RateState(limit=100, remaining=99, reset_s=60.000001))
    assert (fields["ratelimit"], fields["x-ratelimit-reset"]) == ('"default";r=99;t=60', "60")


def test_further_limits_follow_the_keys_and_the_older_names_say_the_tightest() -> None:
    burst, license_ = LimitState("burst", 5, 1, None, 0.0), LimitState("license", 150, 60, 9, 30.2)
    fields = fields_of(RateState(100, 37, 12.01, (burst, license_)))
    assert fields == {
        "ratelimit": '"default";r=37;t=13, "license";r=9;t=31',
        "ratelimit-policy": '"default";q=100;w=60, "burst";q=5;w=1, "license";q=150;w=60',
        "x-ratelimit-limit": "150",
        "x-ratelimit-remaining": "9",
        "x-ratelimit-reset": "31",
    }
    refused = fields_of(RateState(100, 3, 12.01, (LimitState("burst", 5, 1, 0, 0.3),), "burst"))
    assert refused["ratelimit"] == '"default";r=3;t=13, "burst";r=0;t=1'
    assert (refused["x-ratelimit-remaining"], refused["x-ratelimit-limit"]) == ("3", "100")


def test_a_head_keeps_the_headers_and_states_the_length() -> None:
    response = without_body(response_of(Answer({"a": 1}), "id-1", None))
    assert (response.get_body(), response.headers["content-length"]) == (b"", "7")
    assert response.headers["content-type"] == "application/json"


@given(st.integers(1, 100_000), st.floats(0, 60))
def test_who_waits_as_told_has_waited_long_enough(limit: int, reset_s: float) -> None:
    state = RateState(limit=limit, remaining=0, reset_s=reset_s)
    fields = fields_of(state)
    told = re.fullmatch(r'"default";r=0;t=(\d+)', fields["ratelimit"])
    assert told is not None
    assert told[1] == fields["x-ratelimit-reset"]
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
