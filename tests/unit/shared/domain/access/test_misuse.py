"""What stands out, and what a stored address tells."""

from datetime import date
from ipaddress import ip_address

import msgspec
import pytest

from shared.domain.access.misuse import THRESHOLDS, Thresholds, UseFigures, hashed_address, outstanding

QUIET = UseFigures(
    addresses_per_key=1, session_fights=0, limited_hours=0, limited_percent=0, suspicious_trades=0
)
DAY = date(2026, 3, 2)
SECRET = b"s" * 32


@pytest.mark.parametrize("name", Thresholds.__struct_fields__)
def test_a_figure_stands_out_from_its_threshold_on(name: str) -> None:
    threshold = getattr(THRESHOLDS, name)
    assert outstanding(msgspec.structs.replace(QUIET, **{name: threshold - 1})) == []
    assert outstanding(msgspec.structs.replace(QUIET, **{name: threshold})) == [name]


def test_a_quiet_account_does_not_stand_out() -> None:
    assert outstanding(QUIET) == []


def test_a_hash_tells_addresses_of_a_day_apart_and_nothing_else() -> None:
    def hashed(address: str, day: date = DAY, secret: bytes = SECRET) -> bytes:
        return hashed_address(ip_address(address), day, secret)

    assert hashed("203.0.113.7") == hashed("203.0.113.7")
    assert hashed("203.0.113.7") != hashed("203.0.113.8")
    assert hashed("203.0.113.7") != hashed("203.0.113.7", date(2026, 3, 3))
    assert hashed("203.0.113.7") != hashed("203.0.113.7", DAY, b"t" * 32)
    assert len(hashed("203.0.113.7")) == 8
    assert hashed("2001:db8::1") == hashed("2001:db8::ffff"), "one network of one household"
    assert hashed("2001:db8::1") != hashed("2001:db8:0:1::1")
