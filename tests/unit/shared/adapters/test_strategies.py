"""The strategies that ship with the code, and what is said of a file that is none."""

from pathlib import Path

import pytest

from shared.adapters.strategies import FOLDER, read_strategy, shipped_strategies
from shared.errors import ConfigurationError

GOOD = (FOLDER / "vwap_bounce" / "strategy.toml").read_text(encoding="utf-8")


def write(folder: Path, text: str) -> Path:
    path = folder / "vwap_bounce" / "strategy.toml"
    path.parent.mkdir()
    (path.parent / "entry_rules.py").touch()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_a_strategy_is_read_from_its_file(tmp_path: Path) -> None:
    assert read_strategy(write(tmp_path, GOOD)) == shipped_strategies()["vwap_bounce"]


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("[entry]", "[entrance]"),
        GOOD.replace("version = 1", ""),
        GOOD.replace('symbols = ["ES", "NQ", "CL", "YM", "RTY"]', "symbols = []"),
        GOOD.replace("[features.atr]", '[features."a tr"]'),
        "entry = 3",
        "not toml",
        "\udcff",
    ],
)
def test_a_file_that_is_no_strategy_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"vwap_bounce/strategy\.toml"):
        read_strategy(write(tmp_path, text))


def test_a_strategy_has_the_name_of_its_folder(tmp_path: Path) -> None:
    text = GOOD.replace('name = "vwap_bounce"', 'name = "bounce"')
    with pytest.raises(ConfigurationError, match=r"vwap_bounce/strategy\.toml: the name bounce differs"):
        read_strategy(write(tmp_path, text))


def test_an_entry_table_that_no_rules_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    (path.parent / "entry_rules.py").unlink()
    with pytest.raises(ConfigurationError, match=r"vwap_bounce/strategy\.toml: \[entry\] has no effect"):
        read_strategy(path)


def test_a_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent/strategy\.toml cannot be read"):
        read_strategy(tmp_path / "absent" / "strategy.toml")


def test_the_strategies_are_read_once_a_process() -> None:
    assert shipped_strategies() is shipped_strategies()
    folders = {path.parent.name for path in FOLDER.glob("*/strategy.toml")}
    assert set(shipped_strategies()) == folders
