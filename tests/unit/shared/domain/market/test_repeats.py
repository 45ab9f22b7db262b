"""Whether a request repeats an earlier signal, and what is said if it does not."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from shared.domain.market.repeats import EarlierSignal, signal_of_repeat, signal_of_retry
from shared.domain.market.signals import Signal, SignalDraft
from shared.errors import Conflict
from tests.support.samples import START, a_signal

SIGNAL = msgspec.structs.replace(
    a_signal(7, START),
    strategy_version=2,
    stop_price=Decimal("6540.00"),
    features={"rsi": 28.5, "reversal": True, "session": "RTH"},
)
LATER = START + timedelta(seconds=9)


def draft(**changes: Any) -> SignalDraft:
    same = {name: getattr(SIGNAL, name) for name in SignalDraft.__struct_fields__ if hasattr(SIGNAL, name)}
    return SignalDraft(**(same | {"publisher": "acct-1", "idempotency_key": "acct-1:k"} | changes))


def differing(
    one: SignalDraft, default_times: list[str] | None = None, earlier: Signal = SIGNAL
) -> dict[str, str]:
    """The fields of the conflict; the same draft without a key is an alert, and a retry if none differs."""
    known = EarlierSignal(earlier, default_times)
    alert = msgspec.structs.replace(one, idempotency_key=None)
    assert signal_of_repeat(known, alert) == earlier
    try:
        assert signal_of_repeat(known, one) == signal_of_retry(known, one) == earlier
    except Conflict as conflict:
        assert signal_of_retry(known, alert) is None
        assert {error.code for error in conflict.errors} == {"differs"}
        return {error.field: error.message for error in conflict.errors}
    assert signal_of_retry(known, alert) == earlier
    return {}


def test_the_same_content_repeats() -> None:
    assert differing(draft(), []) == {}
    assert (
        differing(draft(price=Decimal("6543.2500"), features=dict(reversed(SIGNAL.features.items())))) == {}
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": "NQ"}, 'The earlier signal has "ES"; this request has "NQ".'),
        ({"strategy": "other"}, 'The earlier signal has "manual"; this request has "other".'),
        ({"strategy_version": 3}, "The earlier signal has 2; this request has 3."),
        ({"kind": "exit"}, 'The earlier signal has "entry"; this request has "exit".'),
        ({"side": "SHORT"}, 'The earlier signal has "LONG"; this request has "SHORT".'),
        ({"price": Decimal("6543.50")}, "The earlier signal has 6543.25; this request has 6543.5."),
        ({"stop_price": None}, "The earlier signal has 6540; this request has none."),
        ({"target_price": Decimal(6600)}, "The earlier signal has none; this request has 6600."),
        (
            {"event_at": START + timedelta(milliseconds=1)},
            "The earlier signal has 2025-09-02T13:30:00Z; this request has 2025-09-02T13:30:00.001000Z.",
        ),
        (
            {"expires_at": LATER},
            "The earlier signal has 2025-09-02T13:35:00Z; this request has 2025-09-02T13:30:09Z.",
        ),
        ({"features": {"rsi": 28.5}}, None),
        ({"features": SIGNAL.features | {"reversal": 1.0}}, None),
        ({"features": SIGNAL.features | {"session": "ETH"}}, None),
    ],
)
def test_each_field_that_differs_is_named_with_both_values(
    changes: dict[str, Any], message: str | None
) -> None:
    (field,) = changes
    found = differing(draft(**changes), [])
    assert list(found) == [field]
    assert message in (None, found[field])


def test_the_detail_names_the_earlier_signal_and_every_field() -> None:
    with pytest.raises(Conflict) as conflict:
        signal_of_repeat(EarlierSignal(SIGNAL, []), draft(symbol="NQ", price=Decimal(1)))
    assert "sequence 7 of ES with other content (symbol, price)" in conflict.value.detail


@pytest.mark.parametrize("default_times", [["event_at", "expires_at"], None])
def test_times_that_are_left_out_again_repeat(default_times: list[str] | None) -> None:
    again = draft(event_at=LATER, expires_at=LATER, default_times=("event_at", "expires_at"))
    assert differing(again, default_times) == {}


def test_a_time_that_is_left_out_or_sent_only_now_is_other_content() -> None:
    left_out = draft(event_at=LATER, expires_at=LATER, default_times=("event_at", "expires_at"))
    assert differing(left_out, []) == {
        "event_at": "The earlier signal has 2025-09-02T13:30:00Z; this request has none.",
        "expires_at": "The earlier signal has 2025-09-02T13:35:00Z; this request has none.",
    }
    assert list(differing(draft(expires_at=LATER), ["event_at", "expires_at"])) == ["expires_at"]
    # A value that equals what we filled in means the same.
    assert differing(draft(), ["event_at", "expires_at"]) == {}


def test_an_entry_and_an_exit_without_times_differ_only_in_their_kind() -> None:
    again = draft(kind="exit", expires_at=None, default_times=("event_at", "expires_at"))
    assert list(differing(again, ["event_at", "expires_at"])) == ["kind"]
