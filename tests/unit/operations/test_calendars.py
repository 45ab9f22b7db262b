import json
import re
from datetime import date, time
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from operations.calendars import (
    DIRECTORY,
    FIRST,
    LAST,
    SOURCES,
    Correction,
    calendar_document,
    calendar_text,
    main,
    read_corrections,
)
from shared.adapters.calendars import FOLDER, market_calendars, read_calendar
from shared.domain.market.calendars import CLOSES
from shared.domain.market.instruments import INSTRUMENTS, Market
from shared.errors import ConfigurationError


def correction(day: date, close: time | None = None, market: Market = "equity") -> Correction:
    return Correction(market, (day,), "why", ("2025-01-01 somebody: https://example.org",), close)


@pytest.mark.parametrize("market", get_args(Market))
def test_committed_calendar_says_what_the_library_and_our_corrections_say(market: Market) -> None:
    assert (FOLDER / f"{market}.json").read_text(encoding="utf-8") == calendar_text(market)


@pytest.mark.parametrize("market", get_args(Market))
def test_a_calendar_differs_from_the_library_on_the_corrected_days_alone(market: Market) -> None:
    ours = read_calendar(FOLDER / f"{market}.json")
    library = calendar_document(market, ())
    said: dict[date, time | None] = dict.fromkeys(map(date.fromisoformat, library["closed"]))
    said |= {date.fromisoformat(day): time.fromisoformat(at) for day, at in library["early_closes"].items()}
    held: dict[date, time | None] = dict.fromkeys(ours.closed)
    held |= ours.early_closes
    days = {day for day in said | held if said.get(day, CLOSES) != held.get(day, CLOSES)}
    of_market = [one for one in read_corrections() if one.market == market]
    assert days == {day for one in of_market for day in one.days}
    for one in of_market:
        assert {held.get(day, CLOSES) for day in one.days} == {one.close}


def test_every_correction_names_its_public_sources_with_their_dates() -> None:
    for one in read_corrections():
        assert one.why
        assert one.sources
        for source in one.sources:
            assert re.fullmatch(r"(\d{4}-\d\d-\d\d) \S.*: https?://\S+", source), source
            date.fromisoformat(source[:10])


@pytest.mark.parametrize(
    ("corrections", "expected"),
    [
        ([correction(date(2025, 12, 25))], "equity on 2025-12-25 is needless"),
        ([correction(date(2025, 12, 24), time(13, 15))], "equity on 2025-12-24 is needless"),
        ([correction(date(2025, 12, 23), time(17))], "equity on 2025-12-23 is needless"),
        ([correction(date(2025, 12, 27), time(13))], "2025-12-27 names a weekend"),
        ([correction(date(2025, 12, 22)), correction(date(2025, 12, 22), time(13))], "comes twice"),
    ],
)
def test_a_correction_that_says_nothing_new_is_refused(corrections: list[Correction], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        calendar_document("equity", corrections, date(2025, 12, 1), date(2025, 12, 31))


def test_a_correction_can_close_a_day_move_its_close_and_give_back_its_regular_one() -> None:
    corrections = [
        correction(date(2025, 12, 22)),
        correction(date(2025, 12, 24), time(12, 30)),
        correction(date(2025, 12, 25), time(17)),
        correction(date(2025, 12, 26), time(9), market="crude"),
        correction(date(2026, 1, 2)),
    ]
    document = calendar_document("equity", corrections, date(2025, 12, 1), date(2025, 12, 31))
    assert document["closed"] == ["2025-12-22"]
    assert document["early_closes"] == {"2025-12-24": "12:30:00"}


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
    document = calendar_document(market, (), date(2025, 1, 1), date(2025, 12, 31))
    assert document["early_closes"][day] == closes


def test_a_calendar_that_the_format_cannot_say_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "equity", "CME_Equity")
    # In 2010 this calendar has the sessions open at 16:30 New York time.
    with pytest.raises(ValueError, match="CME_Equity: 2010-01-04 runs from"):
        calendar_document("equity", (), date(2010, 1, 4), date(2010, 1, 29))


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
