"""Accepts the items of a body one by one, so that a bad item does not refuse the good ones.

A body is first decoded as a whole, which is fast. Only if that fails, its items are decoded one by one. Then
one loop checks each decoded item. Bad fields are named until there are MAX_PROBLEMS of them; a refused item
after these has a code and a message, because to name its fields would cost more than to accept it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from shared.domain.close_reading import Reader, reader_of
from shared.domain.decoding import UNREADABLE, decode, decode_quickly, may_repeat_names
from shared.domain.json_text import MAX_PARTS, has_more_parts, refuse_repeated_names, unreadable
from shared.domain.numbers import compact, has_unusual_numbers, with_json_numbers, without_zero_fractions
from shared.domain.problems import MAX_HINTS, MAX_PROBLEMS, Problems
from shared.errors import BatchTooLarge, FieldError, InvalidInput, SymbolNotLicensed, ValidationFailed

# What a problem would have as its code if the item had been sent alone.
ItemCode = Literal["validation_failed", "unknown_field", "symbol_not_licensed"]

_UNNAMED = (
    f"It does not have the expected form. Only the first {MAX_PROBLEMS} bad fields of a body are named."
)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_EMPTY = msgspec.Raw(b"[]")


class RefusedItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item that was not accepted: its place in the body from 0, a stable code, and why.

    `errors` names its bad fields; it is absent after the first 50 bad fields of a body.
    """

    index: int
    code: ItemCode
    message: str
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class Items[T]:
    """The items of one body, in its order, under the name of their field; None for a refused one."""

    name: str
    decoded: Sequence[T | None]
    refused: Mapping[int, RefusedItem] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of items that were sent."""
        return len(self.decoded)


@dataclass(frozen=True, slots=True)
class Judged[T]:
    """The accepted items by their place in the body, and the refused ones; both in the order of the body."""

    accepted: dict[int, T]
    refused: list[RefusedItem]


def decode_items[B, T](body: bytes, kind: type[B], name: str, item: type[T], most: int) -> tuple[B, Items[T]]:
    """Decodes `body` as `kind`, whose field `name` is an array of `item`.

    Returns the struct, and the items apart from it: if one is bad, the struct's own array is empty. Raises
    MalformedJson and ValidationFailed if more than items is bad, and BatchTooLarge for a body of more than
    `most` items of which one is bad.
    """
    try:
        whole = decode_quickly(body, kind)
    except ValidationFailed:
        # Somewhere is NaN or its like. If it is in an item, only that item is refused.
        whole, sent = None, body
        body = with_json_numbers(sent)
        if body is sent:
            raise
    parts = None if whole is not None else _without_items(without_zero_fractions(body), kind, name)
    if parts is None:
        # Names every bad field, if the body has more of them than those of items.
        whole = whole or decode(body, kind)
        return whole, Items(name, getattr(whole, name))
    require_count(name, len(parts.items), most)
    decoded: list[T | None] = []
    refused: dict[int, RefusedItem] = {}
    naming = _Naming(name)
    hint: Any = item
    reader = reader_of(hint)
    may_be_unusual = has_unusual_numbers(body)
    try:
        for index, raw in enumerate(parts.items):
            value = reader.read_quickly(raw, may_be_unusual=may_be_unusual)
            if value is None:
                value, refusal = naming.read_closely(index, raw, reader, may_be_unusual=may_be_unusual)
                if refusal is not None:
                    refused[index] = refusal
            decoded.append(value)
    except UNREADABLE:
        raise unreadable(body) from None
    names = parts.names + sum(
        _names_in(parts.items[index]) if each is None else reader.names_in(each)
        for index, each in enumerate(decoded)
    )
    if may_repeat_names(body, names):
        refuse_repeated_names(body)
    return parts.frame, Items(name, decoded, refused)


def decode_item[T](body: bytes, name: str, item: type[T]) -> Items[T]:
    """The only item of a body that is the item itself; raises MalformedJson and ValidationFailed."""
    return Items(name, [decode(body, item, within=f"{name}[0]")])


def judge[T](
    items: Items[T], check: Callable[[T, Problems], None], *, most: int, strict: bool = False
) -> Judged[T]:
    """Checks each item; `check` adds all that is wrong with one, under the item's own field names.

    If `strict`, a bad item refuses all. Raises BatchTooLarge for more than `most` items, ValidationFailed
    or SymbolNotLicensed if no item is accepted.
    """
    require_count(items.name, len(items), most)
    naming = _Naming(items.name, sum(len(each.errors) for each in items.refused.values()))
    accepted: dict[int, T] = {}
    refused: list[RefusedItem] = []
    for index, item in enumerate(items.decoded):
        if item is None:
            refused.append(items.refused[index])
            continue
        problems = naming.problems_of(index)
        check(item, problems)
        if problems:
            refused.append(naming.refused(index, problems))
        else:
            accepted[index] = item
    if refused and (strict or not accepted):
        raise _refusal_of_all(items, refused)
    return Judged(accepted, refused)


def counted(most: int) -> msgspec.Meta:
    """Documents how many items an array may have; `require_count` checks it, and tells it better."""
    return msgspec.Meta(extra_json_schema={"minItems": 1, "maxItems": most})


def require_count(name: str, count: int, most: int) -> None:
    """Raises BatchTooLarge for more than `most` items, and ValidationFailed for none."""
    if count > most:
        raise BatchTooLarge(
            f"A request may have at most {most} {name}; this one has {count}. Send it in parts."
        )
    if not count:
        raise ValidationFailed((FieldError(name, "out_of_range", "Expected at least one item."),))


class _Naming:
    """Names the bad fields of one body's items, MAX_PROBLEMS at most; `named` were named before."""

    def __init__(self, name: str, named: int = 0) -> None:
        self._name = name
        self._named = named

    def problems_of(self, index: int) -> Problems:
        """An empty collector for one item, with room for at least one problem, so that no fault is missed."""
        return Problems(
            f"{self._name}[{index}].",
            most=max(MAX_PROBLEMS - self._named, 1),
            hints=max(MAX_HINTS - self._named, 0),
        )

    def refused(self, index: int, problems: Problems) -> RefusedItem:
        errors = tuple(problems)
        first, *others = errors
        name = first.field.removeprefix(f"{self._name}[{index}]").removeprefix(".")
        message = f"{name}: {first.message}" if name else first.message
        codes = {error.code for error in errors}
        code: ItemCode = "validation_failed"
        if codes == {"unknown_field"}:
            code = "unknown_field"
        elif codes == {"symbol_not_licensed"}:
            code = "symbol_not_licensed"
        if self._named >= MAX_PROBLEMS:
            return RefusedItem(index, code, message)
        self._named += len(errors)
        if others:
            message += f" And {len(others)} more; see errors."
        return RefusedItem(index, code, message, errors)

    def read_closely(
        self, index: int, raw: msgspec.Raw, reader: Reader, *, may_be_unusual: bool
    ) -> tuple[Any, RefusedItem | None]:
        """Returns an item that cannot be read quickly, or why it is refused."""
        # Only unusual numbers are accepted by close reading alone.
        if self._named >= MAX_PROBLEMS and not may_be_unusual:
            return None, RefusedItem(index, "validation_failed", _UNNAMED)
        problems = self.problems_of(index)
        value = reader.read(raw, problems, "")
        return value, self.refused(index, problems) if problems else None


