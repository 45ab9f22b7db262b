import gzip
import tempfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given

from local.demo.bar_files import BUNDLED_BARS, BarFileError, missing_range, read_bars, write_bars
from shared.domain.market.bars import Bar, check_bar
from shared.domain.problems import Problems
from shared.errors import FieldError
from tests.support.market import bar, bar_runs, real_es, simulated_es, utc

HEADER = "open_time,open,high,low,close,volume\n"
GOOD = "2025-10-14T14:00:00Z,6000,6001.25,5999.5,6000.25,10\n"
NEXT = "2025-10-14T14:02:00Z,6000,6001.25,5999.5,6000.25,10\n"


def written(directory: Path, text: str, name: str = "bars.csv") -> Path:
    path = directory / name
    content = text.encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz"])
def test_reads_plain_and_gzipped(tmp_path: Path, name: str) -> None:
    assert list(read_bars(written(tmp_path, HEADER + GOOD, name))) == [
        Bar(
            utc("2025-10-14T14:00"),
            Decimal(6000),
            Decimal("6001.25"),
            Decimal("5999.5"),
            Decimal("6000.25"),
            10,
        )
    ]


def test_a_gzipped_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + GOOD, "bars.csv.gz").rename(tmp_path / "bars.csv")
    assert len(list(read_bars(path))) == 1


def test_other_offsets_are_converted(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + GOOD.replace("14:00:00Z", "10:00:00-04:00"))
    assert [one.open_time for one in read_bars(path)] == [utc("2025-10-14T14:00")]


@given(bar_runs(start=utc("2025-10-14T14:00"), max_size=30))
def test_what_is_written_is_read(bars: list[Bar]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name in ("bars.csv", "bars.csv.gz"):
            path = Path(directory) / name
            assert write_bars(path, bars) == len(bars)
            assert list(read_bars(path)) == bars


def test_an_empty_range_is_told_with_what_the_file_holds(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + GOOD + NEXT)
    told = missing_range(path, utc("2025-10-15T00:00"), utc("2025-10-17T00:00"))
    held = "it holds 2025-10-14 to 2025-10-14, in UTC"
    assert told == f"{path} has no bars from 2025-10-15 to 2025-10-17; {held}"
    assert missing_range(path, None, utc("2025-10-14T00:00")) == (
        f"{path} has no bars from its beginning to 2025-10-14; {held}"
    )
    assert missing_range(written(tmp_path, HEADER), None, None).endswith("holds no bars")


def test_the_range_holds_its_start_and_not_its_end() -> None:
    bars = simulated_es()
    start, end = bars[10].open_time, bars[20].open_time
    assert tuple(read_bars(BUNDLED_BARS, start, end)) == bars[10:20]
    assert tuple(read_bars(BUNDLED_BARS, start=start)) == bars[10:]
    assert tuple(read_bars(BUNDLED_BARS, end=end)) == bars[:20]
    assert not list(read_bars(BUNDLED_BARS, start=bars[-1].open_time + timedelta(minutes=1)))


def test_a_file_without_bars_is_empty(tmp_path: Path) -> None:
    assert list(read_bars(written(tmp_path, HEADER))) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: the columns must be open_time,open,high,low,close,volume"),
        ("time,open,high,low,close,volume\n" + GOOD, "line 1: the columns"),
        (HEADER + GOOD + NEXT.replace(",10", ""), "line 3: has 5 fields, expected 6"),
        (HEADER + GOOD + "\n" + NEXT, "line 3: has 0 fields"),
        (HEADER + GOOD + NEXT.replace("2025-10-14T14:02:00Z", "noon"), "line 3, open_time: 'noon' is not"),
        (
            HEADER + GOOD.replace("00Z", "00"),
            "line 2, open_time: '2025-10-14T14:00:00': Must have an offset",
        ),
        (HEADER + GOOD.replace("00Z", "30Z"), "line 2, open_time: '2025-10-14T14:00:30Z': Must be the start"),
        (HEADER + GOOD + GOOD, "line 3, open_time: 2025-10-14T14:00:00Z does not come after"),
        (HEADER + NEXT + GOOD, "line 3, open_time: 2025-10-14T14:00:00Z does not come after"),
        (HEADER + GOOD.replace("5999.5", "low"), "line 2, low: 'low' is not a number"),
        (HEADER + GOOD.replace("5999.5", ""), "line 2, low: '' is not a number"),
        (HEADER + GOOD.replace("6000,", "NaN,"), "line 2, open: 'NaN': Must be a number from"),
        (HEADER + GOOD.replace("6000.25", "1e9"), "line 2, close: '1e9': Must be a number from"),
        (
            HEADER + GOOD.replace("6000.25", "6000.0000001"),
            "line 2, close: '6000.0000001': Must have",
        ),
        (HEADER + GOOD.replace("6001.25", "6000.00"), "line 2, high: '6000.00': Must not be below"),
        (HEADER + GOOD.replace("5999.5", "6000.25"), "line 2, low: '6000.25': Must not be above"),
        (HEADER + GOOD.replace(",10", ",1.5"), "line 2, volume: '1.5' is not a whole number"),
        (HEADER + GOOD.replace(",10", ",-1"), "line 2, volume: '-1' is not a whole number"),
        (HEADER + GOOD.replace(",10", ",2000000000"), "line 2, volume: '2000000000': Must be from 0"),
        (HEADER + GOOD.replace("5999.5", "5999.5\xff"), r"line 2, low: '5999.5\\xc3\\xbf' is not a number"),
        (HEADER + GOOD + '"', "after line 2: cannot be read"),
    ],
)
def test_the_error_names_file_line_and_field(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BarFileError) as raised:
        list(read_bars(path))
    assert str(raised.value).startswith(f"{path}, {expected}")


def test_bars_before_the_bad_line_are_read(tmp_path: Path) -> None:
    bars = read_bars(written(tmp_path, HEADER + GOOD + "x"))
    assert next(bars).volume == 10
    with pytest.raises(BarFileError, match="line 3"):
        next(bars)


def test_a_truncated_gzip_is_an_error_and_so_is_an_absent_file(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + GOOD * 1_000, "bars.csv.gz")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BarFileError, match="cannot be read"):
        list(read_bars(path))
    for absent in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(BarFileError, match="cannot be read"):
            list(read_bars(absent))


def test_reads_the_real_file() -> None:
    bars = real_es()
    assert len(bars) == 48_307
    assert bars[0].open_time == utc("2025-08-31T22:00")
    assert bars[-1].close_time == utc("2025-10-17T21:01")


def bar_problems(checked: Bar) -> list[FieldError]:
    problems = Problems()
    check_bar(checked, problems)
    return list(problems.refusal().errors)


def test_a_negative_price_may_be_stored() -> None:
    assert bar_problems(bar(utc("2020-04-20T18:29"), Decimal("-37.63"), low=Decimal("-40.32"))) == []


@pytest.mark.parametrize("price", ["1e1000000", "-1e1000000", "0e-1000000", "1.0000000000", "NaN"])
def test_a_price_that_cannot_be_stored_is_named(price: str) -> None:
    odd = Decimal(price)
    bad = Bar(utc("2025-10-14T14:00"), Decimal(1), Decimal(1), Decimal(1), odd, 1)
    assert [problem.field for problem in bar_problems(bad)] == ["close"]
