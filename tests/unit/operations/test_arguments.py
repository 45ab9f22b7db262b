"""Times and spans as commands take them."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

import pytest

from operations import arguments


@pytest.mark.parametrize("text", ["2027-01-31T12:00:00Z", "2027-01-31T07:00:00-05:00"])
def test_a_time_comes_in_utc(text: str) -> None:
    assert arguments.time(text) == datetime(2027, 1, 31, 12, tzinfo=UTC)
    assert arguments.time(text).tzinfo is UTC
    assert arguments.expiry(text) == arguments.time(text)


@pytest.mark.parametrize("text", ["2027-01-31", "2027-01-31T12:00:00", "soon", ""])
def test_a_time_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a time such as"):
        arguments.time(text)
    with pytest.raises(ArgumentTypeError, match="nor a span such as 90d"):
        arguments.expiry(text)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1s", timedelta(seconds=1)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("99999d", timedelta(days=99_999)),
    ],
)
def test_spans(text: str, span: timedelta) -> None:
    assert arguments.span(text) == span


@pytest.mark.parametrize("text", ["1w", "-1h", "h", "1.5h", "100000d", "1 h"])
def test_other_spans_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a span such as"):
        arguments.span(text)


def test_a_span_as_expiry_counts_from_now() -> None:
    before = datetime.now(UTC)
    assert before + timedelta(days=90) <= arguments.expiry("90d") <= datetime.now(UTC) + timedelta(days=90)
