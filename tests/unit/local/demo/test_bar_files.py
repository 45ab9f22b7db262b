"""Files of bars as vendors write them: formats, times and stamps."""

import re
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.demo.bar_files.formats import FORMATS
from local.demo.bar_files.reading import read_bar_file
from local.demo.bar_files.tables import BarFileError
from local.demo.bar_files.writing import write_bars
from shared.domain.market.bars import BAR_INTERVAL, Bar, check_bar
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.problems import Problems
from shared.errors import FieldError
from tests.support import vendor_files as vendors
from tests.support.market import bar, bar_runs, real_es, utc
from tests.support.places import ROOT
from tests.support.vendor_files import Sheet
from tests.support.vendor_samples import BARS, SAMPLES, START, written

# Each way to write bars, with the zone that a person has to name because the file does not.
WRITERS: list[tuple[Callable[[Sequence[Bar]], Sheet], str | None]] = [
    (vendors.own, None),
    (vendors.ninjatrader, None),
    (vendors.tradingview, None),
    (vendors.tradingview_unix, None),
    (vendors.yahoo, None),
    (vendors.yahoo_stacked, None),
    (vendors.yahoo_by_ticker, None),
    (vendors.databento, None),
    (vendors.databento_raw, None),
    (vendors.metatrader, "Europe/Athens"),
    (vendors.metatrader_4, "Europe/Athens"),
]


@pytest.mark.parametrize("vendor", SAMPLES)
def test_a_sample_of_each_vendor_is_read(tmp_path: Path, vendor: str) -> None:
    zone = "Europe/Athens" if vendor == "MetaTrader" else None
    file = read_bar_file(written(tmp_path, SAMPLES[vendor], "any name"), zone=zone)
    assert list(file.bars) == BARS
    assert file.told[0].startswith(f"{vendor}, 3 rows")
    assert file.told[2] == "3 bars of 2025-10-14 14:00 to 2025-10-14 14:03 UTC"
    assert len(file.told) == 3


CASES: list[Callable[[str], str]] = [str, str.upper, str.lower, str.title]


@st.composite
def contents(draw: st.DrawFn, bars: list[Bar]) -> tuple[bytes, str | None]:
    """A file that holds `bars` in one of the formats, as some program writes it, and the zone to name."""
    write, zone = draw(st.sampled_from(WRITERS))
    sheet = write(bars).reordered(draw(st.permutations(range(10))))
    sheet = sheet.recased(draw(st.sampled_from(CASES)))
    content = sheet.content(
        draw(st.sampled_from(",;\t")),
        draw(st.sampled_from(["\n", "\r\n"])),
        mark=draw(st.booleans()),
        blank_every=draw(st.integers(0, 3)),
        zipped=draw(st.booleans()),
    )
    return content, zone


@given(bar_runs(start=START, max_size=30), st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.data())
def test_the_same_bars_are_read_from_every_format(bars: list[Bar], day: date, data: st.DataObject) -> None:
    # At this hour no zone here changes its clocks. The last bar shows that the bars are of one minute.
    shift = day - START.date()
    bars = [*bars, bar(bars[-1].open_time + BAR_INTERVAL, bars[-1].close)]
    bars = [msgspec.structs.replace(each, open_time=each.open_time + shift) for each in bars]
    content, zone = data.draw(contents(bars))
    with tempfile.TemporaryDirectory() as directory:
        file = read_bar_file(written(Path(directory), content), zone=zone)
    assert list(file.bars) == bars
    assert "skipped" not in " ".join(file.told)


