"""Rows that are no bars are skipped and told; files that cannot be used are refused with the reason."""

import re
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.demo.bar_files.reading import read_bar_file
from local.demo.bar_files.tables import BarFileError
from shared.domain.market.bars import BAR_INTERVAL
from tests.support import vendor_files as vendors
from tests.support.market import bar
from tests.support.vendor_samples import BARS, SAMPLES, START, written

LOW = "2025-10-14T14:02:00Z,1,1,1,low,5"


# Rows that are no bars


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ("noon,1,1,1,1,5", "whose open_time is not a time ('noon', line 3)"),
        ("2025-10-14T14:02:30Z,1,1,1,1,5", "whose open_time is not a whole minute"),
        ("13,1,1,1,1,5", "whose open_time is not a time"),
        ("0001-01-01T00:00:00+14:00,1,1,1,1,5", "whose open_time is not a time of 1980 to 2099"),
        ("9999-12-31T23:59:00-12:00,1,1,1,1,5", "whose open_time is not a time of 1980 to 2099"),
        ("300000000,1,1,1,1,5", "whose open_time is not a time of 1980 to 2099"),
        (LOW, "whose close is not a plain decimal number ('low', line 3)"),
        (LOW.replace("low", ""), "whose close is empty"),
        (LOW.replace("low", "NaN"), "whose close is not a plain decimal number"),
        (LOW.replace("low", "1_000.5"), "whose close is not a plain decimal number"),
        (LOW.replace("low", "\uff11\uff12"), "whose close is not a plain decimal number"),
        (LOW.replace("low", '"6543,25"'), "whose close has a comma: write a point before the decimals, and"),
        (LOW.replace("low", '"6,543.25"'), "whose close has a comma: write a point before the decimals, and"),
        (LOW.replace("low", "+1"), "whose close is not a plain decimal number"),
        (LOW.replace("low", "0x1"), "whose close is not a plain decimal number"),
        (LOW.replace("low", "1e9"), "whose close is refused: Must be a number from"),
        (LOW.replace("low", "1.0000001"), "whose close is refused: Must have at most 6 decimals"),
        (LOW.replace("low", "2"), "whose high is refused: Must not be below"),
        (LOW.replace("low", "1").replace(",5", ",1.5"), "whose volume is not a whole number ('1.5', line 3)"),
        (LOW.replace("low", "1").replace(",5", ",-1"), "whose volume is refused"),
        (LOW.replace("low", "1").replace(",5", ",many"), "whose volume is not a plain decimal number"),
        (LOW.replace(",low,5", ""), "without the 6 fields of the others ('4', line 3)"),
        (LOW.replace("low", "1") + ",7", "without the 6 fields of the others ('7', line 3)"),
        ("2025-10-14T14:00:00Z,6543.25,6544.5,6542.75,6544,1180", "that repeat an earlier row (line 3)"),
        ("open_time,open,high,low,close,volume", "whose open_time is not a time ('open_time', line 3)"),
    ],
)
def test_a_row_that_is_no_bar_is_skipped_and_told(tmp_path: Path, cells: str, expected: str) -> None:
    header, first, *rest = SAMPLES["Signal Cloud"].splitlines()
    file = read_bar_file(written(tmp_path, "\n".join([header, first, cells, *rest])))
    assert list(file.bars) == BARS
    assert file.told[-1].startswith("skipped 1 row: 1 ")
    assert expected in file.told[-1]


@pytest.mark.parametrize(
    ("price", "volume"),
    [("6544.0", "1180.0"), ("6544.000000000", "1.18e3"), (" 6544", "1180 "), ('"6544"', '"1180"')],
)
def test_the_value_of_a_number_counts_and_not_how_it_is_written(
    tmp_path: Path, price: str, volume: str
) -> None:
    text = SAMPLES["Signal Cloud"].replace("6542.75,6544,1180", f"6542.75,{price},{volume}")
    assert list(read_bar_file(written(tmp_path, text)).bars) == BARS


