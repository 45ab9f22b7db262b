"""Reads the strategies that ship with the code; each has a folder in shared/strategies."""

from functools import cache
from pathlib import Path

from shared.domain.confidence.strategy import Strategy, StrategyCatalog, parse_strategy
from shared.errors import ConfigurationError

FOLDER = Path(__file__).resolve().parent.parent / "strategies"
FILE = "strategy.toml"
ENTRY_RULES = "entry_rules.py"


def read_strategy(path: Path) -> Strategy:
    """The strategy in the file `path`; raises a ConfigurationError that names the file."""
    try:
        strategy = parse_strategy(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The strategy file {_named(path)} cannot be read: {error}.") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{_named(path)}: {error.detail}") from error
    if strategy.name != path.parent.name:
        raise ConfigurationError(f"{_named(path)}: the name {strategy.name} differs from the folder's name.")
    if strategy.entry and not (path.parent / ENTRY_RULES).is_file():
        raise ConfigurationError(f"{_named(path)}: [entry] has no effect, because there is no {ENTRY_RULES}.")
    return strategy


@cache
def shipped_strategies() -> StrategyCatalog:
    """Every strategy of this deployment, read once per process; raises ConfigurationError."""
    return StrategyCatalog(read_strategy(path) for path in sorted(FOLDER.glob(f"*/{FILE}")))


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
