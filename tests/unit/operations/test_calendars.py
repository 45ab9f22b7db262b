import json
from datetime import date
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from operations.calendars import DIRECTORY, FIRST, LAST, SOURCES, calendar_document, calendar_text, main
from shared.adapters.calendars import FOLDER, market_calendars, read_calendar
from shared.domain.market.instruments import INSTRUMENTS, Market
from shared.errors import ConfigurationError


@pytest.mark.parametrize("market", get_args(Market))
def test_committed_calendar_says_what_the_library_says(market: Market) -> None:
    assert (FOLDER / f"{market}.json").read_text(encoding="utf-8") == calendar_text(market)


def test_the_command_writes_every_calendar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crude.json", "equity.json"]
    assert (tmp_path / "crude.json").read_bytes() == (FOLDER / "crude.json").read_bytes()
    assert str(tmp_path / "equity.json") in capsys.readouterr().out
    assert DIRECTORY == FOLDER


def test_every_instrument_has_a_calendar_with_a_source() -> None:
    assert {instrument.market for instrument in INSTRUMENTS.values()} <= set(SOURCES)
    for market in SOURCES:
        calendar = read_calendar(FOLDER / f"{market}.json")
        assert (calendar.first, calendar.last) == (FIRST, LAST)
        assert SOURCES[market] in calendar.source
    assert market_calendars().days_left(date(2030, 12, 30)) == 1


@pytest.mark.parametrize(
    ("market", "day", "closes"),
    [
        ("equity", "2025-07-03", "13:15:00"),
        ("equity", "2025-07-04", "13:00:00"),
        ("equity", "2025-11-28", "13:15:00"),
        ("crude", "2025-11-28", "13:45:00"),
        ("equity", "2025-09-01", "13:00:00"),
        ("crude", "2025-06-19", "14:30:00"),
    ],
)
def test_early_closes_as_the_library_gives_them(market: Market, day: str, closes: str) -> None:
    assert calendar_document(market, date(2025, 1, 1), date(2025, 12, 31))["early_closes"][day] == closes


def test_a_calendar_that_the_format_cannot_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "equity", "CME_Equity")
    # In 2010 this calendar has the sessions open at 16:30 New York time.
    with pytest.raises(ValueError, match="CME_Equity: 2010-01-04 runs from"):
        calendar_document("equity", date(2010, 1, 4), date(2010, 1, 29))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"source": "x"}', None])
def test_a_calendar_that_cannot_be_read_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "equity.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"equity\.json"):
        read_calendar(path)


def test_an_unknown_field_in_a_calendar_is_refused(tmp_path: Path) -> None:
    document = json.loads((FOLDER / "equity.json").read_text(encoding="utf-8"))
    path = tmp_path / "equity.json"
    path.write_bytes(msgspec.json.encode(document | {"late_opens": {}}))
    with pytest.raises(ConfigurationError, match="late_opens"):
        read_calendar(path)