def test_a_later_row_of_the_same_minute_corrects_the_earlier_one(tmp_path: Path) -> None:
    text = SAMPLES["Signal Cloud"] + "2025-10-14T14:01:00Z,6544,6544.25,6541,6541.75,990\n"
    file = read_bar_file(written(tmp_path, text))
    assert [one.volume for one in file.bars] == [1180, 990, 0]
    assert file.told[-1] == "skipped 1 row: 1 that a later row of the same minute corrects (line 3)"


def test_rows_may_come_newest_first(tmp_path: Path) -> None:
    header, *rows = SAMPLES["Signal Cloud"].splitlines()
    assert list(read_bar_file(written(tmp_path, "\n".join([header, *reversed(rows)]))).bars) == BARS


def test_many_reasons_are_told_in_few_words(tmp_path: Path) -> None:
    rows = [f"2025-10-14T15:{minute:02}:00Z,1,1,1,1,x" for minute in range(30)]
    rows += ["a,1,1,1,1,1", "2025-10-14T15:00:00Z,b,1,1,1,1", "2025-10-14T15:00:00Z,1,c,1,1,1"]
    rows += ["2025-10-14T15:00:00Z,1,1,d,1,1", "2025-10-14T15:00:00Z,1,1,1,e,1"]
    file = read_bar_file(written(tmp_path, SAMPLES["Signal Cloud"] + "\n".join(rows)))
    assert (
        "skipped 35 rows: 30 whose volume is not a plain decimal number ('x', lines 5, 6, 7, ...)"
        in file.told[-1]
    )
    assert file.told[-1].endswith("; 2 for other reasons")


def test_a_broker_without_volume_counts_ticks(tmp_path: Path) -> None:
    text = SAMPLES["MetaTrader"].replace("\t1180\t", "\t0\t").replace("\t932\t", "\t0\t")
    file = read_bar_file(written(tmp_path, text), zone="Europe/Athens")
    assert [one.volume for one in file.bars] == [412, 380, 0]


def test_databento_marks_bars_without_a_price(tmp_path: Path) -> None:
    text = SAMPLES["Databento"].replace(
        "6541500000000,6543000000000,6541250000000", ",".join(["9223372036854775807"] * 3)
    )
    file = read_bar_file(written(tmp_path, text))
    assert list(file.bars) == BARS[:2]
    assert "mark of no price" in file.told[-1]


def test_whole_prices_of_databento_are_prices_unless_no_market_has_them(tmp_path: Path) -> None:
    text = "ts_event,open,high,low,close,volume\n1760450400000000000,6544,6544,6544,6544,3\n"
    assert read_bar_file(written(tmp_path, text)).bars[0].close == 6544


