"""Accepts the items of a body one by one, so that a bad item does not refuse the good ones.

A body is first decoded as a whole, which is fast. Only if that fails, its items are decoded one by one. Then
one loop checks each decoded item. Bad fields are named until there are MAX_PROBLEMS of them; a refused item
after these has a code and a message, because to name its fields would cost more than to accept it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from shared.domain.decoding import MAX_PARTS, has_more_parts, name_faults, read, refusal
from shared.domain.problems import MAX_HINTS, MAX_PROBLEMS, Problems
from shared.errors import BatchTooLarge, FieldError, InvalidInput, SymbolNotLicensed, ValidationFailed

# What a problem would have as its code if the item had been sent alone.
ItemCode = Literal["validation_failed", "unknown_field", "symbol_not_licensed"]

_UNNAMED = (
    f"It does not have the expected form. Only the first {MAX_PROBLEMS} bad fields of a body are named."
)
_OBJECT: Any = dict[str, msgspec.Raw]
_ARRAY: Any = list[msgspec.Raw]
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
        whole = read(body, kind)
    except msgspec.ValidationError as error:
        parts = _without_items(body, kind, name)
        if parts is None:
            raise refusal(body, kind) from error
    else:
        return whole, Items(name, getattr(whole, name))
    frame, raws = parts
    require_count(name, len(raws), most)
    decoded: list[T | None] = []
    refused: dict[int, RefusedItem] = {}
    naming = _Naming(name)
    for index, raw in enumerate(raws):
        try:
            decoded.append(read(raw, item))
        except msgspec.ValidationError:
            decoded.append(None)
            refused[index] = naming.undecodable(index, raw, item)
    return frame, Items(name, decoded, refused)


def decode_item[T](body: bytes, name: str, item: type[T]) -> Items[T]:
    """The only item of a body that is the item itself; raises MalformedJson and ValidationFailed."""
    try:
        return Items(name, [read(body, item)])
    except msgspec.ValidationError as error:
        raise refusal(body, item, f"{name}[0]") from error


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

    def undecodable(self, index: int, raw: msgspec.Raw, item: Any) -> RefusedItem:
        if self._named >= MAX_PROBLEMS:
            return RefusedItem(index, "validation_failed", _UNNAMED)
        problems = self.problems_of(index)
        name_faults(raw, item, problems, "")
        return self.refused(index, problems)


def _without_items[B](body: bytes, kind: type[B], name: str) -> tuple[B, list[msgspec.Raw]] | None:
    """`body` with an empty array in place of its items, and the items as JSON.

    None if more than items is bad. Raises MalformedJson.
    """
    if has_more_parts(body, MAX_PARTS):
        return None
    try:
        parts: dict[str, msgspec.Raw] = read(body, _OBJECT)
        raws: list[msgspec.Raw] = read(parts[name], _ARRAY)
        return read(msgspec.json.encode(parts | {name: _EMPTY}), kind), raws
    except (KeyError, msgspec.ValidationError):
        return None


def _refusal_of_all(items: Items[Any], refused: Sequence[RefusedItem]) -> InvalidInput | SymbolNotLicensed:
    errors = tuple(error for each in refused for error in each.errors)
    detail = ""
    if len(items) > 1:
        detail = f"{len(refused)} of {len(items)} {items.name} cannot be accepted, so nothing was stored."
    if all(each.code == "symbol_not_licensed" for each in refused):
        return SymbolNotLicensed(detail or errors[0].message, errors=errors)
    return ValidationFailed(errors, detail and f"{detail} See errors.")
