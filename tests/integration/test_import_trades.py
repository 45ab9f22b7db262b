"""`python -m operations.import_trades` against real servers."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from operations import license as license_command
from operations.import_trades import main
from operations.license import NAMES
from shared.adapters.postgres import Database, SignalStore
from tests.support.requests import TRADE
from tests.support.samples import a_draft

Run = Callable[..., tuple[int, str, str]]
HEADER = (
    "trade_id,symbol,side,entry_price,exit_price,entry_at,exit_at,pnl,confidence,signal_sequence,features"
)
TICK, TICK_USD = Decimal("0.25"), Decimal("12.50")


@pytest.fixture
def deployment(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    tables_connection_string: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Puts the settings of real servers into the environment."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STATE", str(tmp_path / "no-stack"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("TABLES_CONNECTION_STRING", tables_connection_string)
    monkeypatch.setenv(
        "WEBPUBSUB_CONNECTION_STRING", f"Endpoint=http://127.0.0.1:1;AccessKey={'k' * 44};Version=1.0;"
    )
    monkeypatch.setenv("API_KEY_PEPPER", "p" * 48)


@pytest.fixture
def account(deployment: None, capsys: pytest.CaptureFixture[str]) -> str:
    """The id of a license of the account acct-1."""
    assert license_command.main(["create", "--account", "acct-1", "--json"]) == 0
    return str(json.loads(capsys.readouterr().out)["license"]["license_id"])


@pytest.fixture
def run(account: str, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_(*argv: str) -> tuple[int, str, str]:
        code = main([account, *argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_


def row(trade_id: str, day: str, *, ticks: int = 11, pnl: object = None) -> str:
    """A line of a trade of ES that gained so many ticks; its pnl follows, unless a test gives it."""
    exit_price = Decimal("6487.25") + ticks * TICK
    features = '"{""vwap_distance"": 2.1, ""rsi"": 35}"'
    return (
        f"{trade_id},ES,LONG,6487.25,{exit_price},{day}T13:30:00Z,{day}T13:40:00Z,"
        f"{ticks * TICK_USD if pnl is None else pnl},0.6,7,{features}"
    )


def csv_of(directory: Path, *rows: str) -> str:
    file = directory / "trades.csv"
    file.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
    return str(file)


def stored(database_url: str, query: str) -> list[tuple[object, ...]]:
    async def read() -> list[tuple[object, ...]]:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            return await (await connection.execute(query.encode())).fetchall()

    return asyncio.run(read())


def test_old_trades_of_a_csv_file_are_stored_once_with_their_months(
    run: Run, tmp_path: Path, database_url: str
) -> None:
    rows = [row(f"t{year}", f"{year}-03-04", ticks=year) for year in range(2003, 2026)]
    code, out, err = run(csv_of(tmp_path, *rows))
    assert (code, "imported 23 trades of acct-1" in out, "23 of 23" in err) == (0, True, True)
    assert stored(database_url, "select count(*), sum(pnl), min(key_public_id) from trades") == [
        (23, sum(range(2003, 2026)) * TICK_USD, "import")
    ]
    assert stored(
        database_url, "select features->>'rsi', signal_sequence, confidence from trades limit 1"
    ) == [("35.0", 7, 0.6)]
    assert stored(database_url, "select account_id, stored_trades, day_trades from account_usage") == [
        ("acct-1", 23, 0)
    ]
    code, out, _ = run(csv_of(tmp_path, *rows))
    assert (code, "imported 0 trades" in out, "23 were stored before" in out) == (0, True, True)


def test_json_lines_are_read_too(run: Run, tmp_path: Path, database_url: str) -> None:
    trade = {
        "symbol": "ES",
        "side": "SHORT",
        "entry_price": "6487.25",
        "exit_price": 6480,
        "entry_at": "2019-01-02T13:30:00Z",
        "exit_at": "2019-01-02T13:31:00Z",
        "pnl": "362.50",
    }
    file = tmp_path / "trades.jsonl"
    file.write_text("\n".join(json.dumps(trade | {"trade_id": f"t{n}"}) for n in range(1_201)), "utf-8")
    code, out, err = run(str(file))
    assert (code, "imported 1,201 trades" in out, "1,201 of 1,201" in err) == (0, True, True)
    assert stored(database_url, "select count(*) from trades where side = 'SHORT'") == [(1_201,)]


def test_a_file_with_a_wrong_line_imports_nothing_and_names_it(
    run: Run, tmp_path: Path, database_url: str
) -> None:
    rows = [row(f"t{n}", "2020-03-04") for n in range(600)]
    rows[590] = row("bad", "2020-03-04", pnl="much")
    rows[593] = row("net", "2020-03-04", pnl="133.00")
    rows[595] = row("early", "1999-03-04")
    rows[596] = row("micro", "2020-03-04").replace(",ES,", ",MES,")
    code, _, err = run(csv_of(tmp_path, *rows))
    assert code == 1
    assert "line 592: pnl: " in err
    assert "line 595: pnl: Expected 137.5 USD" in err
    assert "line 597: exit_at: " in err
    assert "line 598: symbol: MES is a smaller contract than ES." in err
    assert stored(database_url, "select count(*) from trades") == [(0,)]


NUMBERS = (
    "trade_id,symbol,side,entry_at,exit_at,"
    "entry_price,exit_price,pnl,quantity,signal_sequence,confidence,features"
)
FIRST = "n{n},ES,LONG,2020-03-04T13:30:00Z,2020-03-04T13:40:00Z"


def file_of_numbers(directory: Path, *rows: str, mark: str = "") -> str:
    file = directory / "numbers.csv"
    lines = [f"{FIRST.format(n=n)},{row}" for n, row in enumerate(rows)]
    file.write_text(mark + "\r\n".join((NUMBERS, *lines)), encoding="utf-8")
    return str(file)


def test_numbers_of_a_csv_file_count_by_their_value(run: Run, tmp_path: Path, database_url: str) -> None:
    file = file_of_numbers(
        tmp_path,
        '6487.25,6490.00,137.500000000,1.0,7.0,0.60,"{""rsi"": 3.5e1, ""vwap_distance"": 2}"',
        "6.48725E+03,6490,1.375e2,0001,0.7E1,6e-1,",
        mark="\ufeff",
    )
    code, out, err = run(file)
    assert (code, "imported 2 trades" in out) == (0, True), err
    columns = "entry_price, exit_price, pnl, quantity, signal_sequence, confidence"
    (row, other) = stored(database_url, f"select {columns} from trades")
    assert row == other == (Decimal("6487.25"), 6490, Decimal("137.5"), 1, 7, 0.6)


def test_cells_that_are_no_numbers_are_named(run: Run, tmp_path: Path, database_url: str) -> None:
    file = file_of_numbers(
        tmp_path,
        "1_000.5,6490,1,1,7,0.6,",
        "6487, 6490 ,1,1,7,0.6,",
        "6487,6490,\uff11\uff12,1,7,0.6,",
        "6487,6490,NaN,1,7,0.6,",
        "6487,6490,1,+1,7,0.6,",
        "6487,6490,1,1,7.5,0.6,",
        "6487,6490,1,1,7,NaN,",
        '6487,6490,1,1,7,0.6,"{""rsi"": NaN}"',
        '6487,6490,1,1,7,0.6,"{""rsi"": 1, ""rsi"": 2}"',
        '6487,6490,1,1,7,0.6,"{""rsi"": 1"',
    )
    code, _, err = run(file)
    assert code == 1
    named = [line.split(": ")[:2] for line in err.splitlines()[:-1]]
    assert named == [
        ["line 2", "entry_price"],
        ["line 3", "exit_price"],
        ["line 4", "pnl"],
        ["line 5", "pnl"],
        ["line 6", "quantity"],
        ["line 7", "signal_sequence"],
        ["line 8", "confidence"],
        ["line 9", "features.rsi"],
        ["line 10", "features.rsi"],
        ["line 11", "features"],
    ]
    assert stored(database_url, "select count(*) from trades") == [(0,)]


def test_a_name_given_twice_in_a_line_is_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "trades.jsonl"
    line = json.dumps(TRADE | {"exit_at": "2020-03-04T13:30:00Z", "entry_at": "2020-03-04T13:30:00Z"})
    file.write_text("\ufeff" + line[:-1] + ', "pn\\u006c": 2}\n', encoding="utf-8")
    code, _, err = run(str(file))
    assert code == 1
    assert "line 1: pnl: " in err


def test_trades_of_a_strategy_are_imported_once_it_has_published(
    run: Run, tmp_path: Path, database_url: str
) -> None:
    day = "2020-03-04"
    rows = [
        f'm{n},ES,LONG,manual,6487.25,6490.00,{day}T13:30:00Z,{day}T13:40:00Z,137.50,"{{""news"": ""CPI""}}"'
        for n in range(3)
    ]
    file = tmp_path / "trades.csv"
    header = "trade_id,symbol,side,strategy,entry_price,exit_price,entry_at,exit_at,pnl,features"
    file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    code, _, err = run(str(file))
    assert (code, "line 2: strategy: Expected one of vwap_bounce" in err) == (1, True)

    async def publish() -> None:
        database = Database(database_url, role="signal_functions", pool_size=1)
        await SignalStore(database).publish(a_draft(strategy="manual"))
        await database.close()

    asyncio.run(publish())
    code, out, _ = run(str(file))
    assert (code, "imported 3 trades" in out) == (0, True)
    assert stored(database_url, "select distinct strategy, features->>'news' from trades") == [
        ("manual", "CPI")
    ]


def test_a_trade_id_with_other_content_is_told_and_the_others_are_stored(run: Run, tmp_path: Path) -> None:
    run(csv_of(tmp_path, row("a", "2020-03-04")))
    rows = [row(name, "2020-03-04", ticks=12) for name in "ab"]
    code, out, err = run(csv_of(tmp_path, *rows))
    assert (code, "imported 1 trades" in out, "not imported: a\n" in err) == (1, True, True)


def test_a_check_stores_nothing(run: Run, tmp_path: Path, database_url: str) -> None:
    code, out, _ = run("--check", csv_of(tmp_path, row("a", "2020-03-04")))
    assert (code, out) == (0, "1 trades of 1 months are right\n")
    assert stored(database_url, "select count(*) from trades") == [(0,)]


@pytest.mark.parametrize("bad", ["nothing.csv", "trades.txt"])
def test_a_file_that_cannot_be_read_is_a_misuse(run: Run, tmp_path: Path, bad: str) -> None:
    (tmp_path / "trades.txt").write_text("")
    with pytest.raises(SystemExit) as ended:
        run(str(tmp_path / bad))
    assert ended.value.code == 2


def test_a_header_with_unknown_fields_is_a_misuse(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    file.write_text("trade_id,profit\na,1\n", encoding="utf-8")
    code, _, err = run(str(file))
    assert (code, "not profit" in err) == (2, True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfet\x00r\x00", "is not UTF-8; save it as UTF-8"),
        (b'trade_id,symbol\n"old-1"x,ES\n', "cannot be read as CSV"),
        (b"trade_id,pnl,symbol,pnl\nold-1,1,ES,2\n", "the header names pnl more than once"),
        (b"trade_id,symbol\nold-1,ES,more\n", "line 2 has more cells than the header"),
    ],
)
def test_a_file_of_another_format_is_a_misuse(run: Run, tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "trades.csv"
    file.write_bytes(content)
    code, out, err = run(str(file))
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("account")
def test_an_unknown_license_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = csv_of(tmp_path, row("a", "2020-03-04"))
    assert main(["lic_ZZZZZZZZZZZZ", file]) == 1
    assert "There is no license lic_ZZZZZZZZZZZZ" in capsys.readouterr().err
