"""Whether an event comes from our Web PubSub, by its signature."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.event_proof import AccessKeyProof, is_signed
from shared.domain.access.hub_events import HubEvent
from shared.errors import Unauthenticated

EVENT = HubEvent("connect", "c-1", "zo\u00eb")


def signature(key: bytes, connection_id: str) -> str:
    return "sha256=" + hmac.new(key, connection_id.encode(), hashlib.sha256).hexdigest()


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64), st.text(max_size=40))
def test_only_a_signature_under_one_of_the_keys_holds(key: bytes, other: bytes, connection_id: str) -> None:
    signed = signature(key, connection_id)
    assert is_signed(connection_id, f"{signature(other, connection_id)},{signed}", [key])
    # HMAC fills a key up with zero bytes to the 64 of a block (RFC 2104).
    is_same = key.rstrip(b"\0") == other.rstrip(b"\0")
    assert is_signed(connection_id, signed, [other]) == is_same
    assert not is_signed(connection_id, signed[:-1], [key])
    assert not is_signed(connection_id + "x", signed, [key])


async def test_a_connection_string_tells_origin_and_key() -> None:
    proof = AccessKeyProof("Endpoint=http://127.0.0.1;AccessKey=a+b=;Version=1.0;Port=8080;")
    assert proof.origin == "127.0.0.1:8080"
    await proof.check(EVENT, {"ce-signature": signature(b"a+b=", "c-1")})
    for headers in ({}, {"ce-signature": ""}, {"ce-signature": signature(b"another", "c-1")}):
        with pytest.raises(Unauthenticated):
            await proof.check(EVENT, headers)
