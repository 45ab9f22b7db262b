"""Turns the alert of a publisher's platform into the signals that it stands for."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from shared.domain.faults import Fault
from shared.domain.market.alert_mapping import ALERT_FIELDS, Action, AlertField, AlertMapping, folded
from shared.domain.market.alert_text import AlertValue, AlertValues, placeholder_fault, placeholder_in
from shared.domain.market.alert_values import action_of, id_of, number_of, symbol_of, time_of
from shared.domain.market.instruments import INSTRUMENTS
from shared.domain.market.signals import Kind, Side
from shared.domain.problems import Problems, printable
from shared.errors import FieldCode, FieldError

_OPTIONAL: frozenset[AlertField] = frozenset(
    ("stop_price", "target_price", "event_at", "id", "previous_position")
)


class Step(msgspec.Struct, frozen=True):
    """One signal that an alert means; an exit without a side leaves whatever is open."""

    kind: Kind
    side: Side | None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert asks for: its steps in order, and the content of their signals.

    `names` are the sender's names of our fields, and `ignored` its names that the mapping does not know.
    """

    symbol: str
    steps: tuple[Step, ...]
    price: Decimal
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    event_at: datetime | None = None
    id: str | None = None
    names: Mapping[str, str] = {}
    ignored: tuple[str, ...] = ()


class _Reader:
    """Reads the values of one alert by a mapping, and collects what is wrong under the sender's names."""

    def __init__(self, values: AlertValues, mapping: AlertMapping, problems: Problems) -> None:
        self._mapping = mapping
        self._problems = problems
        self._found: dict[AlertField, AlertValue] = {}
        for field in ALERT_FIELDS:
            given = (values.get(folded(name)) for name in mapping.names(field))
            value = next((each for each in given if each is not None), None)
            if value is not None and not (field in _OPTIONAL and value.value in (None, "")):
                self._found[field] = value
        known = {folded(name) for names in mapping.fields.values() for name in names}
        self.ignored = tuple(each.name for name, each in values.items() if name not in known)

    @property
    def names(self) -> dict[str, str]:
        return {field: self.name(field) for field in self._found}

    def has(self, field: AlertField) -> bool:
        return field in self._found

    def name(self, field: AlertField) -> str:
        """The sender's name of our field: as it wrote it, or the mapping's first if it wrote none."""
        found = self._found.get(field)
        return printable(found.name) if found is not None else (*self._mapping.names(field), field)[0]

    def add(self, field: AlertField, code: FieldCode, message: str) -> None:
        self._problems.add(self.name(field), code, message)

    def missing(self, field: AlertField) -> None:
        names = " or ".join(self._mapping.names(field)) or field
        self.add(field, "missing", f"This field is required: send {names}.")

    def read[T](self, field: AlertField, read: Callable[[Any], T | Fault]) -> T | None:
        """The value of a field, None if it is not there or bad; `read` returns it, or what is wrong."""
        found = self._found.get(field)
        if found is None:
            return None
        placeholder = placeholder_in(found.value) if isinstance(found.value, str) else None
        if placeholder is not None:
            self.add(field, "invalid_format", placeholder_fault(placeholder))
            return None
        value = read(found.value)
        if isinstance(value, tuple):
            self.add(field, *value)
            return None
        return value

    def refuse_others(self) -> None:
        known = [name for names in self._mapping.fields.values() for name in names]
        for name in self.ignored:
            if placeholder_in(name) is None:
                self._problems.unknown_field(name, known)


