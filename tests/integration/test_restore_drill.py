"""The restore drill, walked through: backup, WAL archive, an accident, recovery to before it, checks."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from operations import observation
from operations.database import connect
from operations.failover.sequences import raise_counters
from operations.observation import Observation
from operations.restore_drill import main
from shared.adapters.postgres import Audit, BarStore, Database, SignalStore, TradeStore
from shared.adapters.postgres.migrations import migrate
from shared.sql import migrations
from tests.support.recovery import ArchivingPostgres
from tests.support.samples import START, a_bar, a_draft, a_trade

Run = Callable[..., tuple[int, str]]
EVERYTHING = [
    "schema", "trades", "signals", "bars", "audit", "newest trade", "sequences", "outbox", "roles",
    "row-level security", "accounts",
]  # fmt: skip


LAST_MIGRATION = migrations()[-1][0]


@pytest.fixture(autouse=True)
def settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is under way at the moments that these tests choose."""
    monkeypatch.setattr(observation, "SETTLED", observation.SETTLED * 0)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command on a database: its status and what it said."""

    def run_(url: str, *argv: str) -> tuple[int, str]:
        monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
        monkeypatch.setenv("DATABASE_URL", url)
        code = main(argv)
        told = capsys.readouterr()
        return code, told.out + told.err

    return run_


def by_check(told: str) -> dict[str, str]:
    """What was said of each check; one that failed begins with FAILED."""
    return {line[8:28].strip(): f"{line[:8].strip()} {line[28:]}" for line in told.splitlines()}


async def use(url: str, day: str, accounts: tuple[str, ...] = ("a", "b")) -> None:
    """Some of everything that the functions write."""
    database = Database(url, role="signal_functions", pool_size=2)
    try:
        exit_at = datetime.now(UTC)
        trades = [a_trade(f"{day}-{n}", exit_at=exit_at) for n in (1, 2)]
        for account in accounts:
            await TradeStore(database).record(account, "k", trades)
        for symbol in ("ES", "NQ", "ES"):
            await SignalStore(database).publish(a_draft(symbol))
        minute = sum(map(ord, day))
        await BarStore(database).insert("ES", [a_bar(minute)], "live", datetime.now(UTC))
        await Audit(database).write("tester", "day", day, {})
    finally:
        await database.close()


def clock(url: str) -> datetime:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("select clock_timestamp()").fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment.astimezone(UTC)


def test_a_database_restored_to_before_an_accident_is_what_it_was(
    server_directory: Path, tmp_path: Path, run: Run
) -> None:
    (server_directory / "drill").mkdir(mode=0o711)
    live = ArchivingPostgres(server_directory / "drill")
    try:
        asyncio.run(migrate(live.url))
        asyncio.run(use(live.url, "monday"))
        live.back_up()
        asyncio.run(use(live.url, "tuesday", ("a", "c")))
        moment = clock(live.url)
        asyncio.run(use(live.url, "wednesday", ("d",)))
        code, told = run(live.url, "observe", "--at", moment.isoformat())
        assert code == 0
        expected = msgspec.json.decode(told, type=Observation)
        assert {name: rows.rows for name, rows in expected.tables.items()} == {
            "trades": 8, "signals": 6, "bars": 2, "audit": 2,
        }  # fmt: skip
        (tmp_path / "expected.json").write_text(told)
        with psycopg.connect(live.url, autocommit=True) as connection:
            connection.execute("truncate trades, trade_ids, signals, outbox, bars, audit")
        live.archive_all()

        with live.restored_to(moment) as restored:
            code, told = run(restored, "check", str(tmp_path / "expected.json"), "--login", "signal_cloud")
            # The login of this server is its superuser, which the drill says of it; all else is as it was.
            assert code == 1
            checks = by_check(told)
            assert checks.pop("login").startswith("FAILED")
            assert [*checks] == EVERYTHING
            assert all(text.startswith("ok ") for text in checks.values()), told
            assert checks["trades"] == "ok 8 rows of the last 30 days, the same ones"
            assert checks["accounts"] == "ok 3 see their own trades alone"
            # Wednesday came after the moment: it is not there, and the system goes on from before it.
            asyncio.run(use(restored, "wednesday", ("d",)))
            with psycopg.connect(restored) as connection:
                cursor = connection.execute(
                    "select symbol, last_sequence from signal_counters order by symbol"
                )
                assert cursor.fetchall() == [("ES", 6), ("NQ", 3)]

        code, told = run(live.url, "check", str(tmp_path / "expected.json"))
        assert code == 1
        assert by_check(told)["trades"] == "FAILED expected 8 rows of the last 30 days, found 0"
    finally:
        live.server.stop()


@pytest.fixture
def used(database_url: str, tmp_path: Path, run: Run) -> Iterator[tuple[str, str]]:
    """A database that was used, and the file of what it held."""
    asyncio.run(use(database_url, "monday"))
    code, told = run(database_url, "observe", "--at", clock(database_url).isoformat())
    assert code == 0
    (tmp_path / "expected.json").write_text(told)
    yield database_url, str(tmp_path / "expected.json")


def test_a_database_is_what_it_is(used: tuple[str, str], run: Run) -> None:
    code, told = run(used[0], "check", used[1])
    assert (code, [*by_check(told)]) == (0, EVERYTHING)


def test_the_gap_of_a_forced_move_is_no_damage(used: tuple[str, str], run: Run) -> None:
    async def raised() -> None:
        async with await connect({"conninfo": used[0]}) as connection:
            assert (await raise_counters(connection, ["ES"], 100))["ES"] == 102

    def sequences() -> str:
        return by_check(run(used[0], "check", used[1])[1])["sequences"]

    asyncio.run(raised())
    assert sequences() == "ok gapless", "no signal since the move"
    asyncio.run(use(used[0], "tuesday"))
    assert sequences() == "ok gapless"
    with psycopg.connect(used[0], autocommit=True) as connection:
        connection.execute("delete from outbox where sequence = 103")
        connection.execute("delete from signals where sequence = 103 and symbol = 'ES'")
        connection.execute("update signal_counters set last_sequence = last_sequence + 1 where symbol = 'NQ'")
    assert sequences().startswith("FAILED not gapless: ES, NQ")


def test_nothing_is_no_proof(used: tuple[str, str], run: Run, tmp_path: Path) -> None:
    """A moment before there was any schema expects nothing, and an empty server would be all of that."""
    expected = msgspec.json.decode(Path(used[1]).read_bytes(), type=Observation)
    nothing = msgspec.structs.replace(expected, migrations=[], at=expected.at - timedelta(minutes=5))
    (tmp_path / "nothing.json").write_bytes(msgspec.json.encode(nothing))
    code, told = run(used[0], "check", str(tmp_path / "nothing.json"))
    assert code == 1
    assert by_check(told)["schema"] == "FAILED expected no migration, found no migration"


@pytest.mark.parametrize(
    ("damage", "check", "said"),
    [
        (f"delete from schema_migrations where name = '{LAST_MIGRATION}'",
         "schema", f"expected {LAST_MIGRATION}"),
        ("delete from trades where account_id = 'a' and trade_id = 'monday-1'",
         "trades", "expected 4 rows of the last 30 days, found 3"),
        ("update bars set close = close + 0.25", "bars", "1 rows, but not the same ones"),
        ("delete from audit", "audit", "expected 1 rows"),
        ("delete from outbox where sequence = 1; delete from signals where symbol = 'ES' and sequence = 1;"
         " update signal_counters set last_sequence = 3 where symbol = 'ES'", "sequences", "not gapless: ES"),
        ("delete from signals where symbol = 'NQ'", "outbox", "1 signals or messages stand alone"),
        ("alter table trades disable row level security", "row-level security", "off for trades"),
        ("alter table trade_ids no force row level security", "row-level security", "off for trade_ids"),
        ("create policy e on trades to signal_functions using (true)", "accounts", "nobody sees 0 own, 4"),
        ("truncate trade_ids", "accounts", "2 without trade_id"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_found(
    used: tuple[str, str], run: Run, damage: str, check: str, said: str
) -> None:
    url, expected = used
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(damage.encode())
    code, told = run(url, "check", expected)
    assert code == 1
    assert by_check(told)[check].startswith("FAILED"), told
    assert said in by_check(told)[check]


def test_bad_use_is_told_plainly(database_url: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "bad.json").write_text("{}")
    code, told = run(database_url, "check", str(tmp_path / "bad.json"))
    assert code == 2
    assert "is not what `observe` prints" in told
    assert run("", "check", str(tmp_path / "bad.json")) == (
        2,
        "configuration_invalid: DATABASE_URL is not set\n",
    )
    for when in ("yesterday", "2026-01-01T00:00:00", START.isoformat(), "2099-01-01T00:00:00Z"):
        with pytest.raises(SystemExit) as left:
            run(database_url, "observe", "--at", when)
        assert left.value.code == 2
