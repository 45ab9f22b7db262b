"""Reads a JSON body part by part: takes each number by its value, and names every bad field.

Slower than the decoder of msgspec, which reads every body first. Each type of a struct's declaration has a
reader. No code and no message comes from a library's own text, because that may change with any release. Only
the parts that need it are opened, so that no body costs much more than a good one of its size.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from itertools import islice
from operator import is_not
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from shared.domain.faults import (
    AMOUNT,
    Explanation,
    Json,
    fault,
    got,
    is_no_number,
    length_faults,
    not_finite,
    number_in,
    text_faults,
    whole_faults,
    wrong_type,
)
from shared.domain.numbers import (
    PLAIN_DECIMAL,
    USUAL_AMOUNT,
    exact,
    has_unusual_numbers,
)
from shared.domain.problems import Problems, member

# Entries of a dictionary in which a reader looks for the bad ones.
_MAX_ENTRIES = 100
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Reader:
    """Reads values of one type. This class reads those that msgspec takes as we do.

    If a reader `holds_amounts`, its values may have amounts in them, of which msgspec takes spellings that we
    refuse. If it `holds_names`, they have objects in them.
    """

    holds_amounts = False
    holds_names = False

    def __init__(self, hint: Any, kind: inspect.Type) -> None:
        self.kind = kind
        self.decoder = msgspec.json.Decoder(hint)
        described = inspect.type_info(hint)
        extra = described.extra if isinstance(described, inspect.Metadata) else None
        self._explain: Explanation | None = (extra or {}).get("explain")

    def read(self, raw: Json, problems: Problems, field: str) -> Any:
        """Returns the value in `raw`; if it is bad, adds why under the name `field`, and returns None."""
        try:
            return self.decoder.decode(raw)
        except msgspec.ValidationError:
            problems.add(field, *fault(raw, self.kind, self._explain))
            return None

    def read_quickly(self, raw: Json, *, may_be_unusual: bool) -> Any:
        """Returns the value in `raw`, or None if it must be read closely, because a part of it may be bad.

        `may_be_unusual` says whether `raw` may have unusual numbers.
        """
        try:
            value = self.decoder.decode(raw)
        except msgspec.ValidationError:
            return None
        if may_be_unusual and self.holds_amounts and has_unusual_numbers(bytes(raw)):
            return None
        return value

    def names_in(self, value: Any) -> int:
        """How many names the JSON of `value` has at least, over all its objects."""
        return 0


class _Amounts(Reader):
    """Decimal numbers: JSON numbers, or strings with a plain decimal."""

    holds_amounts = True

    def read(self, raw: Json, problems: Problems, field: str) -> Any:
        usual = USUAL_AMOUNT.fullmatch(raw)
        if usual is not None:
            return Decimal(usual[2].decode())
        text = number_in(raw)
        if text is None:
            if not _begins_with(raw, b'"'):
                problems.add(field, *wrong_type(raw, self.kind))
                return None
            text = msgspec.json.decode(raw, type=str)
            if not PLAIN_DECIMAL.fullmatch(text):
                problems.add(field, "invalid_format", f"Expected {AMOUNT}, got {got(raw)}.")
                return None
        elif is_no_number(raw):
            problems.add(field, *not_finite(raw))
            return None
        return exact(text)


class _Whole(Reader):
    """Whole numbers, in any spelling of a JSON number, such as 1234.0 or 1.03e6."""

    kind: inspect.IntType

    def read(self, raw: Json, problems: Problems, field: str) -> Any:
        text = number_in(raw)
        if text is None:
            problems.add(field, *wrong_type(raw, self.kind))
            return None
        value = exact(text)
        for each in whole_faults(raw, value, self.kind):
            problems.add(field, *each)
            return None
        return int(value)


class _Nullable(Reader):
    """Null, or a value of another reader."""

    def __init__(self, other: Reader) -> None:
        self.kind = other.kind
        self._other = other
        self.holds_amounts, self.holds_names = other.holds_amounts, other.holds_names

    def read(self, raw: Json, problems: Problems, field: str) -> Any:
        return None if bytes(raw) == b"null" else self._other.read(raw, problems, field)

    def names_in(self, value: Any) -> int:
        return 0 if value is None else self._other.names_in(value)


class _Items(Reader):
    """Arrays whose items have one type."""

    kind: inspect.ListType

    def __init__(self, hint: Any, kind: inspect.Type) -> None:
        super().__init__(hint, kind)
        (item_hint,) = _arguments(hint)
        self._item = reader_of(item_hint)
        self.holds_amounts, self.holds_names = self._item.holds_amounts, self._item.holds_names
        if isinstance(self._item, _Amounts):
            raise TypeError("has_unusual_numbers finds amounts only in the fields of objects")

    def read(self, raw: Json, problems: Problems, field: str) -> Any:
        if not _begins_with(raw, b"["):
            problems.add(field, *wrong_type(raw, self.kind))
            return None
        items: Sequence[msgspec.Raw] = _ARRAY.decode(raw)
        values = []
        for index, item in enumerate(items):
            if problems.is_full:
                return None
            # Most items are good, and a bad item may follow a thousand of them.
            value = self._item.read_quickly(item, may_be_unusual=True)
            values.append(self._item.read(item, problems, f"{field}[{index}]") if value is None else value)
        for code, message in length_faults(len(items), self.kind, "items"):
            problems.add(field, code, message)
        return values

    def names_in(self, value: Any) -> int:
        item = self._item
        if isinstance(item, _Fields) and item.always_names is not None:
            return len(value) * item.always_names
        return sum(map(item.names_in, value))


class _Entries(Reader):
    """Objects with any names, whose values have one type."""

    holds_names = True
    kind: inspect.DictType

    def __init__(self, hint: Any, kind: inspect.Type) -> None:
        super().__init__(hint, kind)
        self._name_hint, value_hint = _arguments(hint)
        self._name_kind = _unwrapped(inspect.type_info(self._name_hint))
        self._value = reader_of(value_hint)
        if self._value.holds_amounts:
            raise TypeError("has_unusual_numbers finds amounts only in the fields of objects")

    def read(self, raw: Json, problems: Problems, field: str) -> Any:
        try:
            return self.decoder.decode(raw)
        except msgspec.ValidationError:
            pass
        if not _begins_with(raw, b"{"):
            problems.add(field, *wrong_type(raw, self.kind))
            return None
        entries: Mapping[str, msgspec.Raw] = _OBJECT.decode(raw)
        before = len(problems)
        for code, message in length_faults(len(entries), self.kind, "entries"):
            problems.add(field, code, message)
        for name, each in islice(entries.items(), _MAX_ENTRIES):
            place = member(field, name)
            self._check_name(name, problems, place)
            self._value.read(each, problems, place)
        if len(problems) == before:
            problems.add(field, "wrong_type", f"One of its {len(entries)} entries does not fit.")
        return None

    def _check_name(self, name: str, problems: Problems, field: str) -> None:
        if isinstance(self._name_kind, inspect.StrType):
            for code, message in islice(text_faults(name, self._name_kind), 1):
                problems.add(field, code, f"For its name: {message}")

    def names_in(self, value: Any) -> int:
        inner = sum(map(self._value.names_in, value.values())) if self._value.holds_names else 0
        return len(value) + inner


class _Fields(Reader):
    """Objects that a struct declares."""

    holds_names = True
    kind: inspect.StructType

    def __init__(self, hint: Any, kind: inspect.StructType) -> None:
        super().__init__(hint, kind)
        hints = get_type_hints(kind.cls, include_extras=True)
        self._fields = [
            (field.name, field.encode_name, field.required, reader_of(hints[field.name]))
            for field in kind.fields
        ]
        self._known = [field.encode_name for field in kind.fields]
        self.holds_amounts = any(each.holds_amounts for *_, each in self._fields)
        self._count_names_of(kind)

    def _count_names_of(self, kind: inspect.StructType) -> None:
        """Prepares what `names_in` compares a value with."""
        # What an absent field has as its value. No value is this object, so required fields always count.
        self._defaults = [object() if field.required else field.default for field in kind.fields]
        factories = {place: field.default_factory for place, field in enumerate(kind.fields)}
        self._made = [place for place, factory in factories.items() if factory in (dict, list)]
        # Of what another function makes, nobody sees whether it was sent.
        unknown = {place for place, factory in factories.items() if factory is not msgspec.NODEFAULT}
        unknown -= set(self._made)
        self._unknown = len(unknown)
        self._inner = [
            (place, each)
            for place, (*_, each) in enumerate(self._fields)
            if each.holds_names and place not in unknown
        ]
        flat = not self._inner and all(field.required for field in kind.fields)
        self.always_names = len(kind.fields) if flat else None

    def read(self, raw: Json, problems: Problems, field: str) -> Any:
        if not _begins_with(raw, b"{"):
            problems.add(field, *wrong_type(raw, self.kind))
            return None
        sent: Mapping[str, msgspec.Raw] = _OBJECT.decode(raw)
        within = problems.within(f"{field}.") if field else problems
        before = len(problems)
        if self.kind.forbid_unknown_fields and not sent.keys() <= set(self._known):
            for name in sent:
                if problems.is_full:
                    return None
                if name not in self._known:
                    within.unknown_field(name, self._known)
        values = {}
        for name, encoded_name, required, reader in self._fields:
            if encoded_name in sent:
                values[name] = reader.read(sent[encoded_name], within, encoded_name)
            elif required:
                within.add(encoded_name, "missing", "This field is required.")
        # A full list of problems takes no more, so its length says nothing then.
        return None if problems.is_full or len(problems) > before else self.kind.cls(**values)

    def names_in(self, value: Any) -> int:
        values = msgspec.structs.astuple(value)
        # An absent field has the very object of its default, or an empty one that was made for it.
        names = sum(map(is_not, values, self._defaults)) - self._unknown
        for place in self._made:
            names -= not values[place]
        for place, reader in self._inner:
            if values[place] and values[place] is not self._defaults[place]:
                names += reader.names_in(values[place])
        return names


_READERS: dict[type[inspect.Type], type[Reader]] = {
    inspect.DecimalType: _Amounts,
    inspect.DictType: _Entries,
    inspect.IntType: _Whole,
    inspect.ListType: _Items,
    inspect.StructType: _Fields,
}


@cache
def reader_of(hint: Any) -> Reader:
    """The reader of values of the type `hint`."""
    if get_origin(hint) in (Union, UnionType):
        others = [each for each in get_args(hint) if each is not type(None)]
        if len(others) == 1:
            return _Nullable(reader_of(others[0]))
    kind = _unwrapped(inspect.type_info(hint))
    return _READERS.get(type(kind), Reader)(hint, kind)


def _unwrapped(kind: inspect.Type) -> inspect.Type:
    """The type itself, without its description."""
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _arguments(hint: Any) -> tuple[Any, ...]:
    """The types inside `list[...]` or `dict[...]`, annotated or not."""
    return get_args(hint.__origin__ if hasattr(hint, "__metadata__") else hint)


def _begins_with(raw: Json, first: bytes) -> bool:
    return bytes(memoryview(raw)[:1]) == first
