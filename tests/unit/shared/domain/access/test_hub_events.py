"""When a client's token was made."""

import pytest

from shared.domain.access.hub_events import ConnectRequest


@pytest.mark.parametrize(
    ("claims", "issued_at"),
    [
        ({}, 0),
        ({"iat": []}, 0),
        ({"iat": ["1760364000"]}, 1_760_364_000),
        ({"iat": ["1", "2"]}, 1),
        ({"iat": ["0"]}, 0),
        ({"iat": ["9" * 12]}, 999_999_999_999),
        ({"iat": ["9" * 13]}, 0),
        ({"iat": ["-1"]}, 0),
        ({"iat": ["1.5"]}, 0),
        ({"iat": ["\u0661"]}, 0),
        ({"iat": [""]}, 0),
        ({"exp": ["7"]}, 0),
    ],
)
def test_a_time_that_is_none_counts_as_the_beginning(claims: dict[str, list[str]], issued_at: int) -> None:
    assert ConnectRequest(claims).issued_at == issued_at