@dataclass(frozen=True, slots=True)
class _Parts[B]:
    """A body with an empty array in place of its items, the items as JSON, and the count of its own names."""

    frame: B
    items: list[msgspec.Raw]
    names: int


def _without_items[B](body: bytes, kind: type[B], name: str) -> _Parts[B] | None:
    """The parts of `body`; None if more than items is bad. Raises MalformedJson and ValidationFailed."""
    if has_more_parts(body, MAX_PARTS):
        return None
    try:
        parts: dict[str, msgspec.Raw] = _OBJECT.decode(body)
        items: list[msgspec.Raw] = _ARRAY.decode(parts[name])
        frame = decode_quickly(msgspec.json.encode(parts | {name: _EMPTY}), kind)
    except (KeyError, msgspec.ValidationError):
        return None
    except UNREADABLE:
        raise unreadable(body) from None
    return None if frame is None else _Parts(frame, items, len(parts))


def _names_in(item: msgspec.Raw) -> int:
    """How many names a refused item may have; it is not stored, so it may give one twice."""
    return compact(bytes(item)).count(b'":')


def _refusal_of_all(items: Items[Any], refused: Sequence[RefusedItem]) -> InvalidInput | SymbolNotLicensed:
    errors = tuple(error for each in refused for error in each.errors)
    detail = ""
    if len(items) > 1:
        detail = f"{len(refused)} of {len(items)} {items.name} cannot be accepted, so nothing was stored."
    if all(each.code == "symbol_not_licensed" for each in refused):
        return SymbolNotLicensed(detail or errors[0].message, errors=errors)
    return ValidationFailed(errors, detail and f"{detail} See errors.")