@given(bar_runs(start=START, max_size=30, max_gap=1))
def test_what_is_written_is_read(bars: list[Bar]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name in ("bars.csv", "bars.csv.gz"):
            path = Path(directory) / name
            assert write_bars(path, bars) == len(bars)
            assert list(read_bar_file(path).bars) == bars


def test_the_readme_says_what_each_format_states() -> None:
    """The table under Start: the vendor, which end of the minute a time is, and the zone if it has none."""
    lines = re.findall(
        r"^\| (\S+)[^|]*\| [^|]* \| the (\w+) of the minute \| ([^|]*) \|$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    zones = {"UTC": "UTC", "New": "America/New_York", "refused": None}
    said = {(name, stamp, zones[re.split(r"\W", zone)[0]]) for name, stamp, zone in lines}
    own = {"Signal Cloud": "ours"}
    assert said == {(own.get(each.name, each.name), each.stamp, each.zone) for each in FORMATS}


# What a time means


@pytest.mark.parametrize(
    ("sheet", "zone", "stamp", "told"),
    [
        (
            vendors.ninjatrader(BARS),
            None,
            None,
            "times: UTC (because NinjaTrader 8 exports UTC; ZONE= says otherwise); "
            "end of the minute (as NinjaTrader writes them; STAMP= says otherwise)",
        ),
        (
            vendors.ninjatrader(BARS, "America/Chicago"),
            "America/Chicago",
            "end",
            "times: America/Chicago (as ZONE says); end of the minute (as STAMP says)",
        ),
        (
            vendors.tradingview(BARS),
            "Asia/Tokyo",
            None,
            "times: each has its offset from UTC, so that ZONE is not needed; "
            "start of the minute (as TradingView writes them; STAMP= says otherwise)",
        ),
    ],
)
def test_the_zone_and_the_stamp_are_told_with_how_they_are_known(
    tmp_path: Path, sheet: Sheet, zone: str | None, stamp: str | None, told: str
) -> None:
    path = written(tmp_path, sheet.content(";"))
    file = read_bar_file(path, zone=zone, stamp="end" if stamp == "end" else None)
    assert list(file.bars) == BARS
    assert file.told[1] == told
    assert file.zone_is_assumed == ("because" in told)


@pytest.mark.parametrize(
    "write", [vendors.own, vendors.tradingview, vendors.yahoo_stacked, vendors.databento]
)
def test_a_stamp_that_is_given_holds_for_every_format(
    tmp_path: Path, write: Callable[[Sequence[Bar]], Sheet]
) -> None:
    path = written(tmp_path, write(BARS).content())
    times = [one.open_time for one in read_bar_file(path, stamp="end").bars]
    assert times == [one.open_time - BAR_INTERVAL for one in BARS]
    path = written(tmp_path, vendors.ninjatrader(BARS).content(";"))
    assert read_bar_file(path, stamp="start").bars[0].open_time == BARS[0].close_time


@pytest.mark.parametrize("write", [vendors.metatrader, vendors.metatrader_4])
def test_a_zone_that_no_file_settles_must_be_named(
    tmp_path: Path, write: Callable[[Sequence[Bar]], Sheet]
) -> None:
    path = written(tmp_path, write(BARS).content("\t"))
    with pytest.raises(
        BarFileError, match=r"MetaTrader writes the broker's clock; say which, for example ZONE="
    ):
        read_bar_file(path)


@pytest.mark.parametrize("text", ["2025-10-14T14:00:00", "2025-10-14 14:00", "20251014T140000"])
def test_our_own_times_without_an_offset_need_a_zone(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, SAMPLES["Signal Cloud"].replace("2025-10-14T14:00:00Z", text))
    with pytest.raises(BarFileError, match=r"line 2: .* has no offset from UTC"):
        read_bar_file(path)
    assert list(read_bar_file(path, zone="UTC").bars) == BARS


@pytest.mark.parametrize(
    "text",
    [
        "1760450400",
        "1760450400.0",
        "1760450400000",
        "1760450400000000",
        "1760450400000000000",
        "2025-10-14 14:00:00Z",
        "2025-10-14T16:00+02:00",
        "2025-10-14T14:00:00.000Z",
        "2025-10-14T14:00:00.000000000+00:00",
        " 2025-10-14T14:00:00Z\t",
    ],
)
def test_a_time_may_be_written_in_many_ways(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, SAMPLES["Signal Cloud"].replace("2025-10-14T14:00:00Z", text))
    assert list(read_bar_file(path).bars) == BARS


def test_a_time_that_no_clock_showed_is_skipped(tmp_path: Path) -> None:
    lines = "20250309 023000;1;1;1;1;5\n20250309 033000;1;1;1;1;5\n"
    file = read_bar_file(written(tmp_path, lines), zone="America/New_York", stamp="start")
    assert [one.open_time for one in file.bars] == [utc("2025-03-09T07:30")]
    assert "does not exist in America/New_York" in file.told[-1]


def test_reads_the_real_file() -> None:
    bars = real_es()
    assert len(bars) == 48_307
    assert bars[0].open_time == utc("2025-08-31T22:00")
    assert bars[-1].close_time == utc("2025-10-17T21:01")


def bar_problems(checked: Bar) -> list[FieldError]:
    problems = Problems()
    check_bar(checked, problems, INSTRUMENTS["CL"])
    return list(problems.refusal().errors)


def test_a_negative_price_may_be_stored() -> None:
    assert bar_problems(bar(utc("2020-04-20T18:29"), Decimal("-37.63"), low=Decimal("-40.32"))) == []


@pytest.mark.parametrize("price", ["1e1000000", "-1e1000000", "0e-1000000", "1.0000000000", "NaN"])
def test_a_price_that_cannot_be_stored_is_named(price: str) -> None:
    odd = Decimal(price)
    bad = Bar(utc("2025-10-14T14:00"), Decimal(1), Decimal(1), Decimal(1), odd, 1)
    assert [problem.field for problem in bar_problems(bad)] == ["close"]
