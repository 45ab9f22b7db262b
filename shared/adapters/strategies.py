"""Reads the strategies that ship with the code; each has a folder in shared/strategies."""

from functools import cache
from pathlib import Path

from shared.domain.confidence.strategy import Strategy, StrategyCatalog, parse_strategy
from shared.errors import ConfigurationError

FOLDER = Path(__file__).resolve().parent.parent / "strategies"
FILE = "strategy.toml"


def read_strategy(path: Path) -> Strategy:
    """The strategy in the file `path`; raises a ConfigurationError that names the file."""
    try:
        return parse_strategy(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The strategy file {_named(path)} cannot be read: {error}.") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{_named(path)}: {error.detail}") from error


@cache
def shipped_strategies() -> StrategyCatalog:
    """Every strategy of this deployment, read once per process; raises ConfigurationError."""
    return StrategyCatalog(read_strategy(path) for path in sorted(FOLDER.glob(f"*/{FILE}")))


def _named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
