"""Options of `make run` and `make up`."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.demo.options import BUNDLED_BARS, ReplayOptions, read_replay_options
from local.stack.options import Mode, StackOptions, read_stack_options
from shared.errors import ConfigurationError
from shared.settings_reader import SettingsReader


def stack_options(mode: Mode, environment: dict[str, str]) -> StackOptions:
    reader = SettingsReader(environment)
    options = read_stack_options(mode, reader)
    reader.check()
    return options


def replay_options(environment: dict[str, str]) -> ReplayOptions:
    reader = SettingsReader(environment)
    options = read_replay_options(reader)
    reader.check()
    return options


def test_defaults() -> None:
    options = stack_options("up", {"PORT": "", "STATE": ""})
    assert (options.port, options.workers, options.market_clock) == (7071, 1, "wall")
    assert options.state.name == ".local"
    assert options.standby_of is None
    assert stack_options("up", {"STANDBY_OF": "other"}).standby_of == Path("other").resolve()
    with pytest.raises(ConfigurationError, match="STANDBY_OF is for make up"):
        stack_options("run", {"STANDBY_OF": "other"})
    assert stack_options("run", {}).market_clock == "bars"
    assert replay_options({}).source == "simulated"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "70710"),
        ("PORT", "http"),
        ("WORKERS", "0"),
        ("LOAD_KEYS", "-1"),
        ("MARKET_CLOCK", "moon"),
        ("SPEED", "0"),
        ("SPEED", "nan"),
        ("SPEED", "fast"),
        ("FROM", "yesterday"),
        ("BARS", "no/such/file.csv"),
        ("STAMP", "middle"),
        ("STAMP", "END"),
        ("ZONE", "Mars/Olympus"),
        ("ZONE", "../../etc/passwd"),
        ("ZONE", "UTC+1"),
    ],
)
def test_bad_value_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        stack_options("run", {name: value})
        replay_options({name: value})


def test_every_problem_is_reported_together_and_no_value_is_shown() -> None:
    reader = SettingsReader({"PORT": "sekrit", "WORKERS": "0", "SPEED": "sekrit", "FROM": "sekrit"})
    read_stack_options("run", reader)
    read_replay_options(reader)
    with pytest.raises(ConfigurationError) as caught:
        reader.check()
    assert caught.value.detail == (
        "PORT must be a whole number from 1 to 65535; WORKERS must be a whole number from 1 to 64; "
        "SPEED must be a number over 0 and up to 1000000, a multiple of real time; "
        "FROM must be an ISO 8601 date or time, such as 2025-10-13 (UTC)"
    )


@pytest.mark.parametrize(
    ("name", "lowest", "highest"), [("PORT", 1, 65_535), ("WORKERS", 1, 64), ("LOAD_KEYS", 0, 10_000)]
)
def test_the_ends_of_a_range_are_accepted(name: str, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        assert getattr(stack_options("up", {name: str(value)}), name.lower()) == value


@pytest.mark.parametrize(("text", "speed"), [("1000000", 1_000_000), ("0.5", 0.5), ("", 600)])
def test_speed_is_a_multiple_of_real_time(text: str, speed: float) -> None:
    assert replay_options({"SPEED": text}).speed == speed


def test_dates_are_utc_unless_they_say_otherwise() -> None:
    options = replay_options({"FROM": "2025-10-13", "TO": "2025-10-14T09:30:00-04:00"})
    assert options.start == datetime(2025, 10, 13, tzinfo=UTC)
    assert options.end == datetime(2025, 10, 14, 13, 30, tzinfo=UTC)


def test_zone_and_stamp_are_the_formats_unless_they_are_set() -> None:
    options = replay_options({"ZONE": "Europe/Berlin", "STAMP": "end"})
    assert (options.zone, options.stamp) == ("Europe/Berlin", "end")
    assert (replay_options({}).zone, replay_options({"STAMP": " "}).stamp) == (None, None)


def test_only_the_bundled_bars_are_called_simulated(tmp_path: Path) -> None:
    other = tmp_path / BUNDLED_BARS.name
    other.touch()
    assert replay_options({"BARS": str(other)}).source == "replay"
