"""Reads the mappings of alerts, and the named lists of addresses, that ship with the code (shared/hooks)."""

import tomllib
from collections.abc import Mapping
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType

import msgspec

from shared.domain.market.alert_mapping import AlertMapping
from shared.errors import ConfigurationError

FOLDER = Path(__file__).resolve().parent.parent / "hooks"
ADDRESSES = "addresses.toml"


class _AddressList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    read_on: str
    networks: list[str]


@cache
def shipped_mappings() -> Mapping[str, AlertMapping]:
    """Every mapping by the name of its file; raises a ConfigurationError that names the file."""
    found = {}
    for path in sorted(FOLDER.glob("*.toml")):
        if path.name == ADDRESSES:
            continue
        mapping = _read(path, AlertMapping)
        if faults := mapping.faults():
            raise ConfigurationError(f"hooks/{path.name}: {' '.join(faults[0])}")
        found[path.stem] = mapping
    return MappingProxyType(found)


@cache
def shipped_address_lists() -> Mapping[str, tuple[str, ...]]:
    """The networks of each named list of source addresses; raises ConfigurationError."""
    lists = _read(FOLDER / ADDRESSES, dict[str, _AddressList])
    return MappingProxyType(
        {name: tuple(str(ip_network(each)) for each in one.networks) for name, one in lists.items()}
    )


def _read[T](path: Path, kind: type[T]) -> T:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), kind)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"The file hooks/{path.name} cannot be read: {error}.") from error
