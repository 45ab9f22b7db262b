"""Reads the options of `make run` and `make up` about the stack, from variables such as PORT."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.domain.market.feeds import ClockSource
from shared.services.license_keys import MAX_KEYS_AT_ONCE
from shared.settings_reader import SettingsReader

DEFAULT_PORT = 7071
DEFAULT_STATE = ".local"

Mode = Literal["run", "up"]


@dataclass(frozen=True)
class StackOptions:
    """`state` is the directory of the stack's files; `load_keys` bot keys are made beside the demo keys.

    `standby_of` is the directory of a running stack whose passive region this one is.
    """

    mode: Mode
    state: Path
    port: int
    workers: int
    load_keys: int
    market_clock: ClockSource
    standby_of: Path | None = None


def read_stack_options(mode: Mode, reader: SettingsReader) -> StackOptions:
    followed = reader.optional("STANDBY_OF")
    if followed and mode == "run":
        reader.report("STANDBY_OF is for make up alone: a passive region stores no bars to replay")
    return StackOptions(
        mode=mode,
        state=state_directory(reader),
        port=reader.integer("PORT", DEFAULT_PORT, 1, 65535),
        workers=reader.integer("WORKERS", 1, 1, 64),
        load_keys=reader.integer("LOAD_KEYS", 0, 0, MAX_KEYS_AT_ONCE),
        market_clock=reader.choice("MARKET_CLOCK", "bars" if mode == "run" else "wall", ("wall", "bars")),
        standby_of=Path(followed).resolve() if followed else None,
    )


def state_directory(reader: SettingsReader) -> Path:
    return Path(reader.text("STATE", DEFAULT_STATE)).resolve()
