"""Recognises what callers write instead of a root symbol, and says which root is meant.

Everything here is by root: `ES` means E-mini S&P 500 futures, whichever contract leads. Charts, brokers and
feeds name contracts and series in their own ways, such as ESZ5, /ES, ES1!, @ES, ES=F and ES 12-25. None of
them is translated silently, because a caller that means one contract must know that it gets another series.
"""

import re
from typing import Final

from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.problems import shown

# Smaller contracts on what a root is on, with the root. Each has a point value of its own, so that its trades
# and its volume are not those of the root. https://www.cmegroup.com/markets/microsuite.html
SMALLER_CONTRACTS: Final = {"MES": "ES", "MNQ": "NQ", "MYM": "YM", "M2K": "RTY", "MCL": "CL", "QM": "CL"}

# The size of a smaller contract that is not a tenth of its root's: E-mini crude has 500 of 1,000 barrels.
_SHARES: Final = {"QM": "0.5"}

# No vendor's name of a contract is longer; a longer text is not looked at.
_MAX_LENGTH: Final = 40
_NAMES: Final = sorted((*INSTRUMENTS, *SMALLER_CONTRACTS), key=len, reverse=True)
_WRITTEN: Final = re.compile(
    r"(?:[A-Z0-9_.]{1,16}:)?"  # an exchange, as in CME_MINI:ES1!
    r"[/@$#]?"  # /ES of thinkorswim, @ES of TradeStation
    rf"(?P<name>{'|'.join(_NAMES)})"
    r"(?:[FGHJKMNQUVXZ](?:[0-9]{1,2}|20[0-9]{2})?"  # month and year of a contract: Z5, Z25, Z2025
    r"|C?[0-9]{1,2})?"  # the number of a continuous series, as in ES1! and ESc1
    r"(?:[^A-Z0-9/].*)?",  # a vendor's mark: =F, !, #F, _FUT_CME, .c.0, 12-25 after a blank
    re.ASCII | re.DOTALL,
)


def contract_of(text: str) -> str | None:
    """The root, or the smaller contract such as MES, that `text` names; None if we know none."""
    if len(text) > _MAX_LENGTH:
        return None
    found = _WRITTEN.fullmatch(text.strip().upper())
    return None if found is None else found["name"]


def root_of(text: str) -> str | None:
    """The root that `text` is a contract, a series or another spelling of; None if we know none."""
    name = contract_of(text)
    return None if name is None else SMALLER_CONTRACTS.get(name, name)


def root_hint(text: str) -> str | None:
    """The sentence that says which root to send instead of `text`; None if it is a root, or of none."""
    name = contract_of(text)
    if name is None or text in INSTRUMENTS:
        return None
    quoted = text if text.isalnum() and text.isascii() else shown(text)
    if name in SMALLER_CONTRACTS:
        root = SMALLER_CONTRACTS[name]
        return (
            f"{quoted} is a smaller contract than {root}. Report its trades as {root}, with the share of a "
            f"contract of {root} as quantity, such as {_SHARES.get(name, '0.1')}; send no bars of it, but "
            f"those of {root} itself. For all else, symbols are roots: send {root}."
        )
    if text.strip().upper() == name:
        return f"Symbols are in capitals and without blanks, got {quoted}: send {name}."
    return f"{quoted} is a contract or a series of {name}, and symbols here are roots: send {name}."


def symbol_fault(text: str) -> str:
    """What is wrong with a text that is no symbol, and what to send."""
    return root_hint(text) or f"Expected a root symbol in capitals, such as ES, got {shown(text)}."
