"""Each timer runs its service's method; the table is what the sample settings say."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from functions import timers
from functions.timer_table import TIMERS, Timer
from shared.adapters.sealing import unseal
from shared.credentials import Credentials
from shared.domain.access.exports import read_export
from shared.domain.access.plans import Overrides
from shared.domain.confidence.models import Outcome
from shared.domain.market.outcomes import OutcomeBar, SettledSignal, SignalToSettle
from shared.metrics import MetricName
from shared.settings import TelemetrySettings
from tests.support.api import EXPORT_PRIVATE_KEY, Api
from tests.support.app import functions
from tests.support.market import simulated_es
from tests.support.memory_connections import Row
from tests.support.memory_signals import Entry
from tests.support.places import ROOT

SAMPLE = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]


async def fire(name: str) -> None:
    await functions()[name].get_user_function()(None)


def test_the_sample_settings_have_every_schedule_of_the_table() -> None:
    assert {name: value for name, value in SAMPLE.items() if name.endswith("_SCHEDULE")} == {
        row.setting: row.schedule for row in TIMERS
    }


def test_every_row_is_a_function_with_its_schedule_and_purpose() -> None:
    triggers = {
        name: function.get_trigger()
        for name, function in functions().items()
        if function.get_trigger().type == "timerTrigger"
    }
    assert {name: trigger.schedule for name, trigger in triggers.items()} == {
        row.name: f"%{row.setting}%" for row in TIMERS
    }
    for row in TIMERS:
        run = functions()[row.name].get_user_function()
        assert run.__doc__ == row.purpose
        assert run.__module__ == "functions.timers"
        assert run.__name__ == run.__qualname__


def test_every_row_is_well_formed() -> None:
    assert len({row.name for row in TIMERS}) == len({row.setting for row in TIMERS}) == len(TIMERS)
    for row in TIMERS:
        assert row.name.startswith("timer_")
        assert row.setting.endswith("_SCHEDULE")
        assert len(row.schedule.split()) == 6
        assert row.purpose.endswith(".")


async def test_the_engine_catches_up_and_pushes(api: Api) -> None:
    bars = simulated_es()[:400]
    signals = 0
    for one in bars:
        api.clock.time = one.close_time
        await api.stores.bars.insert("ES", [one], "live", one.close_time)
        await fire("timer_signal_engine")
        signals = len(api.stores.signals.published["ES"])
    assert signals
    assert len(api.hub.sent) == signals
    assert api.counts == {"signals_published": signals}


async def test_the_relay_sends_what_waits(api: Api) -> None:
    api.stores.outbox.waiting["ES"] += [Entry(n, b'{"n": %d}' % n) for n in (1, 2)]
    await fire("timer_outbox_relay")
    assert api.hub.sent == [("symbol.ES", {"n": 1}), ("symbol.ES", {"n": 2})]


@pytest.mark.parametrize("telemetry", [True, False])
async def test_the_relay_reads_measurements_again_if_telemetry_is_on(api: Api, telemetry: bool) -> None:
    file = "spans.jsonl" if telemetry else ""
    api.services.settings = replace(api.services.settings, telemetry=TelemetrySettings(file=file))
    await fire("timer_outbox_relay")
    depth = api.services.measurements.points(MetricName.OUTBOX_DEPTH)
    assert [point.value for point in depth] == ([0] if telemetry else [])


async def test_the_heartbeat_tells_every_connection_the_last_sequence_of_each_symbol(api: Api) -> None:
    await fire("timer_heartbeat")
    ((group, message),) = api.hub.sent
    assert group == "heartbeats"
    assert message == {
        "type": "heartbeat",
        "version": 2,
        "event_at": "2026-03-02T14:30:00Z",
        "sequences": dict.fromkeys(api.services.strategies.symbols, 0),
    }


async def test_training_settles_signals_trains_every_strategy_and_reviews_trades(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = api.clock()
    signal = SignalToSettle(
        symbol="ES",
        sequence=7,
        side="LONG",
        price=Decimal(6500),
        stop_price=None,
        target_price=Decimal(6501),
        event_at=now - timedelta(minutes=30),
        bars=[OutcomeBar(now - timedelta(minutes=30), Decimal(6502), Decimal(6499), Decimal(6500))],
    )
    api.stores.training.undecided.append(signal)
    asked: list[tuple[str, Any]] = []

    async def outcomes(strategy: str, *, before: Any, limit: int) -> list[Outcome]:
        assert api.stores.training.settled, "what this run settles, it trains on"
        asked.append((strategy, before))
        return []

    monkeypatch.setattr(api.stores.training, "outcomes", outcomes)
    await fire("timer_training")
    assert api.stores.training.settled == [SettledSignal("ES", 7, True)]
    assert asked == [(name, now) for name in api.services.strategies]
    assert api.stores.suspicions.reviewed_since == [now - timedelta(days=1)]


async def test_licenses_past_their_expiry_are_ended(api: Api) -> None:
    licenses = api.services.license_service("tester")
    end = api.clock() + timedelta(minutes=1)
    due = await licenses.create_license("acct-1", overrides=Overrides(symbols=("ES",)), expires_at=end)
    other = await licenses.create_license(
        "acct-2", overrides=Overrides(symbols=("ES",)), expires_at=end + timedelta(minutes=1)
    )
    await fire("timer_endings")
    assert api.hub.closed == []
    api.clock.forward(60)
    await fire("timer_endings")
    assert api.hub.closed == [f"license.{due.license_id}"]
    assert api.key_store.licenses[due.license_id].status == "expired"
    assert api.key_store.licenses[other.license_id].status == "active"
    assert ("timer", "license expired", due.license_id) in api.audit.entries


async def test_connections_are_compared_with_those_of_the_hub(api: Api) -> None:
    connections = api.stores.connections
    connections.rows["gone"] = Row("lic_Ab0000000000", opened_at=-60.0, checked_at=-60.0)
    api.hub.connections["license.lic_Ab0000000000"] = ["here"]
    await fire("timer_connections")
    assert connections.of("lic_Ab0000000000") == ["here"]


async def test_the_export_is_sealed_for_its_owner_and_counted(api: Api) -> None:
    key = await api.key()
    await fire("timer_license_export")
    (name, *_) = api.exports.blobs
    assert name.startswith("daily/2026-03-02T143000Z-")
    found = read_export(unseal(api.exports.blobs[name], [EXPORT_PRIVATE_KEY]))
    assert [each.public_id for each in found.apikeys] == [key.key.public_id]
    assert api.counts == {"license_exports": 1}


async def test_without_a_key_nothing_is_exported(api: Api) -> None:
    api.services.settings = replace(api.services.settings, license_export_key="")
    api.services.credentials = Credentials(api.services.settings)
    await fire("timer_license_export")
    assert (api.exports.blobs, api.counts) == ({}, {})


async def test_upkeep_runs_by_the_wall_clock(api: Api) -> None:
    await fire("timer_upkeep")
    now = api.clock()
    assert api.stores.upkeep.calls == [
        ("partitions to 3 months later", now),
        ("outbox", now - timedelta(days=2)),
        ("signals", now - timedelta(days=90)),
        ("bars", now - timedelta(days=730)),
        ("test signals", now - timedelta(days=1)),
        ("claims", now - timedelta(days=30)),
        ("notifications", now - timedelta(days=30)),
        ("misuse", now - timedelta(days=90)),
    ]


@pytest.mark.parametrize("row", TIMERS, ids=lambda row: row.name)
async def test_an_outage_is_a_warning_without_a_traceback(
    api: Api, row: Timer, caplog: pytest.LogCaptureFixture
) -> None:
    api.stores.server.away = api.hub.away = api.key_store.away = api.redis.away = True
    await fire(row.name)
    assert caplog.records
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert not any(record.exc_info for record in caplog.records)


async def test_a_defect_in_a_timer_is_an_error(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(now: datetime) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(api.services.upkeep, "run", fail)
    with pytest.raises(LookupError):
        await fire("timer_upkeep")


def test_a_timer_that_is_not_in_the_table_cannot_be_registered() -> None:
    with pytest.raises(KeyError):
        timers.timer("timer_of_somebody_else")
