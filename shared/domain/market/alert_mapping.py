"""Describes how the alerts of one platform are written: names of fields, words, symbols.

A mapping is a small file (shared/hooks/*.toml), or the same as JSON for one hook. It says under which names
the sender writes our fields, and what its words mean.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

import msgspec

from shared.domain.market.bars import Symbol

# The fields of an alert that we read. `position` is the sender's position after the alert, and
# `previous_position` the one before it; `id` is the sender's name for the alert.
AlertField = Literal[
    "action",
    "position",
    "previous_position",
    "symbol",
    "price",
    "stop_price",
    "target_price",
    "event_at",
    "id",
]
ALERT_FIELDS: tuple[AlertField, ...] = get_args(AlertField)
# What a word means: enter long or short, or leave what is open, on whichever side or on one.
Action = Literal["long", "short", "flat", "exit_long", "exit_short"]

MAPPING_NAME = r"^[a-z][a-z0-9_]{0,31}\Z"
# A word has at most so many parts, such as "close long".
MAX_WORD_PARTS = 3
_BLANKS = re.compile(r"[\s_-]+")

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class AlertMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one platform writes alerts.

    `fields` lists the names under which it writes each of our fields; the first that an alert has counts.
    Names of nested objects are joined by dots. Names and words count in any case, and with `_`, `-` or blanks
    between their parts. `words` are what the sender writes as action or position. `symbols` are its symbols
    with ours; with `by_root`, series and contracts of the futures that we know count as their root, such as
    CME_MINI:ES1! as ES. `text` are the fields of a line such as `buy ES1! 5012.25`, in order, and `skipped`
    words that may stand between them. Other names are ignored or refused, as `others` says. With
    `round_to_tick`, prices count as the nearest price that can be traded.
    """

    title: Annotated[str, msgspec.Meta(max_length=200)] = ""
    fields: Annotated[
        dict[AlertField, Annotated[list[Text], msgspec.Meta(min_length=1, max_length=16)]],
        msgspec.Meta(min_length=1),
    ]
    words: Annotated[dict[Text, Action], msgspec.Meta(min_length=1, max_length=64)]
    symbols: Annotated[dict[Text, Symbol], msgspec.Meta(max_length=128)] = {}
    by_root: bool = True
    text: Annotated[list[AlertField], msgspec.Meta(max_length=9)] = []
    skipped: Annotated[list[Text], msgspec.Meta(max_length=32)] = []
    others: Literal["ignore", "refuse"] = "refuse"
    round_to_tick: bool = False

    def names(self, field: AlertField) -> list[str]:
        """The sender's names of our field, as they are written in the mapping; empty if it has none."""
        return self.fields.get(field, [])

    def faults(self) -> list[tuple[str, str]]:
        """What makes the mapping useless or ambiguous, by field; empty if it can be used."""
        found = [(f"fields.{field}", "Alerts without it say nothing.") for field in _missing(self.fields)]
        owners: dict[str, str] = {}
        for field, names in self.fields.items():
            for name in names:
                owner = owners.setdefault(folded(name), field)
                if owner != field:
                    found.append((f"fields.{field}", f"The name {name!r} already stands for {owner}."))
        meanings: dict[str, str] = {}
        for word, action in self.words.items():
            if meanings.setdefault(folded(word), action) != action:
                found.append(("words", f"The word {word!r} has two meanings."))
            if len(folded(word).split("_")) > MAX_WORD_PARTS:
                found.append(("words", f"The word {word!r} has more than {MAX_WORD_PARTS} parts."))
        if len(set(self.text)) < len(self.text):
            found.append(("text", "Each field stands once in a line."))
        return found


def _missing(fields: Mapping[AlertField, object]) -> list[str]:
    missing = [name for name in ("symbol", "price") if name not in fields]
    return missing if "action" in fields or "position" in fields else ["action", *missing]


def folded(text: str) -> str:
    """`text` as names and words are compared: in small letters, with one `_` between its parts."""
    return _BLANKS.sub("_", text.strip().lower()).strip("_")
