"""False trades of an account move nobody else's confidence, on real PostgreSQL and in real training."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from loadtests.bench.past_signals import AlwaysOpen, draft_of, result_bar
from shared.adapters.inference import OnnxInference
from shared.adapters.postgres import (
    BarStore,
    Database,
    ModelStore,
    SignalStore,
    TradeStore,
    TrainingStore,
    Upkeep,
)
from shared.adapters.training_process import TrainingProcess
from shared.domain.confidence.models import Basis, Outcome, served
from shared.domain.confidence.safeguards import counted
from shared.domain.market.signals import Signal
from shared.domain.trading.trades import Trade
from shared.services.settlement import SettlementService
from shared.services.training import TrainingService
from tests.support.outcomes import made_outcomes
from tests.support.published import batches, publish, trade_of
from tests.support.strategies import DEFAULT, STATES, STRATEGIES

FIRST = datetime(2025, 9, 2, 14, tzinfo=UTC)
NOW = datetime(2025, 10, 17, tzinfo=UTC)
HONEST = 10
MOST = 0.02
ASKED = [
    STATES.read(
        msgspec.json.encode({"symbol": "ES", "signal_type": "LONG", "vwap_distance": distance, "rsi": rsi})
    )
    for distance, rsi in ((3.9, 8), (2.0, 50), (0.6, 92))
]
Reports = dict[str, list[Trade]]


class World:
    """Signals of three symbols with bars and of YM, which has none, and what honest accounts reported."""

    def __init__(self, database: Database, outcomes: list[Outcome], signals: list[Signal]) -> None:
        self.database = database
        self.signals = signals
        self.won = {(one.symbol, one.entry_at): one.won for one in outcomes}

    def has_won(self, signal: Signal) -> bool:
        return self.won[signal.symbol, signal.event_at]

    async def report(self, reports: Reports) -> None:
        store = TradeStore(self.database)
        for account, trades in reports.items():
            for batch in batches(trades):
                await store.record(account, "abcdef", batch)

    async def served(self) -> tuple[Basis, list[float]]:
        """What is served after a training run without a former champion, for each state of ASKED."""
        models = ModelStore(self.database)
        training = TrainingService(
            strategies=STRATEGIES,
            outcomes=TrainingStore(self.database),
            models=models,
            trainer=TrainingProcess(),
            count=lambda name, count=1: None,
        )
        await SettlementService(TrainingStore(self.database), STRATEGIES, AlwaysOpen()).run(NOW)
        report = await training.run(DEFAULT, NOW)
        champion = await models.champion(DEFAULT.name)
        assert champion is not None, report
        model = served(champion, DEFAULT)
        if model.artefact is None:
            return "base_rate", [model.base_rate] * len(ASKED)
        inference = OnnxInference()
        await inference.load(model)
        return "model", inference.probabilities(model, ASKED)


async def made_world(database: Database, signal: float) -> World:
    # The trades are too old for reports to make their partitions.
    await Upkeep(database).ensure_partitions(FIRST, 2)
    decided = made_outcomes(600, seed=11, signal=signal, start=FIRST)
    chance = made_outcomes(150, seed=12, signal=0, start=FIRST + timedelta(minutes=3))
    silent = [msgspec.structs.replace(one, symbol="YM") for one in chance]
    signals = await publish(database, decided)
    signals += await publish(database, silent, with_bars=False)
    world = World(database, decided + silent, signals)
    await world.report(
        {
            f"honest-{account}": [
                trade_of(one, f"h-{one.symbol}-{one.sequence}", won=world.has_won(one))
                for one in signals[account % 3 :: 3]
            ]
            for account in range(HONEST)
        }
    )
    return world


def volume(world: World) -> Reports:
    """48,500 won trades of one license: some follow no signal, the others one or another."""
    return {
        "attacker": [
            trade_of(
                signal,
                f"v-{n}",
                won=True,
                signal_sequence=signal.sequence if n % 2 else None,
                exit_at=NOW - timedelta(seconds=n),
            )
            for n, signal in ((n, world.signals[n % len(world.signals)]) for n in range(48_500))
        ]
    }


def chosen_features(world: World) -> Reports:
    """2,000 trades that teach the opposite of the truth: near the VWAP one wins, far from it one loses."""
    kinds = (({"vwap_distance": 0.6, "rsi": 92.0}, True), ({"vwap_distance": 3.9, "rsi": 8.0}, False))
    return {
        "attacker": [
            trade_of(world.signals[n % len(world.signals)], f"c-{n}", won=won, features=features)
            for n, (features, won) in ((n, kinds[n % 2]) for n in range(2_000))
        ]
    }


def slow_drip(world: World) -> Reports:
    """20 won trades each day for 30 days, each on a signal of that day and dated like an honest one."""
    return {"attacker": [trade_of(one, f"d-{n}", won=True) for n, one in enumerate(world.signals[:600])]}


def twenty_colluding(world: World) -> Reports:
    """20 accounts, each with a hundredth of the honest volume, all on signals that no bars decide."""
    silent = [one for one in world.signals if one.symbol == "YM"]
    each = HONEST * len(world.signals) // 3 // 100
    return {
        f"colluder-{account}": [
            trade_of(silent[(account * each + n) % len(silent)], f"x-{n}", won=True) for n in range(each)
        ]
        for account in range(20)
    }


def every_signal_won(world: World) -> Reports:
    """Nothing else is faked: one account says of all published signals that they won."""
    return {"attacker": [trade_of(one, f"e-{n}", won=True) for n, one in enumerate(world.signals)]}


def only_winners(world: World) -> Reports:
    """True reports alone, of the signals that are known to have won."""
    winners = [one for one in world.signals if world.has_won(one)]
    return {f"late-{n}": [trade_of(one, "w-1", won=True)] for n, one in enumerate(winners[:50])}


@pytest.fixture(scope="module", params=[(1.5, "model"), (0.0, "base_rate")], ids=["model", "base_rate"])
def honest(
    request: pytest.FixtureRequest, postgres_url: str, migrated_template: str
) -> Iterator[tuple[str, World, tuple[Basis, list[float]]]]:
    """A database without any false trade, for each attack to copy, and what it serves."""
    signal, basis = request.param
    name = f"honest_{basis}"
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {migrated_template}")

    async def prepared() -> tuple[World, tuple[Basis, list[float]]]:
        database = Database(url, role="signal_functions", pool_size=2)
        world = await made_world(database, signal)
        found = await world.served()
        await database.close()
        return world, found

    world, found = asyncio.run(prepared())
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("truncate models")
    assert found[0] == basis, "honest data promotes what it promoted before"
    yield name, world, found
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.mark.parametrize(
    "attack",
    [volume, chosen_features, slow_drip, twenty_colluding, every_signal_won, only_winners],
    ids=lambda attack: attack.__name__,
)
async def test_false_trades_do_not_move_anothers_confidence(
    honest: tuple[str, World, tuple[Basis, list[float]]],
    postgres_url: str,
    attack: Callable[[World], Reports],
) -> None:
    template, former, (basis, before) = honest
    name = f"attacked_by_{attack.__name__}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    database = Database(
        psycopg.conninfo.make_conninfo(postgres_url, dbname=name), role="signal_functions", pool_size=2
    )
    world = World(database, [], former.signals)
    world.won = former.won
    await world.report(attack(world))
    found, after = await world.served()
    await database.close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
    assert found == basis
    assert max(abs(new - old) for new, old in zip(after, before, strict=True)) < MOST


@pytest.mark.parametrize("late", [timedelta(minutes=3), timedelta(days=40)])
async def test_a_publisher_cannot_sell_hindsight(database: Database, late: timedelta) -> None:
    """A signal that is published after the first bar of its time does not train, whatever it says."""
    known = made_outcomes(30, seed=5, signal=0, start=FIRST)
    winners = [one for one in known if one.won]
    assert winners
    for one in known:
        (signal,) = await publish(database, [one], with_bars=False)
        course = [result_bar(one)]
        # Quiet minutes after the first, so that a late signal has bars that nobody knew before it.
        course += [
            msgspec.structs.replace(course[0], open_time=one.entry_at + timedelta(minutes=minute))
            for minute in range(1, 6)
        ]
        for bar in course:
            await BarStore(database).insert(signal.symbol, [bar], "live", bar.close_time)
    for one in winners:
        draft = msgspec.structs.replace(draft_of(one), received_at=one.entry_at + late)
        await SignalStore(database).publish(draft)
    store = TrainingStore(database)
    await SettlementService(store, STRATEGIES, AlwaysOpen()).run(NOW)
    outcomes = await store.outcomes("vwap_bounce", before=NOW, limit=100)
    assert [one.won for one in outcomes] == [one.won for one in known]


async def test_a_feeder_cannot_correct_bars_until_a_signal_has_won(database: Database) -> None:
    """A correction makes results unknown; it turns none, and makes no late signal look like an early one."""
    known = made_outcomes(30, seed=5, signal=0, start=FIRST)
    losers = [one for one in known if not one.won]
    assert losers
    bars = BarStore(database)
    for one in known:
        (signal,) = await publish(database, [one], with_bars=False)
        first = result_bar(one)
        course = [
            msgspec.structs.replace(first, open_time=first.open_time + timedelta(minutes=minute))
            for minute in range(6)
        ]
        for bar in course:
            await bars.insert(signal.symbol, [bar], "live", bar.close_time)
        # A publisher who has seen the result sells it again, then corrects every bar of it.
        seen_at = course[-1].close_time
        await SignalStore(database).publish(msgspec.structs.replace(draft_of(one), received_at=seen_at))
        changed = [msgspec.structs.replace(bar, volume=bar.volume + 1) for bar in course]
        stored = await bars.insert(signal.symbol, changed, "live", seen_at + timedelta(minutes=1))
        assert stored.corrected == len(course)
    for one in losers:
        await bars.insert(one.symbol, [result_bar(msgspec.structs.replace(one, won=True))], "live", NOW)
    store = TrainingStore(database)
    await SettlementService(store, STRATEGIES, AlwaysOpen()).run(NOW)
    outcomes = await store.outcomes("vwap_bounce", before=NOW, limit=100)
    assert [(one.entry_at, one.won) for one in outcomes] == [(one.entry_at, True) for one in known if one.won]


async def test_a_promotion_holds_with_any_account_left_out_and_with_all_of_them(
    honest: tuple[str, World, tuple[Basis, list[float]]], postgres_url: str
) -> None:
    template, former, (basis, _) = honest
    name = "left_out"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    database = Database(url, role="signal_functions", pool_size=2)
    store = TrainingStore(database)
    rows = await store.outcomes(DEFAULT.name, before=NOW, limit=50_000)
    reports = [await store.reported(DEFAULT.name, before=NOW)]
    assert (len(rows), reports[0].accounts) == (600, HONEST)
    for account in range(HONEST):
        with psycopg.connect(url) as connection:
            connection.execute("delete from trades where account_id = %s", [f"honest-{account}"])
        reports.append(await store.reported(DEFAULT.name, before=NOW))
        assert await store.outcomes(DEFAULT.name, before=NOW, limit=50_000) == rows, "no row is an account's"
    assert reports[-1].signals == 0
    rates = [
        DEFAULT.prior.base_rate(sum(one.won for one in rows) + wins, len(rows) + weight)
        for weight, wins in (counted(one, len(rows), DEFAULT.prior.strength) for one in reports)
    ]
    assert max(rates) - min(rates) < MOST
    assert len(set(rates)) > 1, "reports do count a little"
    world = World(database, [], former.signals)
    assert (await world.served())[0] == basis
    await database.close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