def alert_of(values: AlertValues, mapping: AlertMapping) -> Alert:
    """The alert that `values` are; raises ValidationFailed with every bad field, named as the sender does."""
    problems = Problems()
    reader = _Reader(values, mapping, problems)
    if mapping.others == "refuse":
        reader.refuse_others()
    symbol = reader.read("symbol", lambda value: symbol_of(value, mapping))
    price = reader.read("price", number_of)
    words = {folded(word): action for word, action in mapping.words.items()}
    steps = _steps(reader, words)
    is_entry = steps is None or any(step.kind == "entry" for step in steps)
    # A stop of an exit says nothing, and platforms send whatever the plot has then.
    stop = reader.read("stop_price", number_of) if is_entry else None
    target = reader.read("target_price", number_of) if is_entry else None
    event_at = reader.read("event_at", time_of)
    alert_id = reader.read("id", id_of)
    for field in ("symbol", "price"):
        if not reader.has(field):
            reader.missing(field)
    problems.refuse("The alert has fields that cannot be accepted; see errors.")
    assert symbol is not None
    assert price is not None
    assert steps is not None
    to_tick = _rounding(symbol) if mapping.round_to_tick else _as_sent
    return Alert(
        symbol=symbol,
        steps=steps,
        price=to_tick(price),
        stop_price=None if stop is None else to_tick(stop),
        target_price=None if target is None else to_tick(target),
        event_at=event_at,
        id=alert_id,
        names=reader.names,
        ignored=tuple(printable(name) for name in reader.ignored),
    )


def with_sender_s_names(errors: Sequence[FieldError], alert: Alert) -> tuple[FieldError, ...]:
    """`errors` with the names of their fields as the sender wrote them."""
    return tuple(
        FieldError(alert.names.get(error.field, error.field), error.code, error.message) for error in errors
    )


def _steps(reader: _Reader, words: Mapping[str, Action]) -> tuple[Step, ...] | None:
    """What the action and the positions of an alert mean; None if one of them is bad."""
    bad = False

    def word(field: Literal["action", "position", "previous_position"]) -> Action | None:
        nonlocal bad

        def read(value: Any) -> Action | Fault:
            return action_of(value, words, is_action=field == "action")

        found: Action | None = reader.read(field, read)
        bad = bad or (reader.has(field) and found is None)
        return found

    action, position, previous = word("action"), word("position"), word("previous_position")
    if bad:
        return None
    if position is not None:
        steps = _steps_between(action, position, previous)
        if steps is None:
            message = "The position only became smaller, and no signal means that: send no alert for it."
            reader.add("position", "out_of_range", message)
        elif not steps:
            reader.add(
                "position", "out_of_range", "The position was flat and stays flat: there is nothing to do."
            )
        return steps or None
    if action is None:
        reader.missing("action")
        return None
    return _step_of(action)


def _step_of(action: Action) -> tuple[Step, ...]:
    match action:
        case "long":
            return (Step("entry", "LONG"),)
        case "short":
            return (Step("entry", "SHORT"),)
        case "exit_long":
            return (Step("exit", "LONG"),)
        case "exit_short":
            return (Step("exit", "SHORT"),)
        case "flat":
            return (Step("exit", None),)


def _steps_between(
    action: Action | None, position: Action, previous: Action | None
) -> tuple[Step, ...] | None:
    """The way from one position to another: at most an exit and an entry; None for a part of a position.

    A position that stays on its side grew if the action is of that side, or is not told.
    """
    if position == "flat":
        return () if previous == "flat" else (Step("exit", _side(previous)),)
    enter = _step_of(position)
    if previous in ("long", "short") and previous != position:
        return (Step("exit", _side(previous)), *enter)
    if previous != "flat" and action is not None and action != position:
        return None
    return enter


def _side(position: Action | None) -> Side | None:
    match position:
        case "long":
            return "LONG"
        case "short":
            return "SHORT"
        case _:
            return None


def _rounding(symbol: str) -> Callable[[Decimal], Decimal]:
    instrument = INSTRUMENTS.get(symbol)
    if instrument is None:
        return _as_sent

    def rounded(price: Decimal) -> Decimal:
        # A price that the instrument cannot have is refused as it was sent.
        return instrument.to_tick(price) if instrument.is_possible(price) else price

    return rounded


def _as_sent(price: Decimal) -> Decimal:
    return price