# Files that cannot be used


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is empty"),
        ("\ufeff\n \n;;;\n", "is empty"),
        ("open_time,open,high,low,close,volume\n", "has no rows after its header$"),
        ("Date,Time,Open,High,Low,Close,Volume\n", "has no rows after its header$"),
        (
            "Price,Close,High,Low,Open,Volume\nTicker,ES=F,ES=F,ES=F,ES=F,ES=F\nDatetime,,,,,\n",
            "has no rows after its header$",
        ),
        (
            SAMPLES["NinjaTrader"].replace(".", ","),
            r"not one of 3 rows is a bar: 2 whose open has a comma: write a point before the decimals, and "
            r"nothing between thousands \('6543,25', lines 1, 3\); 1 whose high has a comma",
        ),
        (
            "when,o,h,l,c,v\n1,2,3,4,5,6\n",
            r"line 1 \(when,o,h,l,c,v\) is of no known format. Known are NinjaTrader",
        ),
        ("Date,Time,Open,High,Low,Close,Volume\n10/14/2025,09:30,1,1,1,1,1\n", "is of no known format"),
        ("20251014 140000 0120000;6543.25;6543;6543.25;5\n", "holds ticks of NinjaTrader"),
        ("20251014;1;1;1;1;5\n20251015;1;1;1;1;5\n", "line 1: '20251014' has no time of day"),
        ("Date,Open,High,Low,Close,Adj Close,Volume\n2025-10-14,1,1,1,1,1,5\n", "has no time of day"),
        ("<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<TICKVOL>\n2025.10.14,1,1,1,1,5\n", "has no time of day"),
        (
            "time,open,high,low,close\n1760450400,1,1,1,1\n",
            "looks like TradingView, but has no column volume; has time, open, high, low, close",
        ),
        ("time,open,open,high,low,close,volume\n", "has the column open twice"),
        (SAMPLES["Databento"].replace(",33,", ",35,"), "line 2: rtype is '35'"),
        (SAMPLES["Databento"].replace("932,ESZ5", "932,ESH6"), r"mixes the bars of 2 symbols \(ESH6, ESZ5\)"),
        (
            SAMPLES["Yahoo"].replace("ES=F,ES=F\n", "ES=F,NQ=F\n"),
            r"mixes the bars of 2 symbols \(ES=F, NQ=F\)",
        ),
        (SAMPLES["Signal Cloud"] + '"', "line 5 cannot be read"),
        (b"PK\x03\x04rest", "is packed with zip"),
        (b"\x28\xb5\x2f\xfdrest", "is packed with zstd; unpack it"),
        (b"\x00\x01\x02\x03", "is not text"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: str | bytes, expected: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(BarFileError, match=f"^{re.escape(str(path))}: .*{expected}"):
        read_bar_file(path)


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        ([0, 5, 10, 15], "5 minutes apart"),
        ([0, 1440, 2880, 4260], "1,440 minutes apart"),
        ([0, 60, 120, 185], "60 minutes apart"),
        ([0, 2, 4, 6], "2 minutes apart"),
        ([0, 5, 10, 16], "5 minutes apart"),
    ],
)
def test_bars_of_a_longer_interval_are_refused(tmp_path: Path, minutes: list[int], told: str) -> None:
    bars = [bar(START + timedelta(minutes=minute), 6543) for minute in minutes]
    with pytest.raises(BarFileError, match=f"the bars are {told}"):
        read_bar_file(written(tmp_path, vendors.tradingview(bars).content()))


@pytest.mark.parametrize("minutes", [[0], [0, 7], [0, 2, 5], [0, 4, 8, 13], [0, 30, 31]])
def test_quiet_minutes_are_no_longer_interval(tmp_path: Path, minutes: list[int]) -> None:
    bars = [bar(START + timedelta(minutes=minute), 6543) for minute in minutes]
    assert len(read_bar_file(written(tmp_path, vendors.tradingview(bars).content())).bars) == len(minutes)


def test_bars_of_a_second_are_refused(tmp_path: Path) -> None:
    bars = [bar(START + timedelta(seconds=second), 6543) for second in range(180)]
    path = written(tmp_path, vendors.tradingview(bars).content())
    with pytest.raises(BarFileError, match=f"^{path}: 177 of 180 times are not whole minutes; only bars of"):
        read_bar_file(path)


@pytest.mark.parametrize("text", ["absent.csv", "."])
def test_an_absent_file_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(BarFileError, match="cannot be read"):
        read_bar_file(tmp_path / text)


def test_a_truncated_gzip_is_told(tmp_path: Path) -> None:
    content = vendors.own([bar(START + n * BAR_INTERVAL, 6543 + n) for n in range(500)]).content(zipped=True)
    with pytest.raises(BarFileError, match="cannot be read"):
        read_bar_file(written(tmp_path, content[:60]))


def test_the_line_that_tells_excel_the_delimiter_is_no_row(tmp_path: Path) -> None:
    text = "sep=;\n" + SAMPLES["TradingView"].replace(",", ";")
    assert list(read_bar_file(written(tmp_path, text)).bars) == BARS


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(vendor: str, data: st.DataObject) -> None:
    content = SAMPLES[vendor].encode()
    for _ in range(data.draw(st.integers(1, 4))):
        at, length = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 12))
        content = content[:at] + data.draw(st.binary(max_size=6)) + content[at + length :]
    with tempfile.TemporaryDirectory() as directory:
        path = written(Path(directory), content)
        try:
            file = read_bar_file(path, zone="UTC")
        except BarFileError as refused:
            assert str(refused).startswith(f"{path}: ")
        else:
            times = [one.open_time for one in file.bars]
            assert times == sorted(set(times))


def test_utf_16_is_read_by_its_mark(tmp_path: Path) -> None:
    file = read_bar_file(written(tmp_path, SAMPLES["TradingView"].encode("utf-16")))
    assert list(file.bars) == BARS
