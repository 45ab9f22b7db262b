"""What the example bot does when a region is lost: it loses no signal, acts on none twice, reports again."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.example_modules import load

connection = load("connection")
signal_order = load("signal_order")


def numbered(number: int, content: int | None = None) -> dict[str, Any]:
    """A message with this sequence; equal `content` means that a publisher sent the same signal again."""
    told = {"strategy": "s", "kind": "entry", "side": "LONG", "price": "1", "event_at": content or number}
    return {"sequence": number, "signal": {"sequence": number, **told}}


def test_a_gap_that_the_server_lists_does_not_stop_the_bot() -> None:
    """A region was lost after 7; the next one continues far behind, and never gives 5 to 1,000 again."""
    sequence = signal_order.Sequence(acted=4)
    for number in (5, 7):
        sequence.offer(numbered(number))
    assert [message["sequence"] for message in sequence.ready()] == [5]
    ready, void = sequence.fill([numbered(1001), numbered(1002)], 1002)
    assert [message["sequence"] for message in ready] == [7, 1001, 1002]
    assert void == 1002 - 5 - 3
    sequence.offer(numbered(1003))
    assert [message["sequence"] for message in sequence.ready()] == [1003]


def test_a_heartbeat_after_a_gap_without_signals_moves_the_bot_forward() -> None:
    sequence = signal_order.Sequence(acted=4)
    assert sequence.fill([], 1000) == ([], 996)
    assert sequence.fill([], 1000) == ([], 0)
    assert not sequence.is_missing(time.monotonic())


def test_a_server_that_lags_behind_never_moves_the_bot_back() -> None:
    sequence = signal_order.Sequence(acted=9)
    assert sequence.fill([], 6) == ([], 0)
    assert sequence.acted == 9


@given(st.integers(0, 5), st.integers(0, 5), st.data())
def test_each_signal_is_acted_on_once_across_the_loss_of_a_region(
    seen: int, lost: int, data: st.DataObject
) -> None:
    """The bot saw `seen` of the signals 1 to seen + lost; the publisher repeats any that the copy lacked."""
    sequence = signal_order.Sequence(acted=0)
    published = seen + lost
    copied = data.draw(st.integers(0, published))
    acted: list[int] = []

    def act(messages: list[dict[str, Any]]) -> None:
        acted.extend(
            message["signal"]["event_at"] for message in messages if not sequence.is_repeat(message["signal"])
        )

    for number in range(1, seen + 1):
        sequence.offer(numbered(number))
        act(list(sequence.ready()))
    kept = [numbered(number) for number in range(sequence.acted + 1, copied + 1)]
    again = [numbered(1_000 + n, content) for n, content in enumerate(range(copied + 1, published + 1))]
    listed = [*kept, *again]
    ready, _ = sequence.fill(listed, listed[-1]["sequence"] if listed else 999)
    act(ready)
    assert acted == list(range(1, published + 1))


def test_equal_signals_without_a_gap_are_different_signals() -> None:
    sequence = signal_order.Sequence(acted=0)
    assert not sequence.is_repeat(numbered(1, 1)["signal"])
    assert not sequence.is_repeat(numbered(2, 1)["signal"])


class Server:
    """Keeps each reported trade, as the server does; `lose` forgets those that a copy did not have."""

    def __init__(self) -> None:
        self.trades: dict[str, dict[str, Any]] = {}

    def call(self, method: str, path: str, patience_s: float, json: dict[str, Any]) -> dict[str, Any]:
        assert (method, path) == ("POST", "/api/trades")
        results = []
        for trade in json["trades"]:
            known = trade["trade_id"] in self.trades
            self.trades[trade["trade_id"]] = trade
            results.append({"trade_id": trade["trade_id"], "status": "duplicate" if known else "recorded"})
        return {"accepted": len(results), "results": results, "refused": []}

    def lose(self, trade_id: str) -> None:
        del self.trades[trade_id]


def test_trades_that_a_lost_region_had_acknowledged_are_reported_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "REPORT_EVERY_S", 0.01)
    server = Server()
    reporter = connection.Reporter(server, connection.Journal(True), lambda reason: None)
    for n in range(3):
        reporter.add({"trade_id": f"t{n}"})
    deadline = time.monotonic() + 10
    while reporter.acknowledged < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server.lose("t1")
    reporter.report_again()
    while reporter.acknowledged < 6:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert reporter.flush() == 0
    assert sorted(server.trades) == ["t0", "t1", "t2"]
    assert '"event": "report_again"' in capsys.readouterr().out
