"""What is cached of a grant."""

from datetime import UTC, datetime

import msgspec

from shared.domain.access.admission import NO_TAG, TAG_BYTES, decode_record, encode_record
from shared.domain.access.rate_limit import REFUSED, Limits
from tests.support.grants import grant_of

GRANT = grant_of("acct-1", "ES")


def test_a_record_is_read_as_it_was_made() -> None:
    tag, grant = decode_record(encode_record(GRANT, Limits(7)))
    assert grant == GRANT
    assert len(tag) == len(NO_TAG) == TAG_BYTES
    assert tag != NO_TAG
    assert set(tag) <= set("0123456789abcdef")


def test_a_record_begins_with_its_revision_and_its_limit() -> None:
    changed = msgspec.structs.replace(GRANT, key=msgspec.structs.replace(GRANT.key, revision=5))
    assert encode_record(changed, Limits(7)).split(b" ")[:2] == [b"6", b"7"]
    for limits in (Limits(7, burst=2), Limits(7, license=9)):
        told = f"7/{limits.burst}/{limits.license}/lic_Ab0000000000".encode()
        assert encode_record(changed, limits).split(b" ")[:2] == [b"6", told]


def test_the_tag_follows_the_grant_and_not_the_limit() -> None:
    renewed = msgspec.structs.replace(
        GRANT, key=msgspec.structs.replace(GRANT.key, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    )
    tags = [
        decode_record(record)[0]
        for record in (encode_record(GRANT, Limits(7)), encode_record(GRANT, REFUSED))
    ]
    assert tags[0] == tags[1] != decode_record(encode_record(renewed, Limits(7)))[0]
